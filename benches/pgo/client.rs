//! The clients: one request after another on a connection, or many at once.

use std::{future::poll_fn, net::SocketAddr, path::Path, sync::Arc};

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::spawn_local,
};
use tokio_rustls::TlsConnector;

use crate::{
    Result,
    run::{Front, Run},
};

/// A request, and what is to come back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) path: &'static str,
    /// Sent with POST, if there is any.
    pub(crate) body: &'static [u8],
    pub(crate) fields: &'static [(&'static str, &'static str)],
    pub(crate) status: u16,
    /// Of the body; none where it comes encoded.
    pub(crate) length: Option<usize>,
}

/// A connection, encrypted or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// How to reach it, and in which protocol (ALPN).
#[derive(Clone)]
pub(crate) struct Way {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Way {
    /// Tickets are kept, if there are any, for the next connection of the same way.
    pub(crate) fn to(run: &Run, protocol: &str) -> Result<Self> {
        let tls = match run.front {
            Front::Plain | Front::Watched => None,
            Front::Secure => Some(Arc::new(trusting(&run.authority(), protocol)?).into()),
        };
        Ok(Self {
            address: run.address,
            tls,
        })
    }

    pub(crate) async fn connect(&self) -> Result<Box<dyn Wire>> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(tcp),
            Some(tls) => Box::new(tls.connect("localhost".try_into()?, tcp).await?),
        })
    }
}

fn trusting(authority: &Path, protocol: &str) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    Ok(config)
}

/// Asks all of `asks` so many times over one connection with HTTP/1.1.
pub(crate) async fn ask_in_turn(wire: Box<dyn Wire>, asks: &[Ask], times: usize) -> Result<()> {
    let (mut to, connection) = http1::handshake(TokioIo::new(wire)).await?;
    spawn_local(connection);
    for ask in (0..times).flat_map(|_| asks) {
        to.ready().await?;
        let request = request(ask, ask.path).body(Full::new(Bytes::from_static(ask.body)))?;
        let (head, body) = to.send_request(request).await?.into_parts();
        let length = body.collect().await?.to_bytes().len();
        check(ask, head.status, &head.headers, length)?;
    }
    Ok(())
}

/// Asks all of `asks` so many times over one connection with HTTP/2, so many at once.
pub(crate) async fn ask_at_once(
    wire: Box<dyn Wire>,
    asks: &'static [Ask],
    times: usize,
    streams: usize,
) -> Result<()> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 20);
    builder.initial_connection_window_size(1 << 24);
    let (to, connection) = builder.handshake(wire).await?;
    spawn_local(connection);
    let asking: Vec<_> = (0..streams)
        .map(|_| {
            let to = to.clone();
            spawn_local(async move {
                let asked = stream(to, asks, times).await;
                asked.map_err(|error| error.to_string())
            })
        })
        .collect();
    for asked in asking {
        asked.await??;
    }
    Ok(())
}

/// One request after the other in streams of its own.
async fn stream(to: SendRequest<Bytes>, asks: &[Ask], times: usize) -> Result<()> {
    let mut to = to;
    for ask in (0..times).flat_map(|_| asks) {
        to = to.ready().await?;
        let uri = format!("https://localhost{}", ask.path);
        let request = request(ask, &uri).body(())?;
        let (response, mut body) = to.send_request(request, ask.body.is_empty())?;
        if !ask.body.is_empty() {
            body.send_data(Bytes::from_static(ask.body), true)?;
        }
        let (head, length) = whole(response.await?).await?;
        check(ask, head.status, &head.headers, length)?;
    }
    Ok(())
}

async fn whole(response: Response<h2::RecvStream>) -> Result<(http::response::Parts, usize)> {
    let (head, mut body) = response.into_parts();
    let mut length = 0;
    while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
        let piece = piece?.len();
        length += piece;
        body.flow_control().release_capacity(piece)?;
    }
    Ok((head, length))
}

/// Sends so many messages through a tunnel, one after the other, and awaits each of them back.
pub(crate) async fn tunnel(mut wire: Box<dyn Wire>, times: usize) -> Result<()> {
    wire.write_all(
        b"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await?;
    let mut head = BytesMut::new();
    while !head.ends_with(b"\r\n\r\n") {
        if wire.read_buf(&mut head).await? == 0 {
            return Err("the end before the tunnel".into());
        }
    }
    for _ in 0..times {
        let (said, mut heard) = ([b'm'; 120], [0; 120]);
        wire.write_all(&said).await?;
        wire.read_exact(&mut heard).await?;
        if said != heard {
            return Err("the tunnel garbles".into());
        }
    }
    Ok(())
}

fn request(ask: &Ask, uri: &str) -> http::request::Builder {
    let mut request = Request::builder().uri(uri);
    if !ask.body.is_empty() {
        request = request
            .method("POST")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::CONTENT_LENGTH, ask.body.len());
    }
    // HTTP/2 has it in the target.
    if uri == ask.path {
        request = request.header(header::HOST, "localhost");
    }
    let add = |request: http::request::Builder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    ask.fields.iter().fold(request, add)
}

fn check(ask: &Ask, status: StatusCode, headers: &HeaderMap, length: usize) -> Result<()> {
    let encoded = headers.contains_key(header::CONTENT_ENCODING);
    let as_long = match ask.length {
        Some(expected) => !encoded && length == expected,
        None => encoded && length > 0,
    };
    if status.as_u16() != ask.status || !as_long {
        let path = ask.path;
        return Err(format!("{path} got {status} with {length} bytes: {headers:?}").into());
    }
    Ok(())
}

//! A client that shakes hands, and one that stays.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, StreamOwned,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    version::TLS13,
};
use socket2::{Domain, Socket, Type};

use crate::{Result, authority::Authority, port};

/// How many shake hands at once.
const AT_ONCE: usize = 4;

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// TLS 1.3 with X25519, which all contenders have.
pub(crate) fn config(authority: &Authority, resumes: bool) -> Result<Arc<ClientConfig>> {
    let kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let provider = CryptoProvider {
        kx_groups,
        ..aws_lc_rs::default_provider()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&TLS13])?;
    let mut config = builder
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    config.alpn_protocols = vec!["http/1.1".into()];
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// Shakes hands for so long; how often it did.
pub(crate) fn handshakes(
    authority: &Authority,
    port: u16,
    resumed: bool,
    seconds: u64,
) -> Result<u64> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            // A store of tickets for each.
            let config = config(authority, resumed)?;
            Ok(thread::spawn(move || {
                until(end, port, &config, resumed).map_err(|error| error.to_string())
            }))
        })
        .collect::<Result<_>>()?;
    let mut all = 0;
    for thread in threads {
        all += thread.join().map_err(|_| "a client panicked")??;
    }
    Ok(all)
}

fn until(end: Instant, port: u16, config: &Arc<ClientConfig>, resumed: bool) -> Result<u64> {
    let mut count = 0;
    if resumed {
        // The first ticket.
        shake_hands(port, config)?;
    }
    while Instant::now() < end {
        let kind = shake_hands(port, config)?;
        if (kind == Some(HandshakeKind::Resumed)) != resumed {
            return Err(format!("{kind:?}").into());
        }
        count += 1;
    }
    Ok(count)
}

/// A connection up and down again; how it came up.
fn shake_hands(port: u16, config: &Arc<ClientConfig>) -> Result<Option<HandshakeKind>> {
    let mut stream = connect(TcpStream::connect(port::local(port))?, config)?;
    let kind = stream.conn.handshake_kind();
    stream.conn.send_close_notify();
    stream.flush()?;
    stream.sock.shutdown(Shutdown::Write)?;
    // Its tickets, its goodbye, its end. Some do not say goodbye.
    let _ = stream.read_to_end(&mut Vec::new());
    Ok(kind)
}

fn connect(socket: TcpStream, config: &Arc<ClientConfig>) -> Result<Stream> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let tls = ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?;
    let mut stream = StreamOwned::new(tls, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// A connection on which one request has been served.
pub(crate) fn idle(to: u16, index: usize, config: &Arc<ClientConfig>) -> Result<Stream> {
    // Few per address, for their ports not to run out.
    const PER_ADDRESS: usize = 5_000;
    let from = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(index / PER_ADDRESS)?);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&port::local(to).into())?;
    let mut stream = connect(socket.into(), config)?;
    ask(&mut stream)?;
    Ok(stream)
}

/// A request and its whole answer.
pub(crate) fn ask(stream: &mut Stream) -> Result<()> {
    stream.write_all(b"GET /1k HTTP/1.1\r\nHost: localhost\r\nUser-Agent: idle\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head
            && answer.len() >= head + 4 + 1024
        {
            let right = answer.starts_with(b"HTTP/1.1 200");
            return right.then_some(()).ok_or_else(|| "another answer".into());
        }
        match stream.read(&mut piece)? {
            0 => return Err("the end before the answer".into()),
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
}

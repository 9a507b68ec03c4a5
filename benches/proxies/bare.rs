//! hyper and nothing else, with the answers in its hands: what a hit costs at the least with what Thrust is made of.

use crate::body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use std::{convert::Infallible, rc::Rc};
use tokio::{net::TcpListener, runtime::Builder, task::LocalSet};

/// The head of a hit, as Thrust's is.
const FIELDS: [(&str, &str); 10] = [
    ("server", "nginx/1.22.1"),
    ("content-type", "text/html"),
    ("last-modified", "Mon, 07 Sep 2026 10:00:00 GMT"),
    ("etag", "\"6a9d3f20-5000\""),
    ("cache-control", "public, max-age=86400"),
    ("accept-ranges", "bytes"),
    ("vary", "Accept-Encoding"),
    ("age", "12"),
    ("x-cache", "hit"),
    ("cache-status", "Thrust; hit; ttl=86388"),
];

/// Serves until it is killed, on as many threads as there are cores, each with an accept queue of its own.
pub(crate) fn serve(port: &str) -> ! {
    let port: u16 = port.parse().expect("--bare is followed by a port");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 1..cores {
        std::thread::spawn(move || core(port));
    }
    core(port)
}

fn core(port: u16) -> ! {
    let runtime = Builder::new_current_thread().enable_io().build();
    let runtime = runtime.expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = listener(port).expect("the port was free a moment ago");
        let fields = FIELDS.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let fields = fields.map(|(name, value)| (name.parse().expect("a name"), value));
        let answer = |path| {
            (
                fields.iter().cloned().collect(),
                Bytes::from(body::of(path)),
            )
        };
        let answers: Rc<[(HeaderMap, Bytes); 2]> = Rc::new([answer("/1k"), answer("/hit")]);
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let answers = answers.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let is_hit = request.uri().path() == "/hit";
                    let (fields, body) = answers[usize::from(is_hit)].clone();
                    async move {
                        let mut response = Response::new(Full::new(body));
                        *response.headers_mut() = fields;
                        Ok::<_, Infallible>(response)
                    }
                });
                let talk = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                tokio::task::spawn_local(talk);
            }
        }
    })
}

fn listener(port: u16) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&crate::port::local(port).into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

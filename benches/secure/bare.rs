//! hyper with tokio-rustls and nothing else: what a TLS connection costs at the least with what Thrust is made of.

use std::{convert::Infallible, path::Path, sync::Arc};

use http_body_util::Full;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{net::TcpListener, task::LocalSet};
use tokio_rustls::TlsAcceptor;

/// Serves a kilobyte until it is killed, on as many threads as there are cores.
pub(crate) fn serve(port: &str, dir: &str) -> ! {
    let port: u16 = port.parse().expect("--bare is followed by a port");
    let acceptor = TlsAcceptor::from(Arc::new(config(Path::new(dir))));
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it was free");
    listener.set_nonblocking(true).expect("a socket");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 1..cores {
        let (acceptor, listener) = (
            acceptor.clone(),
            listener.try_clone().expect("a descriptor"),
        );
        std::thread::spawn(move || accept(listener, &acceptor));
    }
    accept(listener, &acceptor)
}

fn config(dir: &Path) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(dir.join("certificate.pem")).expect("ours");
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).expect("ours");
    let builder = ServerConfig::builder().with_no_client_auth();
    let mut config = builder
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    config.ticketer = Ticketer::new().expect("randomness");
    config.alpn_protocols = vec!["http/1.1".into()];
    config
}

fn accept(listener: std::net::TcpListener, acceptor: &TlsAcceptor) -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::from_std(listener).expect("a socket");
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::task::spawn_local(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let answer = service_fn(|_| async {
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
                            &[b'a'; 1024],
                        ))))
                    });
                    // However it ends.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        }
    })
}

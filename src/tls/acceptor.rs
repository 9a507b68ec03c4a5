//! The server's side of a handshake.

use std::{io, sync::Arc};

use rustls::{ServerConfig, server::ClientHello};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

use super::{
    certificates::Certificates,
    challenges::{ACME_TLS, Challenges},
    server_config,
    settings::MinVersion,
};

/// A connection after its handshake.
pub type Stream = TlsStream<TcpStream>;

/// A fatal alert of its own in a record of its own: unrecognized_name (RFC 8446 section 6.2, RFC 6066 section 3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Makes handshakes with the certificates of the moment; a clone is the same.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clients: Arc<ServerConfig>,
    validation: Arc<ServerConfig>,
    certificates: Certificates,
    challenges: Challenges,
}

/// Why a handshake has not come to a stream. The alert, if there is one to be sent, has been.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct HandshakeError {
    reason: Reason,
    stream: Option<TcpStream>,
}

/// What became of it.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// It was a CA's question, and has been answered (RFC 8737).
    #[error("a TLS-ALPN-01 validation was answered")]
    Challenge,
    /// There is no certificate for whom the client asks for, or none yet.
    #[error("there is no certificate for {0}")]
    NoCertificate(String),
    /// The client and we do not agree, or it has gone.
    #[error(transparent)]
    Failed(io::Error),
}

impl HandshakeError {
    fn new(reason: Reason, stream: Option<TcpStream>) -> Self {
        Self { reason, stream }
    }

    /// What became of it.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The connection, for an end in good order: the client may not have read our alert yet.
    pub fn into_stream(self) -> Option<TcpStream> {
        self.stream
    }
}

impl Acceptor {
    pub(super) fn new(
        min_version: MinVersion,
        certificates: Certificates,
        challenges: Challenges,
    ) -> Result<Self, rustls::Error> {
        Ok(Self(Arc::new(Shared {
            clients: server_config::for_clients(min_version, certificates.clone())?,
            validation: server_config::for_validation(challenges.clone())?,
            certificates,
            challenges,
        })))
    }

    /// Makes the handshake; its protocol (ALPN) is `h2`, `http/1.1`, `http/1.0` or none.
    ///
    /// # Errors
    /// [`HandshakeError`], also when the handshake was a CA's and had no other purpose.
    ///
    /// Dropped at any await, it drops the connection.
    pub async fn accept(&self, stream: TcpStream) -> Result<Stream, HandshakeError> {
        let mut hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let start = match (&mut hello).await {
            Ok(start) => start,
            Err(error) => return Err(HandshakeError::new(Reason::Failed(error), hello.take_io())),
        };
        if asks_to_validate(&start.client_hello()) {
            return Err(self.answer(start).await);
        }
        let name = start.client_hello().server_name().map(str::to_owned);
        if self.0.certificates.find(name.as_deref()).is_none() {
            return Err(turn_away(start, name));
        }
        finish(start, self.0.clients.clone()).await
    }

    /// Shows the CA what it wants to see, and ends the connection.
    async fn answer(&self, start: StartHandshake<TcpStream>) -> HandshakeError {
        let name = start.client_hello().server_name().map(str::to_owned);
        let answer = name
            .as_deref()
            .and_then(|name| self.0.challenges.certificate(name));
        if answer.is_none() {
            return turn_away(start, name);
        }
        match finish(start, self.0.validation.clone()).await {
            Ok(mut stream) => {
                // It has seen all there is to be seen.
                let _ = stream.shutdown().await;
                HandshakeError::new(Reason::Challenge, Some(stream.into_inner().0))
            }
            Err(error) => error,
        }
    }
}

/// Whether this is a CA's connection, which speaks no other protocol (RFC 8737 section 3).
fn asks_to_validate(hello: &ClientHello<'_>) -> bool {
    let mut protocols = hello.alpn().into_iter().flatten();
    protocols.next() == Some(ACME_TLS) && protocols.next().is_none()
}

async fn finish(
    start: StartHandshake<TcpStream>,
    config: Arc<ServerConfig>,
) -> Result<Stream, HandshakeError> {
    let accepted = start.into_stream(config).into_fallible().await;
    accepted.map_err(|(error, stream)| HandshakeError::new(Reason::Failed(error), Some(stream)))
}

/// rustls would say `access_denied`, which tells nobody what is missing.
fn turn_away(start: StartHandshake<TcpStream>, name: Option<String>) -> HandshakeError {
    let stream = start.io;
    // The buffer of a socket that nothing was written to takes it whole; if it does not, the client is gone.
    let _ = stream.try_write(&UNRECOGNIZED_NAME);
    let name = name.unwrap_or_else(|| "a client that names nobody".to_owned());
    HandshakeError::new(Reason::NoCertificate(name), Some(stream))
}

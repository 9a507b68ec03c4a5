//! What stands behind a front port: the request path itself, or TLS before it.

use crate::tls;

/// How connections of a listener begin.
#[derive(Clone, Debug)]
pub enum Face {
    /// With a request.
    Plain,
    /// With a handshake.
    Secure(tls::Acceptor),
}

impl Face {
    /// The scheme of its URLs, for the log.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Secure(_) => "https",
        }
    }
}

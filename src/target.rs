//! Where the app listens: told as a port or a unix socket, found as an address.
//!
//! The control thread finds the address that answers, the cores connect to it.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc};

/// Where we were told that the app will listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP port on the loopback: `127.0.0.1` or `::1`, whichever answers.
    Port(u16),
    /// The path of a unix stream socket.
    Socket(PathBuf),
}

/// One address at which the app may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix stream socket.
    Unix(Arc<PathBuf>),
}

impl Target {
    /// The addresses to try, in order of preference.
    pub fn addresses(&self) -> Vec<Address> {
        match self {
            Self::Port(port) => vec![
                Address::Tcp(SocketAddr::from(([127, 0, 0, 1], *port))),
                Address::Tcp(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], *port))),
            ],
            Self::Socket(path) => vec![Address::Unix(Arc::new(path.clone()))],
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

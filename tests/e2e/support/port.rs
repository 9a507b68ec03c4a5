//! Ports that stay ours between asking for them and using them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, SockAddr, Socket, Type};

/// A port that is bound, not listening, for as long as this lives: nobody is given it by chance, a connection to it
/// is refused, and whoever binds it with SO_REUSEADDR may listen.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    socket: Socket,
    port: u16,
}

impl ReservedPort {
    /// On 127.0.0.1.
    pub(crate) fn v4() -> Self {
        Self::bind(Domain::IPV4, (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// On ::1.
    pub(crate) fn v6() -> Self {
        Self::bind(Domain::IPV6, (Ipv6Addr::LOCALHOST, 0).into())
    }

    /// On [::], both families, as Thrust binds its front.
    pub(crate) fn front() -> Self {
        Self::bind(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, 0).into())
    }

    fn bind(domain: Domain, address: SocketAddr) -> Self {
        let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("SO_REUSEADDR");
        if domain == Domain::IPV6 {
            socket
                .set_only_v6(address.ip() == Ipv6Addr::LOCALHOST)
                .expect("IPV6_V6ONLY");
        }
        socket.bind(&SockAddr::from(address)).expect("a free port");
        let port = socket
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket())
            .expect("bound")
            .port();
        ReservedPort { socket, port }
    }

    pub(crate) fn number(&self) -> u16 {
        self.port
    }

    /// The bound socket itself, to listen on.
    pub(super) fn socket(&self) -> Socket {
        self.socket.try_clone().expect("a descriptor")
    }

    /// Takes connections (and never answers them): the port is somebody else's.
    pub(crate) fn listen(&self) {
        self.socket.listen(16).expect("nobody else listens");
    }
}

//! One connection out of the accept queue.

use std::{
    io,
    net::{SocketAddr, TcpStream},
};

use nix::errno::Errno;
use socket2::Socket;

/// accept4(2) until it yields a connection, `EAGAIN`, or a lack of something that only time mends.
pub(super) fn accept_one(listener: &Socket) -> io::Result<(TcpStream, SocketAddr)> {
    loop {
        match listener.accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) {
            Ok((socket, peer)) => {
                // A peer without an address does not exist in TCP.
                if let Some(peer) = peer.as_socket() {
                    return Ok((socket.into(), plain(peer)));
                }
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Linux hands the errors of the connection in the queue to whoever accepts it (accept(2), "Error handling").
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::ECONNABORTED
                | Errno::EINTR
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::ENONET
                | Errno::ETIMEDOUT
        )
    )
}

/// `::ffff:192.0.2.1`, which is how a dual-stack socket sees IPv4, is nothing to show to an app.
fn plain(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        ip if ip == peer.ip() => peer,
        ip => SocketAddr::new(ip, peer.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_peer_is_plain_ipv4_and_ipv6_keeps_its_scope() {
        let mapped = "[::ffff:192.0.2.1]:80".parse().unwrap();
        assert_eq!(plain(mapped), "192.0.2.1:80".parse().unwrap());
        let scoped = "[fe80::1%3]:80".parse().unwrap();
        assert_eq!(plain(scoped), scoped);
    }

    #[test]
    fn what_concerns_one_connection_is_passed_over_and_a_shortage_is_not() {
        let passed_over = |errno: Errno| concerns_one_connection(&errno.into());
        assert!(
            [Errno::ECONNABORTED, Errno::EPROTO, Errno::ENETDOWN]
                .into_iter()
                .all(passed_over)
        );
        let shortages = [
            Errno::EMFILE,
            Errno::ENFILE,
            Errno::ENOBUFS,
            Errno::ENOMEM,
            Errno::EAGAIN,
        ];
        assert!(!shortages.into_iter().any(passed_over));
    }
}

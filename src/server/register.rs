//! The one unsafe step of the acceptor: to have the runtime tell when a listening socket has connections.

use std::io;

use socket2::Socket;
use tokio::io::{Interest, unix::AsyncFd};

/// Hands the socket to the runtime's poller.
///
/// # Errors
/// When epoll_ctl(2) fails.
///
/// # Panics
/// Outside a tokio runtime with I/O enabled.
pub(super) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor and gives the same one for as long as it lives; AsyncFd owns the
    // `Socket` and hands out shared references only, by which it cannot be closed or replaced.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

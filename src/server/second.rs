//! A second descriptor for a client's socket whose first is about to be closed by somebody else.

use std::{
    io,
    net::TcpStream,
    os::fd::{BorrowedFd, RawFd},
};

/// The connection of `socket`, once more (dup(2)); `socket` must be open.
pub(super) fn second(socket: RawFd) -> io::Result<TcpStream> {
    // SAFETY: the borrow ends with this function, and a descriptor that is not open is an error of the system call.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    Ok(socket.try_clone_to_owned()?.into())
}

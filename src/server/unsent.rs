//! How much of what we wrote the client's kernel has not taken yet.

use std::os::fd::RawFd;

mod request {
    nix::ioctl_read_bad!(outq, libc::TIOCOUTQ, libc::c_int);
}

/// The bytes in the socket's send queue; none where the kernel does not say (SIOCOUTQ, tcp(7)).
pub(super) fn unsent(socket: RawFd) -> Option<libc::c_int> {
    let mut bytes = 0;
    // SAFETY: the kernel writes one int, which lives here; a descriptor that is no socket is an error.
    unsafe { request::outq(socket, &raw mut bytes) }.ok()?;
    Some(bytes)
}

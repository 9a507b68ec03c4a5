//! Descriptors that came with our start, and nothing else.

use std::{
    io,
    net::TcpListener,
    os::fd::{BorrowedFd, FromRawFd, RawFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::socket::{
        AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
    },
};

/// Takes over the listening TCP socket that was passed to us as `fd`; no child of ours has it from now on.
///
/// # Errors
/// When it is anything else; it is left alone then. To be called before any thread of ours listens: a listening socket
/// under one of the numbers that systemd uses can only be systemd's then.
pub(super) fn take(fd: RawFd) -> io::Result<TcpListener> {
    // SAFETY: `fd` is 3 or more, so not the -1 that a borrowed descriptor must not be, and it is used in this call alone,
    // in which nobody closes descriptors. Where it is not open, all that is done with it is to be told so.
    let passed = unsafe { BorrowedFd::borrow_raw(fd) };
    look_at(passed)?;
    fcntl(passed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, and nobody else owns it: we have opened no listening socket ourselves, so it came with exec, and
    // the caller takes each number once.
    Ok(unsafe { TcpListener::from_raw_fd(fd) })
}

fn look_at(passed: BorrowedFd<'_>) -> io::Result<()> {
    let say = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, text.to_owned()));
    let kind = match getsockopt(&passed, sockopt::SockType) {
        Ok(kind) => kind,
        Err(Errno::EBADF) => return say("it was not passed"),
        Err(Errno::ENOTSOCK) => return say("it is no socket"),
        Err(error) => return Err(error.into()),
    };
    let address: SockaddrStorage = getsockname(std::os::fd::AsRawFd::as_raw_fd(&passed))?;
    let is_ip = matches!(
        address.family(),
        Some(AddressFamily::Inet | AddressFamily::Inet6)
    );
    if kind != SockType::Stream || !is_ip {
        return say("it is no TCP socket");
    }
    if !getsockopt(&passed, sockopt::AcceptConn)? {
        return say("it does not listen; a socket unit for us has Accept=no");
    }
    Ok(())
}

//! The app: answers at once, closes its port when it is told to stop, and exits some seconds later.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{fd::AsFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use signal_hook::{consts::SIGTERM, low_level};

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";

pub(crate) fn serve(exit_after: &str) -> io::Result<()> {
    let seconds = exit_after.parse().map_err(io::Error::other)?;
    let port = env::var("PORT").map_err(io::Error::other)?;
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let (told, tell) = UnixStream::pair()?;
    low_level::pipe::register(SIGTERM, tell)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    while !is_readable_first(&told, &listener)? {
        let (socket, _) = listener.accept()?;
        thread::spawn(|| answer(socket));
    }
    drop(listener);
    thread::sleep(Duration::from_secs(seconds));
    low_level::emulate_default_handler(SIGTERM)
}

/// Waits for either; whether it is `first`.
fn is_readable_first(first: &impl AsFd, second: &impl AsFd) -> io::Result<bool> {
    let mut fds = [first.as_fd(), second.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    while let Err(error) = poll(&mut fds, PollTimeout::NONE) {
        // The signal itself interrupts us.
        if error != Errno::EINTR {
            return Err(error.into());
        }
    }
    Ok(fds[0].any() == Some(true))
}

/// Answers one request after the other; an error means that the other side has gone.
fn answer(socket: TcpStream) -> io::Result<()> {
    let mut writer = socket.try_clone()?;
    let mut lines = BufReader::new(socket).lines();
    while let Some(line) = lines.next().transpose()? {
        if line.is_empty() {
            writer.write_all(RESPONSE)?;
        }
    }
    Ok(())
}

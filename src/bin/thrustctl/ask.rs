//! One question over HTTP, without a library for it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// The status with which `address` answers.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    host: &str,
    patience: Duration,
) -> io::Result<u16> {
    let end = Instant::now() + patience;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_write_timeout(Some(patience))?;
    // As our own probe asks: an app that insists on HTTPS is not to answer with a redirect.
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: thrustctl\r\nx-forwarded-proto: https\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut heard = Vec::new();
    while heard.len() < 12 {
        let left = end.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut piece = [0; 64];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => heard.extend_from_slice(&piece[..length]),
        }
    }
    status(&heard).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// `HTTP/1.1 200`
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_and_nothing_else() {
        assert_eq!(status(b"HTTP/1.1 200 OK"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503"), Some(503));
        for head in [&b"SSH-2.0-OpenSSH"[..], b"HTTP/1.1 2", b"HTTP/1.1 abc"] {
            assert_eq!(status(head), None);
        }
    }
}

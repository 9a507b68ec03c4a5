//! A client's byte stream: plain TCP, or TLS over it.

use std::{
    io::{self, IoSlice, Write},
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::tls;

/// What a connection reads and writes; TLS is boxed, as it is large and an idle plain connection is to be small.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Secure(Box<tls::Stream>),
}

impl Stream {
    /// The socket below.
    pub(super) fn socket(&self) -> RawFd {
        self.tcp().as_raw_fd()
    }

    /// Whether it is encrypted.
    pub(super) fn is_secure(&self) -> bool {
        matches!(self, Self::Secure(_))
    }

    /// Whether both sides have agreed on HTTP/2 (ALPN; RFC 9113 section 3.2).
    pub(super) fn agreed_on_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Whether something was decrypted that nobody has read: the socket does not tell of it.
    pub(super) fn has_decrypted(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            // Without new packets it only says what there is; what is wrong, the next read says.
            Self::Secure(tls) => tls
                .get_mut()
                .1
                .process_new_packets()
                .map_or(true, |state| state.plaintext_bytes_to_read() > 0),
        }
    }

    /// Whether the client's close_notify was decrypted, be it with the last of the handshake: the socket does not tell of it
    /// either.
    fn was_told_goodbye(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(tls) => tls
                .get_mut()
                .1
                .process_new_packets()
                .is_ok_and(|state| state.peer_has_closed()),
        }
    }

    /// Ready once there is something to read, be it the end.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_decrypted() || self.was_told_goodbye() {
            return Poll::Ready(());
        }
        self.tcp().poll_read_ready(cx).map(|_| ())
    }

    /// Writes what the socket takes at once; what it does not is lost.
    pub(super) fn write_now(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain(tcp) => drop(tcp.try_write(bytes)),
            Self::Secure(tls) => {
                // It takes all: nothing waits there.
                let _ = tls.get_mut().1.writer().write(bytes);
                send_now(tls);
            }
        }
    }

    /// Says that nothing more will come (close_notify; RFC 8446 section 6.1), if the socket takes it at once.
    pub(super) fn say_goodbye(&mut self) {
        if let Self::Secure(tls) = self {
            tls.get_mut().1.send_close_notify();
            send_now(tls);
        }
    }

    /// The socket alone, when nothing more is to be said on it.
    pub(super) fn into_tcp(self) -> TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Secure(tls) => tls.into_inner().0,
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Secure(tls) => tls.get_ref().0,
        }
    }
}

/// Sends what rustls has, as far as the socket takes it.
fn send_now(tls: &mut tls::Stream) {
    let (tcp, session) = tls.get_mut();
    while session.wants_write() {
        if !matches!(session.write_tls(&mut AtOnce(tcp)), Ok(1..)) {
            break;
        }
    }
}

/// Writes without waiting.
struct AtOnce<'a>(&'a TcpStream);

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Secure(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Secure(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, pieces),
            Self::Secure(tls) => Pin::new(tls).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Secure(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Secure(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

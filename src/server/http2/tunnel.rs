//! A stream after an extended CONNECT was granted: bytes only (RFC 8441).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pipe::MAX_BUFFER;
use crate::{
    drain::{Kind, Open, Stage},
    server::streams::Seat,
};

/// Keeps its connection until it is dropped, and counts as a tunnel until then or, once the app is gone, until our end of it
/// is said.
#[derive(Debug)]
pub(super) struct Tunnelled {
    from: RecvStream,
    to: SendStream<Bytes>,
    /// Read, and not yet asked for.
    ahead: Bytes,
    ended: bool,
    tunnel: Open,
    _seat: Seat,
}

impl Tunnelled {
    pub(super) fn new(from: RecvStream, to: SendStream<Bytes>, tunnel: Open, seat: Seat) -> Self {
        Self {
            from,
            to,
            ahead: Bytes::new(),
            ended: false,
            tunnel,
            _seat: seat,
        }
    }
}

impl AsyncRead for Tunnelled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.ahead.is_empty() {
            match ready!(self.from.poll_data(cx)) {
                Some(data) => self.ahead = data.map_err(broken)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        // It fails only if more is released than came.
        let _ = self.from.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnelled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(reset) = self.to.poll_reset(cx) {
            return Poll::Ready(Err(broken(reset.map_or_else(|error| error, Into::into))));
        }
        self.to.reserve_capacity(bytes.len().min(MAX_BUFFER));
        while self.to.capacity() == 0 {
            match ready!(self.to.poll_capacity(cx)) {
                Some(room) => drop(room.map_err(broken)?),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = self.to.capacity().min(bytes.len());
        let piece = Bytes::copy_from_slice(&bytes[..count]);
        self.to.send_data(piece, false).map_err(broken)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.ended, true) {
            self.to.send_data(Bytes::new(), true).map_err(broken)?;
        }
        if self.tunnel.kind() == Kind::Tunnel && self.tunnel.stage() >= Stage::Gone {
            self.tunnel.becomes(Kind::Closing);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tunnelled {
    /// A connection that breaks off is a reset stream (RFC 8441 section 5).
    fn drop(&mut self) {
        if !self.ended {
            self.to.send_reset(Reason::CANCEL);
        }
    }
}

fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

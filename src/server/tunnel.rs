//! The client's connection after a 101: bytes only, those first that came together with the request.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{close::buffered, core::Admission, stream::Stream};
use crate::{
    drain::{Kind, Open, Stage},
    metrics::Recorder,
};

/// Counted as a connection until it is dropped, and as a tunnel until then or, once the app is gone, until our FIN is out.
#[derive(Debug)]
pub(super) struct Tunnelled {
    stream: Stream,
    ahead: Bytes,
    _connection: Admission,
    tunnel: Open,
    recorder: Recorder,
}

impl Tunnelled {
    pub(super) fn new(
        stream: Stream,
        ahead: Bytes,
        connection: Admission,
        tunnel: Open,
        recorder: Recorder,
    ) -> Self {
        Self {
            stream,
            ahead,
            _connection: connection,
            tunnel,
            recorder,
        }
    }

    /// The app has said its last. As with any connection, the exit waits if the client still sends, and only then.
    fn finished(&self) {
        let kind = if buffered(self.stream.socket()) {
            Kind::Lingering
        } else {
            Kind::Closing
        };
        self.tunnel.becomes(kind);
    }
}

impl AsyncRead for Tunnelled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            self.recorder.received(buffer.filled().len() - before);
            if self.tunnel.kind() == Kind::Closing && buffer.filled().len() > before {
                self.tunnel.becomes(Kind::Lingering);
            }
            return Poll::Ready(Ok(()));
        }
        let count = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnelled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.recorder.sent(wrote);
        Poll::Ready(Ok(wrote))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.tunnel.kind() == Kind::Tunnel && self.tunnel.stage() >= Stage::Gone {
            self.finished();
        }
        Poll::Ready(Ok(()))
    }
}

//! The client's socket as hyper sees it: tells the state what moves, and slips interim responses in.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{state::State, stream::Stream};

#[derive(Debug)]
pub(super) struct Io {
    stream: Stream,
    /// Read before, by whoever had the socket then.
    ahead: Bytes,
    state: Rc<State>,
}

impl Io {
    pub(super) fn new(stream: Stream, ahead: Bytes, state: Rc<State>) -> Self {
        Self {
            stream,
            ahead,
            state,
        }
    }

    /// The socket, and what was read of it but not used: `buffered` first.
    pub(super) fn into_parts(self, buffered: Bytes) -> (Stream, Bytes) {
        let ahead = match (buffered.is_empty(), self.ahead.is_empty()) {
            (_, true) => buffered,
            (true, false) => self.ahead,
            (false, false) => [buffered, self.ahead].concat().into(),
        };
        (self.stream, ahead)
    }

    /// Writes interim responses ahead of what hyper writes next.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(interim) = self.state.interim() else {
            return Poll::Ready(Ok(()));
        };
        let mut interim = interim.borrow_mut();
        while !interim.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &interim) {
                Poll::Ready(wrote) => drop(interim.drain(..wrote?)),
                Poll::Pending => {
                    self.state.write_blocked();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn note<T>(&self, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &wrote {
            Poll::Pending => self.state.write_blocked(),
            Poll::Ready(Ok(_)) => self.state.wrote(),
            Poll::Ready(Err(_)) => self.state.broke(),
        }
        wrote
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..count]);
            self.ahead.advance(count);
            // Counted when it came.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        match &read {
            Ok(()) => self.state.read(buffer.filled().len() - before),
            Err(_) => self.state.broke(),
        }
        if self.stream.is_secure() {
            let decrypted = self.stream.has_decrypted();
            self.state.unread.set(decrypted);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let wrote = match pieces {
            // One piece, one plain write: cheaper in the kernel than a vector of one.
            [piece] => Pin::new(&mut self.stream).poll_write(cx, piece),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, pieces),
        };
        self.note(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when it has handed everything over.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() {
            self.state.write_blocked();
        }
        ready!(flushed)?;
        self.state.flushed();
        Poll::Ready(Ok(()))
    }

    /// Closing is the driver's: it knows whether to linger.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

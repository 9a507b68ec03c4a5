//! The request's way to the app: its head, and its body as the client sends it.

use std::{
    fmt::Write as _,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};

use super::stream::Connection;

/// A piece of a body up to this size is copied behind what stands before it, so that one plain write carries both.
const COPIED: usize = 16 * 1024;

/// Why sending stopped.
#[derive(Debug)]
pub(super) enum SendError<E> {
    /// The connection does not take more.
    Closed,
    /// The request's body failed.
    Body(E),
}

/// What is left to be sent of a request.
#[derive(Debug)]
pub(super) struct Sending<B> {
    /// Written first: the head, then each chunk's size line.
    before: Vec<u8>,
    written: usize,
    piece: Bytes,
    after: &'static [u8],
    body: Option<B>,
    chunked: bool,
    /// Whether the body was asked once: a small body is then sent together with the head.
    asked: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    pub(super) fn new(head: Vec<u8>, body: Option<B>, chunked: bool) -> Self {
        Self {
            before: head,
            written: 0,
            piece: Bytes::new(),
            after: b"",
            asked: body.is_none(),
            body,
            chunked,
        }
    }

    /// Whether the whole request is out.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.is_flushed()
    }

    fn is_flushed(&self) -> bool {
        self.written == self.before.len() && self.piece.is_empty() && self.after.is_empty()
    }

    /// The head of a request without a body, written or not.
    pub(super) fn take_head(&mut self) -> Vec<u8> {
        self.written = 0;
        std::mem::take(&mut self.before)
    }

    /// Sends what can be sent now; ready when the whole request is out.
    pub(super) fn poll(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<B::Error>>> {
        loop {
            if !self.asked {
                // hyper reads a body only once it is asked for, and asks us again at once: so the first piece of a body that
                // came with its head leaves together with it.
                self.asked = true;
                if self.poll_body(cx)?.is_pending() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            ready!(self.poll_flush(connection, cx)).map_err(|_| SendError::Closed)?;
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_body(cx)?);
        }
    }

    /// Takes the next piece of the body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError<B::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Ok(()));
        };
        match ready!(Pin::new(body).poll_frame(cx)) {
            None => {
                self.body = None;
                if self.chunked {
                    self.queue(b"0\r\n\r\n");
                }
            }
            Some(Ok(frame)) => self.queue_frame(frame),
            Some(Err(error)) => return Poll::Ready(Err(SendError::Body(error))),
        }
        Poll::Ready(Ok(()))
    }

    fn queue_frame(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => self.queue_data(data),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.queue_trailers(&trailers);
                }
            }
        }
    }

    fn queue_data(&mut self, data: Bytes) {
        if self.chunked {
            self.make_room();
            // Writing to a vector cannot fail.
            let _ = write!(Text(&mut self.before), "{:x}\r\n", data.len());
        }
        let end: &'static [u8] = if self.chunked { b"\r\n" } else { b"" };
        if data.len() <= COPIED {
            self.queue(&data);
            self.before.extend_from_slice(end);
        } else {
            self.piece = data;
            self.after = end;
        }
    }

    /// The last chunk and its trailers; only a chunked request can carry them (RFC 9112 section 7.1.2).
    fn queue_trailers(&mut self, trailers: &http::HeaderMap) {
        self.body = None;
        if !self.chunked {
            return;
        }
        self.queue(b"0\r\n");
        for (name, value) in trailers {
            for part in [name.as_ref(), b": ".as_slice(), value.as_bytes(), b"\r\n"] {
                self.before.extend_from_slice(part);
            }
        }
        self.before.extend_from_slice(b"\r\n");
    }

    fn queue(&mut self, bytes: &[u8]) {
        self.make_room();
        self.before.extend_from_slice(bytes);
    }

    /// Forgets what was written, once all of it was.
    fn make_room(&mut self) {
        if self.written == self.before.len() {
            self.before.clear();
            self.written = 0;
        }
    }

    fn poll_flush(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_flushed() {
            let before = &self.before[self.written..];
            let pieces = [
                IoSlice::new(before),
                IoSlice::new(&self.piece),
                IoSlice::new(self.after),
            ];
            let count = if self.piece.is_empty() { 1 } else { 3 };
            let sent = ready!(connection.poll_send(cx, &pieces[..count]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut sent: usize) {
        let before = sent.min(self.before.len() - self.written);
        self.written += before;
        sent -= before;
        let piece = sent.min(self.piece.len());
        self.piece.advance(piece);
        self.after = &self.after[sent - piece..];
    }
}

/// A vector of bytes as a place for text.
struct Text<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

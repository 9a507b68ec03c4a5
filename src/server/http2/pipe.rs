//! A response's body on its way into a stream.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;

use super::shared::Shared;
use crate::handler::Body;

/// The most that is buffered of one response, in bytes, as with HTTP/1.
pub(super) const MAX_BUFFER: usize = 64 * 1024;

/// Sends `body`, as the client makes room for it: what h2 is given it can send, so that a response counts until then.
pub(super) struct Pipe {
    body: Body,
    to: SendStream<Bytes>,
    /// A piece of the body, or what is left of one.
    piece: Bytes,
    /// Since when it waits for room.
    waiting: Option<Instant>,
    /// How many bytes were sent.
    sent: u64,
}

/// How a body's way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piped {
    /// All of it was sent.
    Whole,
    /// The body failed; the stream was reset.
    Failed,
    /// The client wants no more of it.
    Gone,
}

impl Pipe {
    pub(super) fn new(body: Body, to: SendStream<Bytes>) -> Self {
        Self {
            body,
            to,
            piece: Bytes::new(),
            waiting: None,
            sent: 0,
        }
    }

    pub(super) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Piped> {
        if self.to.poll_reset(cx).is_ready() {
            return Poll::Ready(Piped::Gone);
        }
        loop {
            while !self.piece.is_empty() {
                if let Some(end) = ready!(self.poll_piece(shared, cx)) {
                    return Poll::Ready(end);
                }
            }
            if let Some(end) = ready!(self.poll_body(cx)) {
                return Poll::Ready(end);
            }
        }
    }

    /// Since when the client has made no room: for this response or, where that waits for its turn, for any.
    pub(super) fn stalled_since(&self, shared: &Shared) -> Option<Instant> {
        let since = self.waiting?;
        let id = self.to.stream_id().as_u32();
        Some(match shared.is_shut(id, self.sent) {
            true => since,
            false => since.max(shared.progress()),
        })
    }

    /// The client has taken nothing for too long.
    pub(super) fn give_up(&mut self) {
        self.to.send_reset(Reason::CANCEL);
    }

    /// Sends as much of the piece as there is room for.
    fn poll_piece(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Option<Piped>> {
        while self.to.capacity() == 0 {
            match self.to.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(Some(Piped::Gone)),
                Poll::Pending => {
                    self.waiting.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
        if self.waiting.take().is_some() {
            shared.progressed();
        }
        let length = self.to.capacity().min(self.piece.len());
        let piece = self.piece.split_to(length);
        self.sent += length as u64;
        let last = self.piece.is_empty() && self.body.is_end_stream();
        if self.to.send_data(piece, last).is_err() {
            return Poll::Ready(Some(Piped::Gone));
        }
        if !last {
            self.reserve();
        }
        Poll::Ready(last.then_some(Piped::Whole))
    }

    /// Asks for room for what is in hand and no more: room that is not used is missing elsewhere.
    fn reserve(&mut self) {
        self.to.reserve_capacity(self.piece.len().min(MAX_BUFFER));
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piped>> {
        let sent = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => {
                    self.piece = data;
                    self.reserve();
                    return Poll::Ready(None);
                }
                Ok(_) if !self.body.is_end_stream() => return Poll::Ready(None),
                Ok(_) => self.to.send_data(Bytes::new(), true),
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => self.to.send_trailers(trailers),
                    Err(_) => return Poll::Ready(None),
                },
            },
            Some(Err(_)) => {
                self.to.send_reset(Reason::INTERNAL_ERROR);
                return Poll::Ready(Some(Piped::Failed));
            }
            None => self.to.send_data(Bytes::new(), true),
        };
        let end = if sent.is_ok() {
            Piped::Whole
        } else {
            Piped::Gone
        };
        Poll::Ready(Some(end))
    }
}

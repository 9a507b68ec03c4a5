//! Where a request's body comes from: a connection of its own, or one stream of many.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// What is read of a request after its head.
#[derive(Debug)]
pub enum Incoming {
    /// Over HTTP/1.
    Http1(hyper::body::Incoming),
    /// Over HTTP/2.
    Http2(StreamBody),
}

/// The DATA frames of a stream, and its trailers.
#[derive(Debug)]
pub struct StreamBody {
    stream: h2::RecvStream,
    /// How many bytes are to come, if the head said so; h2 holds the client to it.
    left: Option<u64>,
    data_ended: bool,
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The client has reset the stream, or is gone.
    Reset,
    /// It is not HTTP; or the client is gone, which its connection knows.
    Malformed,
}

impl StreamBody {
    /// What `stream` brings; `length` is what the head says of it.
    pub fn new(stream: h2::RecvStream, length: Option<u64>) -> Self {
        Self {
            stream,
            left: length,
            data_ended: false,
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        while !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() && !self.stream.is_end_stream() => {}
                Some(Ok(data)) => return Poll::Ready(Some(Ok(self.take(data)))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    /// The client may send as much again: whoever asks for bytes has room for them.
    fn take(&mut self, data: Bytes) -> Frame<Bytes> {
        // It fails only if more is released than came.
        let _ = self.stream.flow_control().release_capacity(data.len());
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        Frame::data(data)
    }
}

impl Incoming {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::Http1(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map_err(|_| Broken::Malformed),
            Self::Http2(body) => body.poll_frame(cx).map_err(|error| {
                if error.is_io() || error.is_reset() && error.is_remote() {
                    Broken::Reset
                } else {
                    Broken::Malformed
                }
            }),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(incoming) => incoming.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(incoming) => incoming.size_hint(),
            Self::Http2(body) => body.left.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

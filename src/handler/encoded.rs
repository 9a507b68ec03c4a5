//! A body that is encoded as it passes.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body as _, Frame};

use super::{Body, BodyError, Recoded};
use crate::coding::Encoder;

/// How much is encoded before the others of this core have a turn, in bytes: a third of a millisecond.
const TURN: usize = 64 * 1024;

/// Fields with a digest of the plain bytes, which those of another form do not have (RFC 9530, RFC 1864).
pub const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Another body, encoded; flushed whenever that one pauses, and ended only if that one ends.
#[derive(Debug)]
pub(super) struct Encoded {
    source: Body,
    encoder: Encoder,
    /// What came of the source and is not encoded yet.
    input: Bytes,
    /// What is left of this turn, in bytes.
    left: usize,
    /// The source has nothing now; before that counts as a pause the runtime looks at its sockets once more.
    looks_again: bool,
    trailers: Option<HeaderMap>,
    failed: Option<BodyError>,
    counts: Option<Box<dyn Recoded>>,
    taken: u64,
    given: u64,
}

impl Encoded {
    pub(super) fn new(source: Body, encoder: Encoder, counts: Option<Box<dyn Recoded>>) -> Self {
        Self {
            source,
            encoder,
            input: Bytes::new(),
            left: TURN,
            looks_again: false,
            trailers: None,
            failed: None,
            counts,
            taken: 0,
            given: 0,
        }
    }

    pub(super) fn is_framed(&self) -> bool {
        self.source.is_framed()
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.encoder.is_done() && self.trailers.is_none()
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(piece) = self.encoder.piece() {
                self.given += piece.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Some(Err(error)));
            }
            if self.encoder.is_done() {
                return Poll::Ready(
                    self.trailers
                        .take()
                        .map(|fields| Ok(Frame::trailers(fields))),
                );
            }
            if self.input.is_empty() {
                if self.poll_source(cx).is_pending() {
                    self.left = TURN;
                    return Poll::Pending;
                }
            } else if self.left == 0 {
                self.left = TURN;
                return after_the_others(cx);
            } else {
                self.encode();
            }
        }
    }

    fn encode(&mut self) {
        let length = self.input.len().min(self.left);
        self.encoder.push(&self.input.split_to(length));
        self.left -= length;
        self.taken += length as u64;
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.source).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.looks_again = false;
                self.take(frame);
            }
            Poll::Pending if !self.encoder.holds_back() => return Poll::Pending,
            Poll::Pending if !self.looks_again => {
                self.looks_again = true;
                return after_the_others(cx);
            }
            Poll::Pending => {
                self.looks_again = false;
                self.encoder.flush();
            }
        }
        Poll::Ready(())
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, BodyError>>) {
        let frame = match frame {
            None => return self.encoder.finish(),
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                // What came before is sent; without an end, so that it does not look whole.
                self.encoder.flush();
                self.failed = Some(error);
                return;
            }
        };
        match frame.into_data() {
            Ok(data) => self.input = data,
            Err(frame) => {
                self.encoder.finish();
                self.trailers = frame.into_trailers().ok().map(without_digests);
            }
        }
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        if let Some(counts) = self.counts.take() {
            counts.recoded(self.taken, self.given);
        }
    }
}

fn without_digests(mut trailers: HeaderMap) -> HeaderMap {
    for field in &DIGESTS {
        trailers.remove(field);
    }
    trailers
}

/// Pending, and polled again once the runtime has looked at its sockets and at what else is ready.
fn after_the_others<T>(cx: &mut Context<'_>) -> Poll<T> {
    // Waking ourselves at once would keep the runtime from looking at its sockets.
    let waits = pin!(tokio::task::yield_now()).poll(cx);
    debug_assert!(waits.is_pending());
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, rc::Rc};

    use super::*;
    use crate::{coding::Purpose, content::Coding};

    #[tokio::test(flavor = "local")]
    async fn a_large_frame_leaves_turns_to_the_others() {
        const LENGTH: usize = 10 * 1024 * 1024;
        let turns = Rc::new(Cell::new(0));
        let counted = turns.clone();
        let other = tokio::task::spawn_local(async move {
            loop {
                counted.set(counted.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        let encoder = Encoder::new(Coding::Zstd, Purpose::Passing { length: None }, 32);
        let mut body = Body::from(Bytes::from(vec![b'x'; LENGTH])).encoded(encoder, None);
        let mut encoded = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            encoded.extend(frame.unwrap().into_data().unwrap());
        }
        other.abort();
        assert!(turns.get() >= LENGTH / TURN - 1, "{} turns", turns.get());
        assert!(zstd::decode_all(&encoded[..]).unwrap() == vec![b'x'; LENGTH]);
    }
}

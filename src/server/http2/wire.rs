//! The client's stream as h2 sees it: what h2 writes is gathered and goes out once a turn, what it reads is metered.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::Meter;
use crate::server::{state::State, stream::Stream};

/// So many bytes are gathered at most: as many as one TLS record holds.
const GATHERED: usize = 16 * 1024;

/// One end is h2's, the other its driver's.
#[derive(Clone, Debug)]
pub(super) struct Wire(Rc<RefCell<Ends>>);

/// How much is with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Out {
    /// All that h2 had.
    All,
    /// All that h2 has written; it has more.
    Some,
}

#[derive(Debug)]
struct Ends {
    stream: Stream,
    /// Read before anybody knew that it is HTTP/2.
    ahead: Bytes,
    /// Written by h2, not yet by us.
    gathered: BytesMut,
    /// Whether h2 has more that we did not take.
    blocked: bool,
    meter: Meter,
    state: Rc<State>,
}

impl Wire {
    pub(super) fn new(stream: Stream, ahead: Bytes, state: Rc<State>) -> Self {
        Self(Rc::new(RefCell::new(Ends {
            stream,
            ahead,
            gathered: BytesMut::new(),
            blocked: false,
            meter: Meter::new(Instant::now()),
            state,
        })))
    }

    /// The stream, once h2 is gone.
    pub(super) fn into_stream(self) -> Option<Stream> {
        Some(Rc::into_inner(self.0)?.into_inner().stream)
    }

    /// Runs `look` over what has passed.
    pub(super) fn metered<T>(&self, look: impl FnOnce(&mut Meter) -> T) -> T {
        look(&mut self.0.borrow_mut().meter)
    }

    /// Ready once all that h2 has written is with the kernel, or there is room again for what h2 could not write: then it is
    /// h2's turn once more.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<Out>> {
        let mut ends = self.0.borrow_mut();
        let waited = !ends.gathered.is_empty();
        ready!(ends.poll_out(cx))?;
        match (std::mem::take(&mut ends.blocked), waited) {
            (false, _) => Poll::Ready(Ok(Out::All)),
            (true, true) => Poll::Ready(Ok(Out::Some)),
            // The kernel will tell h2, which asked it last.
            (true, false) => {
                ends.blocked = true;
                Poll::Pending
            }
        }
    }

    /// A turn begins: h2 will try again.
    pub(super) fn unblock(&self) {
        self.0.borrow_mut().blocked = false;
    }

    /// Whether the client takes no more for now.
    pub(super) fn is_stuck(&self) -> bool {
        let ends = self.0.borrow();
        ends.blocked || !ends.gathered.is_empty()
    }

    /// Gives back what an idle connection does not need.
    pub(super) fn shrink(&self) {
        let gathered = &mut self.0.borrow_mut().gathered;
        if gathered.is_empty() {
            *gathered = BytesMut::new();
        }
    }
}

impl Ends {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let wrote = Pin::new(&mut self.stream).poll_write(cx, &self.gathered);
            let wrote = ready!(self.note(wrote))?;
            self.gathered.advance(wrote);
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(flushed.map_ok(|()| 0)).map_ok(|_| ())
    }

    /// Writes what was gathered and `pieces` behind it.
    fn poll_write_through(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let wrote = {
                let mut all = [IoSlice::new(&[]); 8];
                let count = pieces.len().min(all.len() - 1);
                all[0] = IoSlice::new(&self.gathered);
                all[1..=count].copy_from_slice(&pieces[..count]);
                let from = usize::from(self.gathered.is_empty());
                Pin::new(&mut self.stream).poll_write_vectored(cx, &all[from..=count])
            };
            let wrote = ready!(self.note(wrote))?;
            let before = self.gathered.len();
            self.gathered.advance(wrote.min(before));
            if wrote > before || wrote == 0 {
                return Poll::Ready(Ok(wrote.saturating_sub(before)));
            }
        }
    }

    fn note(&mut self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Pending => self.state.write_blocked(),
            Poll::Ready(Ok(0)) => {}
            Poll::Ready(Ok(bytes)) => {
                self.state.wrote(*bytes);
                self.meter.wrote(*bytes);
            }
            Poll::Ready(Err(_)) => self.state.broke(),
        }
        wrote
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ends = &mut *self.0.borrow_mut();
        let before = buffer.filled().len();
        if ends.ahead.is_empty() {
            let read = ready!(Pin::new(&mut ends.stream).poll_read(cx, buffer));
            if read.is_err() || buffer.filled().len() == before {
                ends.state.broke();
            }
            read?;
            let bytes = buffer.filled().len() - before;
            ends.state.recorder.received(bytes);
            let decrypted = ends.stream.has_decrypted();
            ends.state.unread.set(decrypted);
        } else {
            let count = ends.ahead.len().min(buffer.remaining());
            buffer.put_slice(&ends.ahead.split_to(count));
        }
        let came = buffer.filled().len() - before;
        let passed = ends.meter.read(&buffer.filled()[before..], Instant::now());
        buffer.set_filled(before + passed);
        // Nothing is not the end: the driver says goodbye, and h2 is to wait for that.
        match (came, passed) {
            (1.., 0) => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let ends = &mut *self.0.borrow_mut();
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if ends.gathered.len() + length <= GATHERED {
            pieces
                .iter()
                .for_each(|piece| ends.gathered.extend_from_slice(piece));
            return Poll::Ready(Ok(length));
        }
        let wrote = ends.poll_write_through(cx, pieces);
        ends.blocked |= wrote.is_pending();
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The driver's: h2 flushes after every DATA frame.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The driver's, too.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

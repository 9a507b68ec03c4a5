//! The client's socket as hyper sees it: tells the state what moves, slips interim responses in, and leaves files to
//! sendfile(2).

use std::{
    future::Future,
    io::{self, IoSlice},
    os::fd::AsFd,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    task::yield_now,
};

use super::{state::State, stream::Stream};
use crate::files::stand_in;

/// After how much of files, in bytes, the other connections of the core have their turn. One call may send more than that: to
/// cut it short would end it in a packet that is not full.
const TURN: usize = 2 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Io {
    stream: Stream,
    /// Read before, by whoever had the socket then.
    ahead: Bytes,
    /// Bytes of files since the others had their turn.
    turn: usize,
    state: Rc<State>,
}

impl Io {
    pub(super) fn new(stream: Stream, ahead: Bytes, state: Rc<State>) -> Self {
        Self {
            stream,
            ahead,
            turn: 0,
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

    /// Writes `pieces`, of which those from `at` on stand in for files: what is before those, or of the first file what the
    /// socket takes until it is the others' turn.
    fn poll_write_files(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
        at: usize,
    ) -> Poll<io::Result<usize>> {
        if self.turn >= TURN {
            self.turn = 0;
            // Its first poll only asks to be woken once the others, and what the kernel has to tell, have been seen to.
            if pin!(yield_now()).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        if at > 0 {
            // One packet with the beginning of the file.
            return self.poll_try_write(cx, |tcp| send(tcp, &pieces[..at], libc::MSG_MORE));
        }
        let (piece, mut sent) = (&pieces[0], 0);
        while sent < piece.len() && self.turn < TURN {
            match self.poll_send(cx, &piece[sent..]) {
                Poll::Ready(Ok(wrote)) => sent += wrote,
                // What stands in the way of more, the next call says.
                _ if sent > 0 => break,
                wrote => return wrote,
            }
        }
        Poll::Ready(Ok(sent))
    }

    /// Sends the beginning of what `piece` stands in for, as far as that is one system call.
    fn poll_send(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
        let at_hand = match stand_in::poll_at_hand(piece, cx) {
            Poll::Ready(Ok(at_hand)) => at_hand,
            Poll::Ready(Err(error)) => return self.note(Poll::Ready(Err(error))),
            Poll::Pending => {
                self.state.nothing_to_write();
                return Poll::Pending;
            }
        };
        let wrote = self.poll_try_write(cx, |tcp| stand_in::send(&piece[..at_hand], tcp.as_fd()));
        match &wrote {
            Poll::Ready(Ok(sent)) => self.turn += sent,
            Poll::Ready(Err(_)) => {}
            // The others have theirs now.
            Poll::Pending => self.turn = 0,
        }
        wrote
    }

    /// Writes with `write` once the socket takes something.
    fn poll_try_write(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let Stream::Plain(tcp) = &self.stream else {
            // Nothing stands in for files where they are encrypted: see `State`.
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        loop {
            match tcp.poll_write_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return self.note(Poll::Pending),
            }
            match tcp.try_io(Interest::WRITABLE, || write(tcp)) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                wrote => return self.note(Poll::Ready(wrote)),
            }
        }
    }

    fn note(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Pending => self.state.write_blocked(),
            Poll::Ready(Ok(bytes)) => self.state.wrote(*bytes),
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        if let Some(at) = pieces.iter().position(|piece| stand_in::is_one(piece)) {
            return self.poll_write_files(cx, pieces, at);
        }
        let wrote = match (pieces, &self.stream) {
            // One piece, one plain write: cheaper in the kernel than a vector of one.
            ([piece], _) => Pin::new(&mut self.stream).poll_write(cx, piece),
            // sendmsg(2): writev(2) goes through the checks of a file first.
            (_, Stream::Plain(_)) => return self.poll_try_write(cx, |tcp| send(tcp, pieces, 0)),
            (_, Stream::Secure(_)) => Pin::new(&mut self.stream).poll_write_vectored(cx, pieces),
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

/// Sends bytes by one system call (sendmsg(2)).
fn send(stream: &TcpStream, pieces: &[IoSlice<'_>], flags: libc::c_int) -> io::Result<usize> {
    SockRef::from(stream).send_vectored_with_flags(pieces, flags | libc::MSG_NOSIGNAL)
}

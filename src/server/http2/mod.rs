//! HTTP/2: a connection with several requests at once (RFC 9113), by ALPN or by prior knowledge.
//!
//! h2 speaks the protocol; here is what it leaves to us: clocks, floods, and how a connection leaves. To the path each stream
//! is a request like any other. Goodbye is said in two steps: first that nothing more is to be asked, at once, then up to
//! where it was heard, after a round trip or, if the client does not answer, when the drain ends. So nothing that was on
//! the wire is lost, and nobody is waited for who does not listen.

mod exchange;
mod head;
mod meter;
mod pipe;
mod shared;
mod tunnel;
mod wire;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, Connection, Handshake, SendResponse},
};
use tokio::task::spawn_local;

use self::{
    pipe::MAX_BUFFER,
    shared::Shared,
    wire::{Out, Wire},
};
use super::{
    clock::Clock,
    core::Core,
    state::{State, earliest},
    stream::Stream,
    streams::Seat,
};
use crate::{
    drain::Stage,
    handler::{Cause, Handler},
};

/// What a client begins with (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How many requests a client may have open: what browsers ask for.
const MAX_STREAMS: u32 = 128;

/// How much of one request's body is taken before the app asks for it, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;

/// How much of all of them.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The longest head, in bytes as RFC 9113 section 6.5.2 counts them: as with HTTP/1.
const MAX_HEAD: u32 = 64 * 1024;

/// How long streams that are given up may take to say so.
const CUTTING: Duration = Duration::from_millis(100);

/// An idle connection gives its buffers back after this time.
const SHRINK_AFTER: Duration = Duration::from_millis(250);

type Accepted = (http::Request<RecvStream>, SendResponse<Bytes>);

/// The protocol's settings.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD)
        .max_send_buffer_size(MAX_BUFFER)
        // A browser that closes a tab cancels all that the tab wanted in one breath. Who does so again and again is metered.
        .max_pending_accept_reset_streams(MAX_STREAMS as usize)
        .enable_connect_protocol();
    builder
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// It has ended by itself.
    Done,
    /// It is told why, and closed.
    Goodbye(Reason),
    /// What is left of it is given up.
    Cut,
    /// It takes nothing, not even a goodbye.
    Stuck,
}

/// A connection that speaks HTTP/2.
struct Http2<'a, H> {
    core: &'a Rc<Core<H>>,
    state: &'a Rc<State>,
    shared: Rc<Shared>,
    frames: Frames,
    wire: Wire,
    /// Whether the first step of the goodbye was made.
    leaving: bool,
    /// How far the stop has come, as its streams know.
    told: Stage,
    shrunk: bool,
}

/// The protocol, as far as it has come.
enum Frames {
    Beginning(Handshake<Wire, Bytes>),
    Open(Connection<Wire, Bytes>),
}

/// Speaks HTTP/2 over `stream`, of which `ahead` was read, to its end; gives it back to be closed.
pub(super) async fn talk<H: Handler + 'static>(
    core: &Rc<Core<H>>,
    state: &Rc<State>,
    stream: Stream,
    ahead: Bytes,
    clock: &mut Clock,
) -> (Option<Stream>, Parting) {
    let shared = Rc::new(Shared::new(state.clone()));
    let wire = Wire::new(stream, ahead, state.clone());
    let mut http = Http2 {
        core,
        state,
        shared,
        frames: Frames::Beginning(core.http2.handshake(wire.clone())),
        wire: wire.clone(),
        leaving: false,
        told: Stage::Serving,
        shrunk: false,
    };
    state.speaks_streams();
    let parting = poll_fn(|cx| http.poll(clock, cx)).await;
    http.part(parting).await;
    drop(http);
    (wire.into_stream(), parting)
}

impl<H: Handler + 'static> Http2<'_, H> {
    fn poll(&mut self, clock: &mut Clock, cx: &mut Context<'_>) -> Poll<Parting> {
        self.state.remember(cx.waker());
        loop {
            if let Poll::Ready(ended) = self.poll_turn(cx) {
                return Poll::Ready(ended);
            }
            if let Some(fault) = self.wire.metered(|meter| meter.fault()) {
                self.state.give_up(Cause::Cut);
                return Poll::Ready(Parting::Goodbye(fault));
            }
            if self.state.watch.leaving() {
                if self.begins_to_leave() {
                    continue;
                }
                let known = self.tell_streams(cx);
                if let Some(parting) = self.on_stage(known) {
                    return Poll::Ready(parting);
                }
            }
            if clock.poll(self.deadline(), cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(parting) = self.due(Instant::now()) {
                return Poll::Ready(parting);
            }
        }
    }

    /// Reads and writes all that can be, and begins the streams that have come.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Parting> {
        loop {
            self.wire.unblock();
            if let Poll::Ready(ended) = self.poll_frames(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return Poll::Ready(Parting::Done);
            }
            match self.wire.poll_out(cx) {
                Poll::Ready(Ok(Out::Some)) => {}
                Poll::Ready(Ok(Out::All)) => {
                    let answered = self.shared.flushed();
                    self.wire
                        .metered(|meter| (0..answered).for_each(|_| meter.answered()));
                    return Poll::Pending;
                }
                // h2 hears of it when it reads or writes next.
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "connection broken");
                    return Poll::Ready(Parting::Stuck);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            match self.frames.poll_accept(cx) {
                Poll::Ready(Some(Ok(accepted))) => self.begin(accepted),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    // Now that the streams they are of have begun.
                    self.wire.metered(|meter| self.shared.learn_windows(meter));
                    return Poll::Pending;
                }
            }
        }
    }

    fn begin(&mut self, (request, to): Accepted) {
        self.shrunk = false;
        let id = to.stream_id().as_u32();
        let seat = Seat::take(self.state, id, Instant::now());
        let (core, shared) = (self.core.clone(), self.shared.clone());
        // Boxed, as a task moves its future when it begins and again when it ends, in full.
        let exchange = Box::pin(exchange::serve(core, shared, seat, request, to));
        let task = spawn_local(exchange);
        self.state.streams.served_by(id, task.abort_handle());
    }
}

impl<H> Http2<'_, H> {
    /// Says that nothing more is to be asked, once: to who has asked for something, as HTTP/1 would in its answer; to
    /// everybody once the listeners are closed.
    fn begins_to_leave(&mut self) -> bool {
        let wanted = self.state.watch.stage() >= Stage::Draining || self.state.in_flight();
        match &mut self.frames {
            Frames::Open(connection) if wanted && !self.leaving => {
                self.leaving = true;
                connection.graceful_shutdown();
                true
            }
            _ => false,
        }
    }

    /// Shows the streams how far the stop has come; true once they have seen it. Their turn is before our next.
    fn tell_streams(&mut self, cx: &Context<'_>) -> bool {
        let stage = self.state.watch.stage();
        if self.told == stage || self.state.streams.is_empty() {
            return true;
        }
        self.told = stage;
        self.state.streams.wake();
        cx.waker().wake_by_ref();
        false
    }

    /// Looks at the stage of the stop: whether this connection is to go, or holds the drain. It has seen it once its streams
    /// have.
    fn on_stage(&self, known: bool) -> Option<Parting> {
        let state = self.state;
        let stage = state.watch.stage();
        let arrived = stage >= Stage::Draining && state.buffered();
        let arriving = self.waiting_since().is_some();
        let parting = if stage == Stage::Cut {
            state.give_up(Cause::Cut);
            Some(Parting::Cut)
        } else if stage <= Stage::Draining || self.is_busy() {
            None
        } else {
            // What has arrived is read and answered, whatever the stage, and what may be on the wire until the deadline.
            let given_up = state.watch.overdue() || stage > Stage::Ending;
            let awaited = arrived || (!given_up && (arriving || state.is_young()));
            (!awaited).then_some(Parting::Goodbye(Reason::NO_ERROR))
        };
        if parting.is_none() {
            state.update_hold(arrived || arriving);
            if known {
                self.core.registry.saw(state);
            }
        }
        parting
    }

    /// Whether requests are open, or what was said in answer to them is still with us.
    fn is_busy(&self) -> bool {
        self.state.in_flight() || self.shared.is_owing() || self.wire.is_stuck()
    }

    /// Since when the rest of something is awaited: of the preface, a head or another frame.
    fn waiting_since(&self) -> Option<Instant> {
        self.wire.metered(|meter| {
            let preface = (!meter.is_introduced()).then(|| self.state.accepted());
            preface
                .filter(|_| meter.waiting_since().is_some())
                .or_else(|| meter.waiting_since())
        })
    }

    fn deadline(&self) -> Option<Instant> {
        let clocks = earliest(self.read_deadline(), self.state.next_look());
        let idle = earliest(self.idle_deadline(), self.state.young_until());
        let shrink = (!self.shrunk).then(|| self.state.idle_since() + SHRINK_AFTER);
        if self.is_busy() {
            clocks
        } else {
            earliest(clocks, earliest(idle, shrink))
        }
    }

    fn read_deadline(&self) -> Option<Instant> {
        let begun = self.wire.metered(|meter| meter.is_introduced());
        let since = self
            .waiting_since()
            .or_else(|| (!begun).then(|| self.state.accepted()))?;
        Some(since + self.state.timeouts.read?)
    }

    /// Whatever the client sends: only requests are a sign of life.
    fn idle_deadline(&self) -> Option<Instant> {
        Some(self.state.idle_since() + self.state.timeouts.idle?)
    }

    /// What has run out by `now`.
    fn due(&mut self, now: Instant) -> Option<Parting> {
        let over = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if over(self.read_deadline()) {
            self.state.give_up(Cause::Cut);
            return Some(Parting::Goodbye(Reason::ENHANCE_YOUR_CALM));
        }
        if over(self.state.next_look()) && self.state.takes_nothing(now) {
            self.state.give_up(Cause::WriteTimeout);
            return Some(Parting::Stuck);
        }
        if !self.is_busy() {
            if over(self.idle_deadline()) {
                return Some(Parting::Goodbye(Reason::NO_ERROR));
            }
            if over(Some(self.state.idle_since() + SHRINK_AFTER)) {
                self.shrunk = true;
                self.wire.shrink();
            }
        }
        None
    }

    /// Says what is still to be said. Nobody is waited for: what the kernel does not take now, the client does not read.
    async fn part(&mut self, parting: Parting) {
        if parting == Parting::Cut {
            self.cut().await;
        }
        let reason = match parting {
            Parting::Goodbye(reason) => reason,
            Parting::Cut => Reason::NO_ERROR,
            Parting::Done | Parting::Stuck => return self.write_out().await,
        };
        if let Frames::Open(connection) = &mut self.frames {
            connection.abrupt_shutdown(reason);
        }
        poll_fn(|cx| {
            let _ = self.frames.poll_accept(cx);
            Poll::Ready(())
        })
        .await;
        self.write_out().await;
    }

    /// Gives up the streams: each says so with a reset.
    async fn cut(&mut self) {
        self.state.streams.abort();
        let given_up = poll_fn(|cx| {
            self.state.remember(cx.waker());
            while let Poll::Ready(Some(Ok(_))) = self.frames.poll_accept(cx) {}
            let _ = self.wire.poll_out(cx);
            match self.state.streams.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        let _ = tokio::time::timeout(CUTTING, given_up).await;
    }

    async fn write_out(&self) {
        let wrote = poll_fn(|cx| Poll::Ready(self.wire.poll_out(cx))).await;
        if matches!(wrote, Poll::Ready(Ok(Out::All))) {
            self.shared.flushed();
        }
    }
}

impl Frames {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Accepted, h2::Error>>> {
        loop {
            match self {
                Self::Beginning(handshake) => match Pin::new(handshake).poll(cx) {
                    Poll::Ready(Ok(connection)) => *self = Self::Open(connection),
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Pending => return Poll::Pending,
                },
                Self::Open(connection) => return connection.poll_accept(cx),
            }
        }
    }
}

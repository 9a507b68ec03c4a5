//! What is going on on one connection: written by its socket and its requests, read by its driver.
//!
//! Everything is a `Cell`: a connection lives on one core. The driver turns it into one deadline; nothing here touches a
//! timer.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    os::fd::RawFd,
    task::Waker,
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode};

use super::{
    Settings, close::buffered, proxy_header::Introduction, streams::Streams, unsent::unsent,
};
use crate::{
    drain::{Kind, Open, Stage, Watch},
    handler::{Cause, Downstream, UpgradeSlot},
    metrics::Recorder,
};

/// A connection younger than this may still have its first request on the wire.
pub(super) const YOUNG: Duration = Duration::from_millis(500);

/// How long a handshake may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// An idle connection gives its buffers back after this time.
const PARK_AFTER: Duration = Duration::from_millis(250);

/// How often a client that seems to take nothing is looked at within its write timeout.
const LOOKS: u32 = 8;

/// A socket that takes no more for now. The kernel wakes us only when a third of its buffer is free, which with a slow client
/// is long after the client took its next byte: so we look ourselves.
#[derive(Clone, Copy, Debug)]
struct Stall {
    /// When the client was last known to take a byte.
    since: Instant,
    looked: Instant,
    /// What the client had not taken then; none before the first look.
    unsent: Option<libc::c_int>,
}

/// The clocks of `Settings`, in the shape the driver asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub(super) idle: Option<Duration>,
    pub(super) read: Option<Duration>,
    pub(super) write: Option<Duration>,
}

impl From<&Settings> for Timeouts {
    fn from(settings: &Settings) -> Self {
        Self {
            idle: settings.idle_timeout,
            read: settings.read_timeout,
            write: settings.write_timeout,
        }
    }
}

/// What a passed deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing; ask for the next deadline.
    Nothing,
    /// The connection was idle for too long, or never sent a byte.
    Idle,
    /// The head did not become whole in time.
    Head,
    /// The client made no progress with its body.
    Body,
    /// It is time to look whether the client takes its response.
    Write,
    /// It has been idle for long enough to give its buffers back.
    Park,
}

pub(super) struct State {
    /// The peer, or for whom it speaks.
    peer: Cell<SocketAddr>,
    /// The socket, for a look into its buffer; valid as long as the connection's task.
    pub(super) socket: RawFd,
    pub(super) watch: Watch,
    pub(super) recorder: Recorder,
    pub(super) timeouts: Timeouts,
    /// When it was accepted or, if it is encrypted, could send its first request.
    accepted: Cell<Instant>,
    /// How long its first byte may take.
    first: Cell<Option<Duration>>,
    /// Whether it is encrypted.
    secure: Cell<bool>,
    /// Whether the peer says that the client's way to it was.
    was_secure: Cell<bool>,
    /// Whether rustls has decrypted more than was read.
    pub(super) unread: Cell<bool>,
    /// Whether a byte was ever read.
    touched: Cell<bool>,
    /// Whether the client has closed its half, or is gone.
    pub(super) ended: Cell<bool>,
    /// Why we have given it up, if we were the first to go.
    given_up: Cell<Option<Cause>>,
    /// When the first byte of a head arrived that is not whole yet.
    head_since: Cell<Option<Instant>>,
    /// The request in flight: until its response's last byte is in the kernel's hands.
    request: RefCell<Option<Open>>,
    began: Cell<Instant>,
    response_ended: Cell<bool>,
    idle_since: Cell<Instant>,
    body_wait: Cell<Option<Instant>>,
    body_timed_out: Cell<bool>,
    /// Whether some of the request's body has not been read.
    body_unread: Cell<bool>,
    /// Whether the client itself asked for the connection to be closed.
    client_closes: Cell<bool>,
    stall: Cell<Option<Stall>>,
    /// Interim responses that wait to be written ahead of the final one.
    interim: RefCell<Vec<u8>>,
    /// Whether everything that was written has been handed to the kernel, up to the end of a response.
    between: Cell<bool>,
    /// Set by a 101: where the connection goes once it is out.
    upgrade: RefCell<Option<UpgradeSlot>>,
    /// Its requests, where it has several at once.
    pub(super) streams: Streams,
    /// Holds the drain for a head on its way.
    hold: RefCell<Option<Open>>,
    /// Whether it is held for its youth alone.
    held_young: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    pub(super) seen: Cell<Stage>,
}

impl State {
    pub(super) fn new(
        peer: SocketAddr,
        socket: RawFd,
        accepted: Instant,
        timeouts: Timeouts,
        watch: Watch,
        recorder: Recorder,
    ) -> Self {
        Self {
            peer: Cell::new(peer),
            socket,
            timeouts,
            accepted: Cell::new(accepted),
            first: Cell::new(timeouts.read),
            secure: Cell::new(false),
            was_secure: Cell::new(false),
            unread: Cell::new(false),
            touched: Cell::new(false),
            ended: Cell::new(false),
            given_up: Cell::new(None),
            head_since: Cell::new(None),
            request: RefCell::new(None),
            began: Cell::new(accepted),
            response_ended: Cell::new(false),
            idle_since: Cell::new(accepted),
            body_wait: Cell::new(None),
            body_timed_out: Cell::new(false),
            body_unread: Cell::new(false),
            client_closes: Cell::new(false),
            stall: Cell::new(None),
            interim: RefCell::new(Vec::new()),
            between: Cell::new(true),
            upgrade: RefCell::new(None),
            streams: Streams::default(),
            hold: RefCell::new(None),
            held_young: Cell::new(false),
            waker: RefCell::new(None),
            seen: Cell::new(watch.stage()),
            watch,
            recorder,
        }
    }

    // === what the socket tells ===

    /// `bytes` were read; none is the end.
    pub(super) fn read(&self, bytes: usize) {
        if bytes == 0 {
            self.ended.set(true);
            return;
        }
        self.recorder.received(bytes);
        self.touched.set(true);
        if !self.in_flight() && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    /// The peer speaks for somebody: what was read was about that, and the first request is still to come.
    pub(super) fn introduced(&self, by: &Introduction) {
        self.peer.set(by.client.unwrap_or(self.peer()));
        self.was_secure.set(by.secure);
        self.touched.set(false);
        self.head_since.set(None);
    }

    /// Its first byte belongs to a handshake, which has less time than a request.
    pub(super) fn begins_with_a_handshake(&self) {
        let limit = self.timeouts.read.unwrap_or(HANDSHAKE).min(HANDSHAKE);
        self.first.set(Some(limit));
    }

    /// The handshake is done: from here on it is as if it were just accepted, and may send its first request.
    pub(super) fn encrypted(&self) {
        self.secure.set(true);
        self.accepted.set(Instant::now());
        self.first.set(self.timeouts.read);
    }

    /// Several requests are spoken at once from here on: what was read was the preface.
    pub(super) fn speaks_streams(&self) {
        self.touched.set(false);
        self.head_since.set(None);
        self.idle_since.set(Instant::now());
    }

    /// A stream begins: from here on it is a connection like others.
    pub(super) fn stream_began(&self) {
        self.touched.set(true);
        self.hold.borrow_mut().take();
    }

    /// A stream has ended: who waits for the last one is told.
    pub(super) fn stream_ended(&self) {
        self.idle_since.set(Instant::now());
        self.wake();
    }

    /// The socket failed: nobody is there any more.
    pub(super) fn broke(&self) {
        self.ended.set(true);
    }

    /// It is not gone on with, for this reason; of no interest where the client has gone before.
    pub(super) fn give_up(&self, cause: Cause) {
        if !self.ended.get() {
            self.given_up.set(self.given_up.get().or(Some(cause)));
        }
    }

    pub(super) fn write_blocked(&self) {
        if self.stall.get().is_none() {
            let now = Instant::now();
            self.stall.set(Some(Stall {
                since: now,
                looked: now,
                unsent: None,
            }));
        }
    }

    /// What is to be written next is not there yet: it is not the client that makes us wait.
    pub(super) fn nothing_to_write(&self) {
        self.stall.set(None);
    }

    /// The kernel took so many bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        self.recorder.sent(bytes);
        self.stall.set(None);
        self.between.set(false);
    }

    /// Everything that hyper had is with the kernel: a response that has ended is out.
    pub(super) fn flushed(&self) {
        self.between.set(true);
        if self.response_ended.replace(false) {
            self.end_request();
            self.idle_since.set(Instant::now());
        }
    }

    fn end_request(&self) {
        if let Some(request) = self.request.borrow_mut().take() {
            request.complete();
        }
    }

    /// The connection ends; a request in flight ends with it.
    pub(super) fn closed(&self) {
        if let Some(request) = self.request.borrow_mut().take()
            && !self.ended.get()
        {
            request.cut();
        }
    }

    /// Interim responses that may be written now: only where no other response has begun to be.
    pub(super) fn interim(&self) -> Option<&RefCell<Vec<u8>>> {
        self.between.get().then_some(&self.interim)
    }

    /// Bytes came behind the last request that are the beginning of another head, and hyper has given them back.
    pub(super) fn begins_a_head(&self, ahead: &[u8]) -> bool {
        // Empty lines between requests are nothing (RFC 9112 section 2.2).
        let begins = ahead.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        if begins && !self.head_pending() {
            self.head_since.set(Some(self.idle_since.get()));
        }
        begins
    }

    // === what a request tells ===

    /// A head is whole: from here on the request counts. Returns when its first byte arrived.
    pub(super) fn begin(&self, has_body: bool, client_closes: bool) -> Instant {
        let arrived = self.head_since.take().unwrap_or_else(Instant::now);
        *self.request.borrow_mut() = Some(self.watch.open(Kind::Request));
        self.hold.borrow_mut().take();
        self.began.set(arrived);
        self.response_ended.set(false);
        self.body_unread.set(has_body);
        self.client_closes.set(client_closes);
        arrived
    }

    /// The final response is about to be written: an interim one that still waits has come too late.
    pub(super) fn answered(&self) {
        if !self.between.get() {
            self.interim.borrow_mut().clear();
        }
    }

    /// The response's body has ended, in whatever way.
    pub(super) fn response_ended(&self) {
        self.response_ended.set(true);
    }

    /// The response turned out to be an event stream: it no longer holds the drain.
    pub(super) fn becomes_stream(&self) {
        if let Some(request) = &*self.request.borrow() {
            request.becomes(Kind::Stream);
        }
    }

    /// The response is a 101: when it is out, the connection belongs to the tunnel.
    pub(super) fn switches(&self, slot: UpgradeSlot) {
        *self.upgrade.borrow_mut() = Some(slot);
    }

    /// The slot of the tunnel, and the request as a tunnel, if the connection was upgraded.
    pub(super) fn take_tunnel(&self) -> Option<(UpgradeSlot, Open)> {
        let slot = self.upgrade.borrow_mut().take()?;
        let open = self.watch.open(Kind::Tunnel);
        self.end_request();
        Some((slot, open))
    }

    // === what the driver asks ===

    pub(super) fn in_flight(&self) -> bool {
        self.request.borrow().is_some() || !self.streams.is_empty()
    }

    pub(super) fn in_flight_since(&self) -> Option<Instant> {
        let request = self.request.borrow().is_some();
        request
            .then(|| self.began.get())
            .or_else(|| self.streams.oldest())
    }

    pub(super) fn head_pending(&self) -> bool {
        self.head_since.get().is_some()
    }

    /// Whether closing must leave time for bytes that are on the wire: unless the client asked for it, or has gone.
    pub(super) fn lingers(&self) -> bool {
        !self.ended.get() && (self.body_unread.get() || !self.client_closes.get())
    }

    pub(super) fn time_out_body(&self) {
        self.body_timed_out.set(true);
    }

    /// Whether the client has taken no byte for its whole time.
    pub(super) fn takes_nothing(&self, now: Instant) -> bool {
        let (Some(stall), Some(limit)) = (self.stall.get(), self.timeouts.write) else {
            return false;
        };
        let unsent = unsent(self.socket);
        // The first look sees how much there is, but not whether that was more before.
        let progress = stall.unsent.is_none() || unsent < stall.unsent;
        let since = if progress { now } else { stall.since };
        self.stall.set(Some(Stall {
            since,
            looked: now,
            unsent: unsent.or(Some(0)),
        }));
        now >= since + limit
    }

    /// When the next clock runs out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let of = |since: Option<Instant>, limit: Option<Duration>| Some(since? + limit?);
        if self.in_flight() {
            let body =
                of(self.body_wait.get(), self.timeouts.read).filter(|_| !self.body_timed_out.get());
            return earliest(body, self.next_look());
        }
        if self.head_pending() {
            return of(self.head_since.get(), self.timeouts.read);
        }
        if self.touched.get() {
            let idle = of(Some(self.idle_since.get()), self.timeouts.idle);
            return earliest(idle, Some(self.idle_since.get() + PARK_AFTER));
        }
        earliest(
            of(Some(self.accepted.get()), self.first.get()),
            self.young_until(),
        )
    }

    /// When a parked connection's next clock runs out.
    pub(super) fn parked_deadline(&self) -> Option<Instant> {
        if self.touched.get() {
            return Some(self.idle_since.get() + self.timeouts.idle?);
        }
        self.deadline()
    }

    /// What has run out by `now`.
    pub(super) fn due(&self, now: Instant) -> Due {
        let over = |since: Option<Instant>, limit: Option<Duration>| match (since, limit) {
            (Some(since), Some(limit)) => since + limit <= now,
            _ => false,
        };
        if self.in_flight() {
            return if over(self.body_wait.get(), self.timeouts.read) && !self.body_timed_out.get() {
                Due::Body
            } else if self.next_look().is_some_and(|look| look <= now) {
                Due::Write
            } else {
                Due::Nothing
            };
        }
        if self.head_pending() {
            return if over(self.head_since.get(), self.timeouts.read) {
                Due::Head
            } else {
                Due::Nothing
            };
        }
        let (since, limit) = if self.touched.get() {
            (self.idle_since.get(), self.timeouts.idle)
        } else {
            (self.accepted.get(), self.first.get())
        };
        if over(Some(since), limit) {
            Due::Idle
        } else if self.touched.get() && over(Some(since), Some(PARK_AFTER)) {
            Due::Park
        } else {
            Due::Nothing
        }
    }

    /// Who the client is: the peer, or for whom it speaks.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer.get()
    }

    /// Whether the client's requests are for https URLs.
    pub(super) fn is_https(&self) -> bool {
        self.secure.get() || self.was_secure.get()
    }

    /// When it was accepted.
    pub(super) fn accepted(&self) -> Instant {
        self.accepted.get()
    }

    /// Since when nothing is asked of it.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    /// When its youth ends, if it is held for that.
    pub(super) fn young_until(&self) -> Option<Instant> {
        self.held_young.get().then(|| self.accepted.get() + YOUNG)
    }

    /// When the client is to be looked at, if it takes nothing.
    pub(super) fn next_look(&self) -> Option<Instant> {
        Some(self.stall.get()?.looked + self.timeouts.write? / LOOKS)
    }

    // === the drain ===

    /// Whether bytes of the client's wait for us.
    pub(super) fn buffered(&self) -> bool {
        self.unread.get() || buffered(self.socket)
    }

    /// Whether its first request may still be on the wire.
    pub(super) fn is_young(&self) -> bool {
        !self.touched.get() && self.watch.patient() && self.accepted.get().elapsed() < YOUNG
    }

    /// Holds the drain as long as a head is on its way, is in the socket's buffer (`buffered`), or may yet come because the
    /// connection is young; lets it go otherwise.
    pub(super) fn update_hold(&self, buffered: bool) {
        let young = self.is_young();
        let arriving =
            !self.in_flight() && !self.ended.get() && (self.head_pending() || buffered || young);
        self.held_young.set(young);
        let mut hold = self.hold.borrow_mut();
        if !arriving {
            *hold = None;
        } else if hold.is_none() {
            *hold = Some(self.watch.open(Kind::Arriving));
        }
    }

    pub(super) fn remember(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        match &mut *slot {
            Some(known) => known.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

pub(super) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Downstream for State {
    fn interim(&self, status: StatusCode, headers: &HeaderMap) {
        let mut bytes = self.interim.borrow_mut();
        let reason = status.canonical_reason().unwrap_or("");
        bytes.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
        for (name, value) in headers {
            for part in [name.as_ref(), b": ".as_slice(), value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
    }

    fn gone(&self) -> bool {
        self.ended.get()
    }

    fn given_up(&self) -> Option<Cause> {
        self.given_up.get()
    }

    /// One that speaks HTTP/1 over bare TCP: see `Io`.
    fn sends_files(&self) -> bool {
        !self.secure.get()
    }

    fn body_waits(&self) {
        if self.body_wait.get().is_none() {
            self.body_wait.set(Some(Instant::now()));
        }
    }

    fn body_arrived(&self) {
        self.body_wait.set(None);
        self.body_timed_out.set(false);
    }

    fn body_whole(&self) {
        self.body_wait.set(None);
        self.body_unread.set(false);
    }

    fn body_timed_out(&self) -> bool {
        self.body_timed_out.get()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("peer", &self.peer.get())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Drain;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn state() -> (State, Drain) {
        let (drain, mut seeds) = Drain::new(1);
        let timeouts = Timeouts {
            idle: Some(seconds(60)),
            read: Some(seconds(30)),
            write: Some(seconds(20)),
        };
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let watch = seeds.remove(0).plant();
        (
            State::new(
                peer,
                -1,
                Instant::now(),
                timeouts,
                watch,
                Recorder::default(),
            ),
            drain,
        )
    }

    /// What is due after so many seconds, one after the other.
    fn due(state: &State, after: u64) -> Due {
        state.due(Instant::now() + seconds(after))
    }

    #[test]
    fn a_connection_that_never_sends_is_given_the_read_timeout() {
        let (state, _drain) = state();
        assert_eq!(
            (due(&state, 29), due(&state, 31)),
            (Due::Nothing, Due::Idle)
        );
        assert!(state.deadline().unwrap() <= Instant::now() + seconds(30));
    }

    #[test]
    fn a_head_has_the_read_timeout_from_its_first_byte() {
        let (state, _drain) = state();
        state.read(5);
        state.read(5);
        assert_eq!(
            (due(&state, 29), due(&state, 31)),
            (Due::Nothing, Due::Head)
        );
    }

    #[test]
    fn the_clocks_of_a_request_run_only_while_something_is_awaited_of_the_client() {
        let (state, _drain) = state();
        state.read(5);
        state.begin(true, false);
        assert_eq!((state.deadline(), due(&state, 1_000)), (None, Due::Nothing));
        state.body_waits();
        assert_eq!(
            (due(&state, 29), due(&state, 31)),
            (Due::Nothing, Due::Body)
        );
        state.body_arrived();
        assert_eq!(due(&state, 1_000), Due::Nothing);
        state.write_blocked();
        assert!(state.deadline().unwrap() < Instant::now() + seconds(21));
        assert_eq!(due(&state, 21), Due::Write);
        state.wrote(1);
        assert_eq!(due(&state, 1_000), Due::Nothing);
    }

    #[test]
    fn a_body_that_timed_out_is_told_so_once() {
        let (state, _drain) = state();
        state.begin(true, false);
        state.body_waits();
        state.time_out_body();
        assert!(state.body_timed_out());
        assert_eq!((state.deadline(), due(&state, 1_000)), (None, Due::Nothing));
    }

    #[test]
    fn an_idle_connection_is_parked_and_then_closed() {
        let (state, _drain) = state();
        state.read(5);
        state.begin(false, false);
        state.response_ended();
        assert!(state.in_flight(), "its last byte is not out yet");
        state.flushed();
        assert!(!state.in_flight());
        assert_eq!(
            (due(&state, 0), due(&state, 1), due(&state, 61)),
            (Due::Nothing, Due::Park, Due::Idle)
        );
        assert!(state.parked_deadline().unwrap() > Instant::now() + seconds(59));
    }

    #[test]
    fn closing_lingers_unless_the_client_asked_for_it_and_all_was_read() {
        for (has_body, client_closes, expected) in [
            (false, true, false),
            (true, true, true),
            (false, false, true),
        ] {
            let (state, _drain) = state();
            state.begin(has_body, client_closes);
            assert_eq!(state.lingers(), expected, "{has_body} {client_closes}");
            state.read(0);
            assert!(!state.lingers(), "the client has gone");
        }
    }

    #[test]
    fn a_young_connection_and_a_head_on_its_way_hold_the_drain_and_idleness_does_not() {
        let (state, drain) = state();
        state.update_hold(false);
        assert_eq!(drain.tally().holding(), 1, "young");
        state.read(1);
        state.update_hold(false);
        assert_eq!(drain.tally().holding(), 1, "a head");
        state.begin(false, false);
        assert_eq!(
            (drain.tally().holding(), drain.tally().requests()),
            (1, 1),
            "a request"
        );
        state.response_ended();
        state.flushed();
        state.update_hold(false);
        assert_eq!(drain.tally().holding(), 0);
        state.update_hold(true);
        assert_eq!(drain.tally().holding(), 1, "bytes in the socket's buffer");
    }
}

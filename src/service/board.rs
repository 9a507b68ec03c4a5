//! What is known of the Service, for whoever shows it: written by its one loop, read by tasks on the same thread.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

use super::{Stop, lifecycle::Phase};
use crate::{
    admin::{
        AppView, CacheView, CertificateView, History, OpenView, ProcessView, PumaView, Snapshot,
        Source, State, StopView, TrafficView,
    },
    cache::Cache,
    drain::{Drain, Kind, Tally},
    metrics::Metrics,
    proxy::App,
    tls::Names,
    upstream::{Exit, Name, Puma},
};

/// Who knows more, and is asked when somebody wants to know.
#[derive(Debug)]
pub(super) struct Witnesses {
    pub(super) drain: Rc<Drain>,
    /// The app as requests find it.
    pub(super) app: App,
    pub(super) cache: Cache,
    /// With TLS.
    pub(super) names: Option<Names>,
    pub(super) metrics: Metrics,
    pub(super) history: Rc<History>,
}

/// The facts.
#[derive(Debug)]
pub(super) struct Board {
    witnesses: Witnesses,
    /// Tells that something has changed.
    changes: watch::Sender<()>,
    started: Instant,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    pid: Cell<Option<i32>>,
    /// How often the app was found accepting.
    arrivals: Cell<u64>,
    accepting: Cell<bool>,
    /// Why it is not, in its own words.
    away: Cell<Option<&'static str>>,
    exit: Cell<Option<Exit>>,
    status: RefCell<Option<String>>,
    stop: Cell<Option<Stop>>,
    /// When requests began to be awaited, and for how long that was.
    drain_began: Cell<Option<Instant>>,
    drain_took: Cell<Option<Duration>>,
}

impl Board {
    /// Of a Service that has `started`, with a child.
    pub(super) fn new(witnesses: Witnesses, started: Instant, pid: Option<i32>) -> Rc<Self> {
        Rc::new(Self {
            witnesses,
            changes: watch::Sender::new(()),
            started,
            phase: Cell::new(Phase::Starting),
            since: Cell::new(started),
            pid: Cell::new(pid),
            arrivals: Cell::new(0),
            accepting: Cell::new(false),
            away: Cell::new(None),
            exit: Cell::new(None),
            status: RefCell::new(None),
            stop: Cell::new(None),
            drain_began: Cell::new(None),
            drain_took: Cell::new(None),
        })
    }

    /// Gives the moment as it is.
    pub(super) fn source(self: &Rc<Self>) -> Source {
        let board = self.clone();
        Rc::new(move || board.snapshot())
    }

    /// Tells of each change but those that happen all the time.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(super) fn enters(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
        self.changes.send_replace(());
    }

    pub(super) fn app_accepts(&self) {
        self.away.set(None);
        if !self.accepting.replace(true) {
            self.arrivals.set(self.arrivals.get() + 1);
        }
        self.changes.send_replace(());
    }

    /// It does not accept, or says that it is not ready, which is in `words`.
    pub(super) fn app_is_away(&self, words: &'static str) {
        self.accepting.set(false);
        self.away.set(Some(words));
        self.changes.send_replace(());
    }

    pub(super) fn app_says(&self, status: String) {
        *self.status.borrow_mut() = Some(status);
    }

    pub(super) fn app_exited(&self, exit: Exit) {
        self.pid.set(None);
        self.accepting.set(false);
        self.exit.set(Some(exit));
    }

    pub(super) fn stops(&self, stop: Stop) {
        self.stop.set(Some(stop));
    }

    pub(super) fn drain_begins(&self) {
        self.drain_began.set(Some(Instant::now()));
    }

    pub(super) fn drain_ends(&self) {
        let took = self.drain_began.get().map(|began| began.elapsed());
        self.drain_took.set(took);
    }

    /// The moment as it is.
    pub(super) fn snapshot(&self) -> Snapshot {
        let tally = self.witnesses.drain.tally();
        let reason = self.reason();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at_ms: since_1970.map_or(0, whole_ms),
            uptime_ms: whole_ms(self.started.elapsed()),
            state: state(self.phase.get()),
            state_ms: whole_ms(self.since.get().elapsed()),
            ready: reason.is_none(),
            reason: reason.map(str::to_owned),
            started: self.arrivals.get() > 0,
            exit_code: exit_code(self.phase.get()),
            app: self.app(),
            open: open(&tally),
            paused: self.witnesses.app.is_paused(),
            held: self.witnesses.app.held() as u64,
            maintenance: self.witnesses.app.maintenance().is_some(),
            stop: self.stopping(&tally),
            traffic: self.traffic(),
            cache: self.cache(),
            certificates: self.certificates(),
            process: ProcessView::now(),
        }
    }

    /// Why new requests are not welcome; none if they are.
    fn reason(&self) -> Option<&'static str> {
        match self.phase.get() {
            Phase::Starting => Some("the app has not opened its port yet"),
            Phase::Serving if self.accepting.get() => None,
            Phase::Serving => Some(self.away.get().unwrap_or("the app does not accept")),
            Phase::Delaying => Some("a stop was asked for"),
            Phase::Closing { .. } => Some("the front ports are being closed"),
            Phase::Draining => Some("requests in flight are awaited"),
            Phase::Stopping(_) => Some("the app is stopping"),
            Phase::Killing(_) => Some("the app was killed"),
            Phase::Finishing { .. } | Phase::Exited { .. } => Some("the app has exited"),
        }
    }

    fn traffic(&self) -> Option<TrafficView> {
        let totals = self.witnesses.metrics.totals()?;
        Some(TrafficView::new(&totals, self.witnesses.history.recent()))
    }

    fn cache(&self) -> Option<CacheView> {
        let cache = &self.witnesses.cache;
        let capacity_bytes = cache.settings().size;
        let usage = (capacity_bytes > 0).then(|| cache.usage())?;
        Some(CacheView {
            entries: usage.entries,
            bytes: usage.bytes,
            capacity_bytes,
        })
    }

    fn certificates(&self) -> Vec<CertificateView> {
        let names = self.witnesses.names.as_ref();
        let expiries = names.map(Names::expiries).unwrap_or_default();
        let view = |(name, until): (String, SystemTime)| CertificateView {
            name,
            expires: until
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        expiries.into_iter().map(view).collect()
    }

    fn app(&self) -> AppView {
        let status = self.status.borrow().clone();
        AppView {
            pid: self.pid.get(),
            accepting: self.accepting.get(),
            restarts: self.arrivals.get().saturating_sub(1),
            exit: self.exit.get().map(|exit| exit.to_string()),
            exit_code: self.exit.get().map(Exit::code),
            puma: status.as_deref().and_then(Puma::parse).map(puma),
            status,
        }
    }

    fn stopping(&self, tally: &Tally) -> Option<StopView> {
        let stop = self.stop.get();
        let over = self.exit.get().is_some();
        let began = stop
            .map(|stop| stop.began)
            .or(over.then(|| self.since.get()))?;
        let running = self
            .drain_began
            .get()
            .filter(|_| self.drain_took.get().is_none());
        let left = |stop: Stop| stop.plan.relay_by.saturating_duration_since(Instant::now());
        let took = self
            .drain_took
            .get()
            .or(running.map(|began| began.elapsed()));
        Some(StopView {
            signal: stop.map(|stop| Name(stop.signal).to_string()),
            elapsed_ms: whole_ms(began.elapsed()),
            drain_ms: took.map(whole_ms),
            drain_left_ms: running.and(stop).map(left).map(whole_ms),
            drained: tally.drained() as u64,
            cut: tally.cut() as u64,
            oldest_ms: whole_ms(self.witnesses.drain.oldest()),
        })
    }
}

fn state(phase: Phase) -> State {
    match phase {
        Phase::Starting => State::Starting,
        Phase::Serving => State::Serving,
        Phase::Delaying => State::Delaying,
        Phase::Closing { .. } => State::Closing,
        Phase::Draining => State::Draining,
        Phase::Stopping(_) => State::Stopping,
        Phase::Killing(_) => State::Killing,
        Phase::Finishing { .. } => State::Finishing,
        Phase::Exited { .. } => State::Stopped,
    }
}

fn exit_code(phase: Phase) -> Option<u8> {
    match phase {
        Phase::Finishing { code } | Phase::Exited { code } => Some(code),
        Phase::Starting
        | Phase::Serving
        | Phase::Delaying
        | Phase::Closing { .. }
        | Phase::Draining
        | Phase::Stopping(_)
        | Phase::Killing(_) => None,
    }
}

fn puma(puma: Puma) -> PumaView {
    PumaView {
        workers_booted: puma.workers.map(|(booted, _)| booted),
        workers: puma.workers.map(|(_, wanted)| wanted),
        threads: puma.running,
        max_threads: puma.max_threads,
        busy: puma.busy(),
        backlog: puma.backlog,
    }
}

fn open(tally: &Tally) -> OpenView {
    let of = |kind| tally.of_kind(kind) as u64;
    OpenView {
        connections: of(Kind::Connection),
        idle: tally.idle() as u64,
        in_flight: of(Kind::Request),
        streams: of(Kind::Stream),
        tunnels: of(Kind::Tunnel),
        pooled: of(Kind::Pooled),
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

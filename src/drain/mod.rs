//! The drain: what is still open, and how far the stop has come.
//!
//! The control thread holds the [`Drain`] and moves it forward; every core holds a [`Watch`]; every connection,
//! request and tunnel holds an [`Open`]. Counting costs a core one plain store into a cache line of its own; the control
//! thread adds the cores up only while it drains. Stages are levels, not edges: who subscribes late still sees them.

mod count;

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use count::Counts;
pub use count::{Kind, Tally};

/// The quiet that must pass before a drain with open connections is done: what was on the wire arrives and is answered.
pub const QUIET: Duration = Duration::from_millis(50);

/// How far the stop has come, as the cores see it. Only forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Nothing has begun.
    Serving,
    /// A stop was asked for; responses say `Connection: close`.
    Leaving,
    /// The listeners are closed; requests are awaited.
    Draining,
    /// Idle connections are let go, half-sent heads too if the deadline passed.
    Ending,
    /// The stop signal is about to be relayed: idle connections to the app are closed, event streams end.
    Relaying,
    /// The app is gone: whoever still waits for it will not get it.
    Gone,
    /// Everything that is left is cut.
    Cut,
}

impl Stage {
    fn from_u8(level: u8) -> Self {
        match level {
            0 => Self::Serving,
            1 => Self::Leaving,
            2 => Self::Draining,
            3 => Self::Ending,
            4 => Self::Relaying,
            5 => Self::Gone,
            _ => Self::Cut,
        }
    }
}

/// What all threads see.
#[derive(Debug)]
struct Shared {
    stage: AtomicU8,
    /// Whether the drain waits at all (`HTTP_DRAIN_TIMEOUT` above zero).
    patient: AtomicBool,
    /// Whether the drain's deadline has passed.
    overdue: AtomicBool,
    levels: watch::Sender<Stage>,
    changed: Notify,
    epoch: Instant,
    cores: Vec<Arc<Counts>>,
}

impl Shared {
    fn stage(&self) -> Stage {
        Stage::from_u8(self.stage.load(Ordering::Acquire))
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }
}

/// Why the drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No ordinary request is left.
    Done,
    /// The deadline passed first.
    Timeout,
}

/// The control thread's side: begins, awaits and ends the drain.
#[derive(Debug)]
pub struct Drain {
    shared: Arc<Shared>,
}

impl Drain {
    /// A drain over `cores` runtimes, and the watch that each of them is given.
    pub fn new(cores: usize) -> (Self, Vec<WatchSeed>) {
        let counts: Vec<_> = (0..cores).map(|_| Arc::new(Counts::default())).collect();
        let shared = Arc::new(Shared {
            stage: AtomicU8::new(Stage::Serving as u8),
            patient: AtomicBool::new(true),
            overdue: AtomicBool::new(false),
            levels: watch::Sender::new(Stage::Serving),
            changed: Notify::new(),
            epoch: Instant::now(),
            cores: counts.clone(),
        });
        let seeds = counts
            .into_iter()
            .map(|counts| WatchSeed {
                shared: shared.clone(),
                counts,
            })
            .collect();
        (Self { shared }, seeds)
    }

    /// Moves every core to `stage`; a stage that has passed already changes nothing.
    pub fn enter(&self, stage: Stage) {
        if self.shared.stage() < stage {
            self.shared.stage.store(stage as u8, Ordering::Release);
            self.shared.levels.send_replace(stage);
        }
    }

    /// Says that the drain does not wait: no quiet, no grace for young connections (`HTTP_DRAIN_TIMEOUT=0`).
    pub fn do_not_wait(&self) {
        self.shared.patient.store(false, Ordering::Release);
    }

    /// What is open now, over all cores.
    pub fn tally(&self) -> Tally {
        Tally::of(&self.shared.cores)
    }

    /// Waits until no ordinary request is in flight, and 50 ms of quiet have passed if a client is connected; idle
    /// connections have been let go when it returns. At `deadline` it stops waiting.
    pub async fn drained(&self, deadline: Instant) -> Ended {
        self.enter(Stage::Draining);
        let patient = self.shared.patient.load(Ordering::Acquire);
        let done = patient
            && tokio::time::timeout_at(deadline.into(), self.quiet())
                .await
                .is_ok();
        self.shared.overdue.store(!done, Ordering::Release);
        self.enter(Stage::Ending);
        self.seen(Stage::Ending).await;
        // What arrived while the idle connections were let go is answered too.
        let settled = async { while !self.settled().await {} };
        let done = done
            && tokio::time::timeout_at(deadline.into(), settled)
                .await
                .is_ok();
        if done || self.tally().requests() == 0 {
            Ended::Done
        } else {
            Ended::Timeout
        }
    }

    /// Ends the waiting at once: half-sent heads are answered with 408, idle connections are closed.
    pub async fn end_now(&self) {
        self.shared.overdue.store(true, Ordering::Release);
        self.enter(Stage::Ending);
        self.seen(Stage::Ending).await;
    }

    /// Waits until every core has shown `stage` to each of its connections, at most 500 ms: a core that is held up by
    /// something must not hold up the stop.
    pub async fn seen(&self, stage: Stage) {
        let all = self.until(|| {
            self.shared
                .cores
                .iter()
                .all(|core| core.seen() >= stage as u8)
        });
        let _ = tokio::time::timeout(Duration::from_millis(500), all).await;
    }

    /// Waits until nothing of the kinds in `kinds` is open.
    pub async fn closed(&self, kinds: &[Kind]) {
        self.until(|| {
            let tally = self.tally();
            kinds.iter().all(|kind| tally.of_kind(*kind) == 0)
        })
        .await;
    }

    /// A watch for who is no core: it counts for nothing and nobody waits for it.
    pub fn aside(&self) -> WatchSeed {
        WatchSeed {
            shared: self.shared.clone(),
            counts: Arc::default(),
        }
    }

    /// The acceptor's view.
    pub fn gate(&self) -> Gate {
        Gate {
            shared: self.shared.clone(),
        }
    }

    async fn quiet(&self) {
        self.seen(Stage::Draining).await;
        let began = Instant::now();
        loop {
            self.until(|| self.tally().holding() == 0).await;
            if self.tally().of_kind(Kind::Connection) == 0 {
                return;
            }
            let last = self.shared.epoch + Duration::from_micros(self.last_end());
            let quiet_from = last.max(began);
            if quiet_from.elapsed() >= QUIET {
                return;
            }
            let busy_again = self.until(|| self.tally().holding() > 0);
            tokio::select! {
                () = busy_again => {}
                () = tokio::time::sleep_until((quiet_from + QUIET).into()) => {}
            }
        }
    }

    async fn settled(&self) -> bool {
        self.until(|| self.tally().holding() == 0).await;
        tokio::task::yield_now().await;
        self.tally().holding() == 0
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if condition() {
                return;
            }
            changed.await;
        }
    }

    /// When the last request or arrival ended, in microseconds since the epoch.
    fn last_end(&self) -> u64 {
        self.shared
            .cores
            .iter()
            .map(|core| core.last_end())
            .max()
            .unwrap_or(0)
    }

    /// How long the oldest request in flight has been running, as the cores last told.
    pub fn oldest(&self) -> Duration {
        let now = self.shared.micros(Instant::now());
        let oldest = self
            .shared
            .cores
            .iter()
            .filter_map(|core| core.oldest())
            .min();
        oldest.map_or(Duration::ZERO, |at| {
            Duration::from_micros(now.saturating_sub(at))
        })
    }
}

/// The acceptor's view: how many connections each core has.
#[derive(Clone, Debug)]
pub struct Gate {
    shared: Arc<Shared>,
}

impl Gate {
    /// The core with the fewest connections.
    pub fn emptiest(&self) -> usize {
        let open = |core: &Arc<Counts>| core.open(Kind::Connection);
        let cores = self.shared.cores.iter().enumerate();
        cores
            .min_by_key(|(_, core)| open(core))
            .map_or(0, |(index, _)| index)
    }

    /// The core with the fewest connections, if `core` has clearly more than it: a little unevenness costs less than to
    /// hand a connection over.
    pub fn emptier_than(&self, core: usize) -> Option<usize> {
        let open = |core: usize| self.shared.cores[core].open(Kind::Connection);
        let (own, emptiest) = (open(core), self.emptiest());
        (own > open(emptiest) + own / 16).then_some(emptiest)
    }

    /// Registers a connection with `core` before anything else is done with it, so that none exists that the drain
    /// neither waits for nor stops.
    pub fn admit(&self, core: usize) -> Admitted {
        let counts = self.shared.cores[core].clone();
        counts.admit();
        Admitted {
            counts,
            shared: self.shared.clone(),
        }
    }
}

/// A connection on its way from the acceptor to its core.
#[must_use]
#[derive(Debug)]
pub struct Admitted {
    counts: Arc<Counts>,
    shared: Arc<Shared>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.counts.arrive();
        self.shared.changed.notify_one();
    }
}

/// A [`Watch`] on its way to the thread of its core.
#[derive(Debug)]
pub struct WatchSeed {
    shared: Arc<Shared>,
    counts: Arc<Counts>,
}

impl WatchSeed {
    /// The watch, on the thread where it stays.
    pub fn plant(self) -> Watch {
        Watch(Rc::new(self))
    }
}

/// A core's side: sees the stage, hands out guards.
#[derive(Clone, Debug)]
pub struct Watch(Rc<WatchSeed>);

impl Watch {
    /// How far the stop has come.
    pub fn stage(&self) -> Stage {
        self.0.shared.stage()
    }

    /// Whether a stop has begun.
    pub fn leaving(&self) -> bool {
        self.stage() > Stage::Serving
    }

    /// Whether the drain's deadline has passed.
    pub fn overdue(&self) -> bool {
        self.0.shared.overdue.load(Ordering::Acquire)
    }

    /// Whether the drain waits at all.
    pub fn patient(&self) -> bool {
        self.0.shared.patient.load(Ordering::Acquire)
    }

    /// The stages as they come.
    pub fn stages(&self) -> watch::Receiver<Stage> {
        self.0.shared.levels.subscribe()
    }

    /// Waits until the stop has come as far as `stage`.
    pub async fn reached(&self, stage: Stage) {
        // The sender lives in `shared`, which we hold.
        let _ = self.stages().wait_for(|now| *now >= stage).await;
    }

    /// Counts something in until the guard is dropped.
    pub fn open(&self, kind: Kind) -> Open {
        self.0.counts.add(kind);
        let open = Open {
            watch: self.clone(),
            kind: Cell::new(kind),
            outcome: Cell::new(Outcome::Unsaid),
        };
        open.tell();
        open
    }

    /// Tells the control thread that every connection of this core has seen `stage`, and since when its oldest request
    /// runs.
    pub fn show(&self, stage: Stage, oldest: Option<Instant>) {
        let oldest = oldest.map(|at| self.0.shared.micros(at));
        self.0.counts.show(stage as u8, oldest);
        self.0.shared.changed.notify_one();
    }
}

/// Something that is open: a connection, a request, a stream, a tunnel.
#[must_use]
#[derive(Debug)]
pub struct Open {
    watch: Watch,
    kind: Cell<Kind>,
    outcome: Cell<Outcome>,
}

/// How what an [`Open`] stands for has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// By the client's leave, or without anybody's notice.
    Unsaid,
    Whole,
    Cut,
}

impl Open {
    /// How far the stop has come.
    pub fn stage(&self) -> Stage {
        self.watch.stage()
    }

    /// It has come to its proper end: a response whose last byte is out.
    pub fn complete(self) {
        self.outcome.set(Outcome::Whole);
    }

    /// It was broken off, and not by the client.
    pub fn cut(self) {
        self.outcome.set(Outcome::Cut);
    }

    /// What it is counted as.
    pub fn kind(&self) -> Kind {
        self.kind.get()
    }

    /// Counts it as something else from here on: a request that turns out to be a stream.
    pub fn becomes(&self, kind: Kind) {
        let counts = &self.watch.0.counts;
        counts.add(kind);
        counts.remove(self.kind.replace(kind));
        self.tell();
    }

    /// Wakes the control thread if it listens.
    fn tell(&self) {
        if self.watch.leaving() {
            self.watch.0.shared.changed.notify_one();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let seed = &self.watch.0;
        let kind = self.kind.get();
        let stage = self.watch.stage();
        let leaving = stage > Stage::Serving;
        if leaving {
            // First: who finds the count at zero also finds since when it is quiet.
            seed.counts.ended(kind, seed.shared.micros(Instant::now()));
            match (self.outcome.get(), kind) {
                (Outcome::Whole, Kind::Request) => seed.counts.drained(),
                (Outcome::Cut, _) => seed.counts.cut(),
                // Nobody but us ends a tunnel as late as that.
                (_, Kind::Tunnel) if stage == Stage::Cut => seed.counts.cut(),
                _ => {}
            }
        }
        seed.counts.remove(kind);
        if leaving {
            seed.shared.changed.notify_one();
        }
    }
}

//! The life: on a stop signal it drains, then relays, then waits.
//!
//! [`Service::start`] has the one fixed order of starting, [`Service::run`] the one loop; what follows what is decided in
//! [`lifecycle`] alone.

mod board;
mod commands;
pub mod deadlines;
pub mod lifecycle;
pub mod repeats;
pub mod signals;
mod start;
mod stop;
mod supervision;

use std::{
    future::{Future, pending},
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

pub use self::start::StartError;
use self::{
    board::Board,
    deadlines::{Budget, Plan},
    lifecycle::{Event, Phase, Reason},
    repeats::{Repeats, Verdict},
    signals::{Heard, Signals},
};
use crate::{
    admin::{
        self, Admin,
        control::{Control, Orders},
    },
    cache::Cache,
    config::Lifecycle,
    drain::{Drain, Ended},
    proxy::{App, AppState},
    server::{Acceptor, Closed, Face, Server, listener::Bound},
    systemd::Supervisor,
    telemetry::Loudness,
    tls::Keeper,
    upstream::{
        Exit, Name, Upstream,
        notify::AppSays,
        readiness::{Change, Readiness},
    },
};

/// How long the death of a process takes, from the end of its connections to that of its name.
const DYING: Duration = Duration::from_millis(20);

/// Something that is under way.
type Pending = Pin<Box<dyn Future<Output = Done>>>;

/// Owns the HTTP front and the child.
pub struct Service {
    phase: watch::Sender<Phase>,
    settings: Lifecycle,
    budget: Budget,
    signals: Signals,
    repeats: Repeats,
    front: Front,
    server: Option<Server>,
    certificates: Option<Keeper>,
    upstream: Upstream,
    readiness: Readiness,
    app: App,
    supervisor: Supervisor,
    /// When the supervisor is to hear that we live.
    pulse: Option<Instant>,
    cache: Cache,
    loudness: Loudness,
    control: Option<Control>,
    orders: Orders,
    drain: Rc<Drain>,
    /// Whether the last call is under way.
    closing: bool,
    /// Since when requests are awaited.
    draining: Option<Instant>,
    /// How that ended, if it ended by itself.
    drained: Option<Ended>,
    /// What is under way: the delay, the drain, the last responses.
    pending: Pending,
    /// When the phase gives up waiting, and what happens then.
    alarm: Option<(Instant, Event)>,
    reminder: Option<Instant>,
    stop: Option<Stop>,
    started: Instant,
    board: Rc<Board>,
    admin: Option<Admin>,
}

/// The front listeners, as far as they have come.
enum Front {
    /// Bound; they listen once the app is ready (`WAIT_FOR_TARGET_PORT`).
    Held(Vec<(Bound, Face)>),
    /// Taking connections in.
    Open(Vec<Acceptor>),
    Gone,
}

/// What was under way and has ended.
enum Done {
    Closed(Vec<Closed>),
    NothingToClose,
    Drained(Ended),
    Finished,
}

/// A stop under way.
#[derive(Clone, Copy, Debug)]
struct Stop {
    /// The signal that began it.
    signal: i32,
    /// Whether the terminal has sent it to the child already.
    delivered: bool,
    began: Instant,
    plan: Plan,
    /// When the current step began.
    step: Instant,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("phase", &*self.phase.borrow())
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Where it is in its life, and every change of it.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The child's pid, while it has one.
    pub fn pid(&self) -> Option<i32> {
        self.upstream.pid()
    }

    /// Tells how it is, to whoever is on this thread.
    pub fn source(&self) -> admin::Source {
        self.board.source()
    }

    /// Lives until the child is gone; the exit code.
    pub async fn run(mut self) -> u8 {
        loop {
            let event = match self.next_event().await {
                // An app that dies drops its requests a moment before it can be reaped: then there is nobody to relay to.
                Event::Drained => self.child_gone().await.unwrap_or(Event::Drained),
                event => event,
            };
            let before = *self.phase.borrow();
            let (phase, action) = before.on(event);
            if phase != before {
                tracing::debug!(from = ?before, to = ?phase, "phase");
                self.board.enters(phase);
                self.phase.send_replace(phase);
                self.announce(phase);
            }
            self.perform(action).await;
            if let Phase::Exited { code } = phase {
                return self.end(code).await;
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        loop {
            let alarm = self.alarm;
            let reminder = self.reminder;
            // Once the signal is relayed an app that counts its connections is left alone.
            let probing = *self.phase.borrow() < Phase::Stopping(Reason::Asked);
            tokio::select! {
                // The child's status wins over a signal that came with it, and a signal over everything else.
                biased;
                heard = self.signals.next() => if let Some(event) = self.on_signal(heard) {
                    return event;
                },
                done = &mut self.pending => {
                    self.pending = Box::pin(pending());
                    return self.on_done(&done);
                }
                event = ring(alarm) => {
                    self.alarm = None;
                    return self.on_alarm(event);
                }
                () = sleep_until(reminder) => self.remind(),
                order = self.orders.next() => if let Some(event) = self.obey(order) {
                    return event;
                },
                () = sleep_until(self.pulse) => self.give_pulse(),
                change = next_change(&mut self.readiness, probing) => {
                    if let Some(event) = self.on_change(change) {
                        return event;
                    }
                }
            }
        }
    }

    fn on_signal(&mut self, heard: Heard) -> Option<Event> {
        match heard {
            Heard::Child => self.upstream.reap().map(|exit| self.on_exit(exit)),
            Heard::Forward { signal, terminal } => {
                self.forward(signal, terminal);
                None
            }
            Heard::Stop { signal, terminal } => {
                let event = self.on_stop(signal, terminal);
                tracing::info!(signal = %Name(signal), terminal, "signal received");
                Some(event)
            }
        }
    }

    fn on_stop(&mut self, signal: i32, terminal: bool) -> Event {
        let now = Instant::now();
        let verdict = self.repeats.hear(signal, terminal, now);
        let delivered = terminal && !self.upstream.own_group();
        let plan = || self.budget.plan(now, self.is_delayed());
        let stop = Stop {
            signal,
            delivered,
            began: now,
            plan: plan(),
            step: now,
        };
        self.board.stops(*self.stop.get_or_insert(stop));
        // Before anybody is told: who reads of the signal finds it in force.
        self.leave();
        match verdict {
            Verdict::Stop(_) => Event::Stop {
                delay: self.is_delayed(),
            },
            Verdict::Repeat => Event::Repeat,
            Verdict::Force => Event::Force,
            Verdict::Kill => Event::Kill,
        }
    }

    /// Whoever presses Ctrl-C does not want to wait for load balancers.
    fn is_delayed(&self) -> bool {
        let starting = *self.phase.borrow() == Phase::Starting;
        !self.budget.delay.is_zero() && self.upstream.own_group() && !starting
    }

    fn on_exit(&mut self, exit: Exit) -> Event {
        let since = self.stop.map_or(self.started, |stop| stop.step);
        tracing::info!(status = %exit, took_ms = millis(since), "child exited");
        self.board.app_exited(exit);
        let code = exit.code();
        let code = self
            .settings
            .exit_code_remap
            .get(&code)
            .copied()
            .unwrap_or(code);
        Event::ChildExited { code }
    }

    /// The child's exit, if it comes in this moment; only an app that left a request unanswered is worth a wait.
    async fn child_gone(&mut self) -> Option<Event> {
        let patience = if self.app.has_failed() {
            DYING
        } else {
            Duration::ZERO
        };
        let until = Instant::now() + patience;
        loop {
            if let Some(exit) = self.upstream.reap() {
                return Some(self.on_exit(exit));
            }
            if Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Hands a signal to the child, unless the terminal has done so.
    fn forward(&self, signal: i32, terminal: bool) {
        if terminal && !self.upstream.own_group() {
            return;
        }
        tracing::debug!(signal = %Name(signal), "forwarding signal");
        self.send(signal);
    }

    fn send(&self, signal: i32) {
        if let Err(error) = self.upstream.signal(signal) {
            tracing::error!(signal = %Name(signal), %error, "cannot signal the app");
        }
    }

    fn on_change(&mut self, change: Change) -> Option<Event> {
        self.pass_on(&change);
        match change {
            Change::Ready(address) => {
                tracing::info!(addr = %address, after_ms = millis(self.started), "app ready");
                self.app.set(AppState::Found(address));
                self.board.app_accepts();
                let starting = *self.phase.borrow() == Phase::Starting;
                starting.then(|| self.open_front())
            }
            Change::NotAccepting => {
                tracing::warn!("app not accepting");
                self.board
                    .app_is_away("the app does not accept connections");
                None
            }
            Change::Away(AppSays::Stopping) => {
                tracing::info!("app stopping");
                self.board.app_is_away("the app says that it is stopping");
                // Whoever finds its port closed from now on is asked to come back.
                self.app.stops();
                None
            }
            Change::Away(_) => {
                tracing::info!("app reloading");
                self.board.app_is_away("the app says that it is reloading");
                None
            }
            Change::Status(status) => {
                tracing::debug!(status, "app status");
                self.board.app_says(status);
                None
            }
        }
    }

    /// Starts accepting, if that was held back.
    fn open_front(&mut self) -> Event {
        match std::mem::replace(&mut self.front, Front::Gone) {
            Front::Held(bound) => match self.listen(bound) {
                Ok(()) => Event::AppReady,
                Err(error) => {
                    tracing::error!(%error, "cannot listen");
                    Event::StartFailed
                }
            },
            front => {
                self.front = front;
                Event::AppReady
            }
        }
    }
}

/// What becomes of the app; without `probing` nothing does, and it is only listened to.
async fn next_change(readiness: &mut Readiness, probing: bool) -> Change {
    if probing {
        readiness.changed().await
    } else {
        readiness.said().await
    }
}

async fn ring(alarm: Option<(Instant, Event)>) -> Event {
    match alarm {
        Some((at, event)) => {
            tokio::time::sleep_until(at.into()).await;
            event
        }
        None => pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// Whole milliseconds since `at`, for the log.
fn millis(at: Instant) -> u64 {
    u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)
}

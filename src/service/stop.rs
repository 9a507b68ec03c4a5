//! What is done on the way from a stop signal, or the child's exit, to our own.

use std::{
    future::{Future, pending},
    time::{Duration, Instant},
};

use tokio::task::spawn_local;

use super::{
    Done, Event, Front, Service, Stop,
    deadlines::{ABANDONED, FINISHING, KILLED, next_reminder},
    lifecycle::{Action, Phase},
    millis,
};
use crate::{
    admin::control::Orders,
    drain::{Ended, Kind, Stage},
    proxy::AppState,
    server::{Acceptor, Closed, last_call::Patience},
    upstream::Name,
};

/// How often a drain says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// How long the relay waits for idle connections to the app to be closed; they are, unless a core is stuck.
const POOL_PATIENCE: Duration = Duration::from_millis(200);

/// What may end by itself once the app is gone: for all it said is in our hands.
const NEEDS_US: [Kind; 4] = [Kind::Arriving, Kind::Request, Kind::Stream, Kind::Tunnel];

/// How long the exit waits for clients that still send after our FIN.
const LINGER: Duration = Duration::from_secs(1);

/// How long whoever watches us may take to hear the end.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl Service {
    pub(super) async fn perform(&mut self, action: Action) {
        match action {
            Action::Nothing | Action::Exit => {}
            Action::Delay => self.delay(),
            Action::Close => self.close(),
            Action::Drain => self.begin_drain(),
            Action::Relay => self.relay().await,
            Action::Abandon => self.abandon(),
            Action::Kill => self.kill(),
            Action::Finish => self.finish(),
        }
    }

    /// From here on every response says `Connection: close`.
    pub(super) fn leave(&mut self) {
        if let Some(certificates) = &mut self.certificates {
            certificates.stop();
        }
        self.app.stops();
        if !self.budget.is_patient() {
            self.drain.do_not_wait();
        }
        self.drain.enter(Stage::Leaving);
    }

    fn delay(&mut self) {
        self.leave();
        if let Some(stop) = self.stop {
            tracing::info!(delay = self.budget.delay.as_secs(), "delaying");
            self.alarm = Some((stop.plan.close_at, Event::DelayOver));
        }
    }

    fn close(&mut self) {
        self.leave();
        self.alarm = None;
        let forced = matches!(*self.phase.borrow(), Phase::Closing { forced: true });
        let patience = if forced || !self.budget.is_patient() {
            Patience::None
        } else {
            Patience::RoundTrip
        };
        let deadline = self
            .stop
            .map_or_else(Instant::now, |stop| stop.plan.relay_by);
        self.closing = true;
        match self.close_front(deadline, patience) {
            Some(closed) => self.pending = Box::pin(async { Done::Closed(closed.await) }),
            None => self.pending = Box::pin(async { Done::NothingToClose }),
        }
    }

    /// Closes the listeners, all in one step; those that were held back close at once.
    fn close_front(
        &mut self,
        deadline: Instant,
        patience: Patience,
    ) -> Option<impl Future<Output = Vec<Closed>> + use<>> {
        match std::mem::replace(&mut self.front, Front::Gone) {
            Front::Open(acceptors) => Some(close_all(acceptors, deadline, patience)),
            Front::Held(_) | Front::Gone => None,
        }
    }

    fn begin_drain(&mut self) {
        self.step();
        self.draining = Some(Instant::now());
        self.board.drain_begins();
        self.reminder = Some(Instant::now() + PROGRESS);
        self.say_draining();
        let drain = self.drain.clone();
        let deadline = self
            .stop
            .map_or_else(Instant::now, |stop| stop.plan.relay_by);
        self.pending = Box::pin(async move { Done::Drained(drain.drained(deadline).await) });
    }

    fn say_draining(&self) {
        let tally = self.drain.tally();
        tracing::info!(
            in_flight = tally.requests(),
            idle = tally.idle(),
            streams = tally.of_kind(Kind::Stream),
            tunnels = tally.of_kind(Kind::Tunnel),
            timeout = self.budget.drain.as_secs(),
            "draining"
        );
    }

    fn say_drained(&mut self, reason: &'static str) {
        let Some(since) = self.draining.take() else {
            return;
        };
        self.board.drain_ends();
        let remaining = self.drain.tally().requests();
        tracing::info!(reason, took_ms = millis(since), remaining, "drain finished");
    }

    /// Idle connections to the app are closed first: an app that waits for its keep-alives is not held up by ours.
    async fn relay(&mut self) {
        // A drain that was cut short listens for changes as well, and as nobody polls it would swallow them.
        self.pending = Box::pin(pending());
        self.draining.get_or_insert_with(Instant::now);
        match self.drained {
            Some(Ended::Done) => self.say_drained("done"),
            Some(Ended::Timeout) => {
                self.warn_of_stragglers();
                self.say_drained("timeout");
            }
            None => {
                self.drain.end_now().await;
                self.say_drained("forced");
            }
        }
        self.drain.enter(Stage::Relaying);
        self.drain.seen(Stage::Relaying).await;
        let _ = tokio::time::timeout(POOL_PATIENCE, self.drain.closed(&[Kind::Pooled])).await;
        self.step();
        if let Some(stop) = self.stop {
            self.send_stop(stop);
        }
        let plan = self.stop.map(|stop| stop.plan);
        let kill_at = plan.and_then(|plan| self.budget.kill_at(Instant::now(), &plan));
        self.alarm = kill_at.map(|at| (at, Event::StopTimeout));
        self.reminder = Some(Instant::now() + next_reminder(Duration::ZERO));
    }

    fn send_stop(&self, stop: Stop) {
        let signal = self.settings.stop_signal.unwrap_or(stop.signal);
        if stop.delivered && signal == stop.signal {
            tracing::debug!(signal = %Name(signal), "the terminal has signalled the app already");
            return;
        }
        tracing::info!(signal = %Name(signal), pid = self.upstream.pid(), "relaying signal");
        self.send(signal);
    }

    fn abandon(&mut self) {
        self.front = Front::Gone;
        self.step();
        self.send(libc::SIGTERM);
        let limit = self.budget.stop.unwrap_or(ABANDONED);
        self.alarm = Some((Instant::now() + limit, Event::StopTimeout));
    }

    fn kill(&mut self) {
        tracing::warn!(pid = self.upstream.pid(), "killing the app");
        if let Err(error) = self.upstream.kill() {
            tracing::error!(%error, "cannot kill the app");
        }
        self.reminder = None;
        self.alarm = Some((Instant::now() + KILLED, Event::KillTimeout));
    }

    /// The child is gone, or given up: who waits for it is told, what no longer needs it may end.
    fn finish(&mut self) {
        self.app.set(AppState::Absent);
        self.drain.enter(Stage::Gone);
        self.say_drained("child_exited");
        self.alarm = None;
        self.reminder = None;
        let under_way = std::mem::replace(&mut self.pending, Box::pin(pending()));
        let under_way = self.closing.then_some(under_way);
        let patience = if self.budget.is_patient() {
            Patience::RoundTrip
        } else {
            Patience::None
        };
        let closed = self.close_front(Instant::now() + LINGER, patience);
        let drain = self.drain.clone();
        self.pending = Box::pin(async move {
            if let Some(under_way) = under_way
                && let Done::Closed(closed) = under_way.await
            {
                say_closed(&closed);
            }
            if let Some(closed) = closed {
                say_closed(&closed.await);
            }
            let ended = drain.closed(&NEEDS_US);
            let _ = tokio::time::timeout(FINISHING, ended).await;
            drain.enter(Stage::Cut);
            drain.seen(Stage::Cut).await;
            let closed = async {
                drain.closed(&NEEDS_US).await;
                drain.closed(&[Kind::Lingering]).await;
            };
            let _ = tokio::time::timeout(LINGER, closed).await;
            Done::Finished
        });
    }

    pub(super) fn on_done(&mut self, done: &Done) -> Event {
        self.closing = false;
        match done {
            Done::NothingToClose => Event::ListenersClosed,
            Done::Closed(closed) => {
                say_closed(closed);
                Event::ListenersClosed
            }
            Done::Drained(ended) => {
                self.drained = Some(*ended);
                Event::Drained
            }
            Done::Finished => Event::Finished,
        }
    }

    fn warn_of_stragglers(&self) {
        let requests = self.drain.tally().requests();
        if requests > 0 {
            let oldest = self.drain.oldest();
            tracing::warn!(
                requests,
                oldest_s = oldest.as_secs(),
                "HTTP_DRAIN_TIMEOUT has passed; the app may still finish these requests"
            );
        }
    }

    pub(super) fn on_alarm(&self, event: Event) -> Event {
        match event {
            Event::StartFailed => {
                tracing::error!(
                    "the app did not open its port within WAIT_FOR_TARGET_PORT_TIMEOUT"
                );
            }
            Event::StopTimeout => {
                tracing::warn!("the app did not stop in time");
            }
            Event::KillTimeout => tracing::error!("the app was killed but is not gone"),
            _ => {}
        }
        event
    }

    /// Says what we are waiting for, and when to say it again.
    pub(super) fn remind(&mut self) {
        let phase = *self.phase.borrow();
        self.reminder = match phase {
            Phase::Draining => {
                self.say_draining();
                self.announce(phase);
                Some(Instant::now() + PROGRESS)
            }
            Phase::Stopping(_) => self.stop.map(|stop| {
                let waited = stop.step.elapsed();
                tracing::warn!(
                    pid = self.upstream.pid(),
                    waited_s = waited.as_secs(),
                    "waiting for the app to stop"
                );
                stop.step + next_reminder(waited)
            }),
            _ => None,
        };
    }

    fn step(&mut self) {
        if let Some(stop) = &mut self.stop {
            stop.step = Instant::now();
        }
    }

    /// Lets the cores write their last lines, and writes ours.
    pub(super) async fn end(mut self, code: u8) -> u8 {
        if let Some(server) = self.server.take() {
            server.join(Instant::now() + LINGER).await;
        }
        if let Some(certificates) = self.certificates.take() {
            certificates.join(Instant::now() + LINGER).await;
        }
        self.supervisor.join(Instant::now() + LINGER).await;
        // Whoever has asked for something since will not get it.
        self.orders = Orders::none();
        if let Some(control) = self.control.take() {
            control.close(Instant::now() + LAST_WORDS).await;
        }
        if let Some(admin) = self.admin.take() {
            admin.close().await;
        }
        let total_ms = self.stop.map_or(0, |stop| millis(stop.began));
        let tally = self.drain.tally();
        tracing::info!(
            exit_code = code,
            total_ms,
            drained = tally.drained(),
            cut = tally.cut(),
            "stopped"
        );
        code
    }
}

/// None waits for another: each has its last call at the same time.
async fn close_all(acceptors: Vec<Acceptor>, deadline: Instant, patience: Patience) -> Vec<Closed> {
    let close = |acceptor: Acceptor| spawn_local(acceptor.close(deadline, patience));
    let closing: Vec<_> = acceptors.into_iter().map(close).collect();
    let mut closed = Vec::new();
    for one in closing {
        closed.extend(one.await);
    }
    closed
}

fn say_closed(closed: &[Closed]) {
    for Closed {
        address,
        accepted_late,
    } in closed
    {
        tracing::info!(addr = %address, accepted_late, "listener closed");
    }
}

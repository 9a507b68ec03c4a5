//! The shutdown budget: every instant of a stop, computed once when its signal comes; pure.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// How long the child gets to stop after a failed start, where UPSTREAM_STOP_TIMEOUT does not say.
pub const ABANDONED: Duration = Duration::from_secs(10);

/// How long a killed child may take to be reaped.
pub const KILLED: Duration = Duration::from_secs(5);

/// How long responses that no longer need the child may take once it is gone.
pub const FINISHING: Duration = Duration::from_secs(5);

/// What a stop may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// `HTTP_DRAIN_DELAY`.
    pub delay: Duration,
    /// `HTTP_DRAIN_TIMEOUT`.
    pub drain: Duration,
    /// `UPSTREAM_STOP_TIMEOUT`; none waits for ever.
    pub stop: Option<Duration>,
    /// When the child is killed at the latest, counted from the signal; none leaves that to `stop`.
    pub kill_after: Option<Duration>,
}

/// The instants of one stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// When the listeners are closed.
    pub close_at: Instant,
    /// When the waiting for requests ends: shared by all listeners and connections, closing included.
    pub relay_by: Instant,
    /// When the child is killed, whatever it still does (`SHUTDOWN_TIMEOUT`).
    pub kill_by: Option<Instant>,
}

impl Budget {
    /// The plan of a stop that was asked for at `now`; without `delayed` there is no delay.
    pub fn plan(&self, now: Instant, delayed: bool) -> Plan {
        let close_at = now + if delayed { self.delay } else { Duration::ZERO };
        Plan {
            close_at,
            relay_by: close_at + self.drain,
            kill_by: self.kill_after.map(|after| now + after),
        }
    }

    /// When a child that was signalled at `now` is killed.
    pub fn kill_at(&self, now: Instant, plan: &Plan) -> Option<Instant> {
        let stop = self.stop.map(|stop| now + stop);
        stop.into_iter().chain(plan.kill_by).min()
    }

    /// How long a stop may still take, for a supervisor whose own limit may pass sooner; `relayed` says that the child has
    /// been signalled. Of a child that is awaited for ever no more than of an abandoned one: there its limit is to count.
    pub fn left(&self, now: Instant, plan: &Plan, relayed: bool) -> Duration {
        let relay_at = if relayed { now } else { plan.relay_by.max(now) };
        let stop = relay_at + self.stop.unwrap_or(ABANDONED);
        let kill_at = plan.kill_by.map_or(stop, |kill_by| kill_by.min(stop));
        kill_at.saturating_duration_since(now) + KILLED + FINISHING
    }

    /// What the child has to stop in the worst case.
    fn app(&self) -> Option<Duration> {
        let left = self
            .kill_after
            .map(|after| after.saturating_sub(self.delay + self.drain));
        self.stop.into_iter().chain(left).min()
    }

    /// Whether the drain waits at all.
    pub fn is_patient(&self) -> bool {
        !self.drain.is_zero()
    }
}

/// The worst case, for people: `delay 0 s + drain 30 s + app unlimited`.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "delay {} s + drain {} s + app ",
            self.delay.as_secs_f64(),
            self.drain.as_secs_f64()
        )?;
        match self.app() {
            Some(app) => write!(f, "{} s", app.as_secs_f64()),
            None => f.write_str("unlimited"),
        }
    }
}

/// When to say again that the child has not stopped: after 5, 10 and 30 s, then every 30 s.
pub fn next_reminder(waited: Duration) -> Duration {
    let seconds = waited.as_secs();
    Duration::from_secs(match seconds {
        0..5 => 5,
        5..10 => 10,
        10..30 => 30,
        _ => (seconds / 30 + 1) * 30,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_deadline_holds_delay_and_drain() {
        let budget = Budget {
            delay: seconds(5),
            drain: seconds(30),
            stop: None,
            kill_after: None,
        };
        let now = Instant::now();
        let plan = budget.plan(now, true);
        assert_eq!(
            (plan.close_at - now, plan.relay_by - now),
            (seconds(5), seconds(35))
        );
        let plan = budget.plan(now, false);
        assert_eq!(
            (plan.close_at - now, plan.relay_by - now),
            (seconds(0), seconds(30))
        );
    }

    #[test]
    fn the_worst_case_is_said_in_seconds() {
        let mut budget = Budget {
            delay: seconds(0),
            drain: seconds(30),
            stop: None,
            kill_after: None,
        };
        assert_eq!(budget.to_string(), "delay 0 s + drain 30 s + app unlimited");
        budget.stop = Some(seconds(9));
        assert_eq!(budget.to_string(), "delay 0 s + drain 30 s + app 9 s");
        budget.kill_after = Some(seconds(59));
        assert_eq!(budget.to_string(), "delay 0 s + drain 30 s + app 9 s");
        budget.stop = None;
        assert_eq!(budget.to_string(), "delay 0 s + drain 30 s + app 29 s");
    }

    #[test]
    fn the_child_is_killed_by_whichever_clock_runs_out_first() {
        let mut budget = Budget {
            delay: seconds(0),
            drain: seconds(4),
            stop: Some(seconds(8)),
            kill_after: Some(seconds(9)),
        };
        let now = Instant::now();
        let plan = budget.plan(now, false);
        let at = |budget: Budget, relayed| {
            budget
                .kill_at(now + seconds(relayed), &plan)
                .map(|at| at - now)
        };
        assert_eq!(at(budget, 0), Some(seconds(8)));
        assert_eq!(at(budget, 4), Some(seconds(9)));
        budget.stop = None;
        assert_eq!(at(budget, 0), Some(seconds(9)));
    }

    #[test]
    fn what_is_left_of_a_stop_ends_with_the_last_clock() {
        let mut budget = Budget {
            delay: seconds(2),
            drain: seconds(4),
            stop: Some(seconds(8)),
            kill_after: None,
        };
        let now = Instant::now();
        let after = KILLED + FINISHING;
        let left = |budget: Budget, waited, relayed| {
            budget.left(now + seconds(waited), &budget.plan(now, true), relayed) - after
        };
        assert_eq!(left(budget, 0, false), seconds(14));
        assert_eq!(left(budget, 5, false), seconds(9));
        assert_eq!(left(budget, 5, true), seconds(8));
        budget.stop = None;
        assert_eq!(left(budget, 6, true), ABANDONED);
        budget.kill_after = Some(seconds(9));
        assert_eq!(left(budget, 6, true), seconds(3));
        assert_eq!(left(budget, 10, true), seconds(0));
    }

    #[test]
    fn reminders_come_at_5_10_30_and_every_30_seconds() {
        let mut waited = Duration::ZERO;
        let mut said = Vec::new();
        while said.len() < 6 {
            waited = next_reminder(waited);
            said.push(waited.as_secs());
        }
        assert_eq!(said, [5, 10, 30, 60, 90, 120]);
    }
}

//! `SHUTDOWN_TIMEOUT`: how the time that the platform gives for a stop is shared; pure.

use std::{cmp::max, fmt, time::Duration};

/// What the app gets at least, where `UPSTREAM_STOP_TIMEOUT` does not say.
const LEAST: Duration = Duration::from_secs(5);

/// What is kept back, for our own last words.
pub(super) const MARGIN: Duration = Duration::from_secs(1);

/// What is to fit into the time for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// `SHUTDOWN_TIMEOUT`.
    pub total: Duration,
    /// `HTTP_DRAIN_DELAY`.
    pub delay: Duration,
    /// `UPSTREAM_STOP_TIMEOUT`; none where the app is to get a quarter of the whole.
    pub stop: Option<Duration>,
}

impl Shares {
    /// What the app gets to stop.
    fn app(&self) -> Duration {
        self.stop.unwrap_or_else(|| max(LEAST, self.total / 4))
    }

    /// What is left for the requests in flight; none where the others alone are too much.
    pub(super) fn drain(&self) -> Option<Duration> {
        self.total
            .checked_sub(self.delay)?
            .checked_sub(self.app())?
            .checked_sub(MARGIN)
    }
}

/// The sum that does not fit, for people.
impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = self.app();
        let sum = self.delay + app + MARGIN;
        write!(
            f,
            "HTTP_DRAIN_DELAY {} s + the app's share {} s + {} s for the exit = {} s, which is more than {} s",
            self.delay.as_secs_f64(),
            app.as_secs_f64(),
            MARGIN.as_secs(),
            sum.as_secs_f64(),
            self.total.as_secs()
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(total: u64, delay: u64, stop: Option<u64>) -> Shares {
        let seconds = Duration::from_secs;
        Shares {
            total: seconds(total),
            delay: seconds(delay),
            stop: stop.map(seconds),
        }
    }

    #[test]
    fn the_app_gets_a_quarter_or_5_s_or_what_it_was_promised() {
        for (total, delay, stop, drain) in [
            (10, 0, None, Some(4_000)),
            (30, 0, None, Some(21_500)),
            (30, 10, None, Some(11_500)),
            (60, 10, Some(15), Some(34_000)),
            (6, 0, None, Some(0)),
            (5, 0, None, None),
            (30, 25, None, None),
            (30, 0, Some(30), None),
        ] {
            let drain = drain.map(Duration::from_millis);
            assert_eq!(
                shares(total, delay, stop).drain(),
                drain,
                "{total} {delay} {stop:?}"
            );
        }
    }

    #[test]
    fn a_sum_that_does_not_fit_is_said_with_its_parts() {
        assert_eq!(
            shares(30, 22, None).to_string(),
            "HTTP_DRAIN_DELAY 22 s + the app's share 7.5 s + 1 s for the exit = 30.5 s, which is more than 30 s"
        );
    }

    proptest! {
        #[test]
        fn the_shares_are_the_whole(total in 1u64..100_000, delay in 0u64..100_000, stop in proptest::option::of(1u64..100_000)) {
            let shares = shares(total, delay, stop);
            if let Some(drain) = shares.drain() {
                prop_assert_eq!(drain + shares.delay + shares.app() + MARGIN, shares.total);
            }
        }
    }
}

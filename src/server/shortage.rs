//! What the acceptor remembers while descriptors or memory are short: when to try again, and when it last said so.
//!
//! Pure: the caller brings the clock. It outlives a cancelled `accept`, or a busy event loop would start each wait
//! anew and hammer a kernel that has nothing to give.

use std::{
    io,
    time::{Duration, Instant},
};

/// The first wait; a connection that ends in the meantime gives back what is missing.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(1);

/// No more than one warning in this time.
const QUIET: Duration = Duration::from_secs(10);

/// The state between two attempts to accept.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    /// The wait under way, zero when nothing is short.
    pause: Duration,
    retry_at: Option<Instant>,
    logged_at: Option<Instant>,
}

impl Shortage {
    /// When to try again; none is at once.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// A connection was accepted: the next shortage starts with the shortest wait.
    pub(super) fn over(&mut self) {
        self.pause = Duration::ZERO;
        self.retry_at = None;
    }

    /// An attempt has failed: wait twice as long as before, and say so, not too often.
    pub(super) fn goes_on(&mut self, error: &io::Error, now: Instant) {
        self.pause = (self.pause * 2).clamp(SHORTEST, LONGEST);
        self.retry_at = Some(now + self.pause);
        if self.may_log(now) {
            tracing::warn!(%error, "cannot accept connections for now, raise the limit on open files");
        }
    }

    fn may_log(&mut self, now: Instant) -> bool {
        let due = self
            .logged_at
            .is_none_or(|at| now.duration_since(at) >= QUIET);
        if due {
            self.logged_at = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(shortage: &mut Shortage, now: Instant, times: usize) -> Vec<u128> {
        let error = io::Error::from_raw_os_error(libc::EMFILE);
        (0..times)
            .map(|_| {
                shortage.goes_on(&error, now);
                shortage.retry_at().unwrap().duration_since(now).as_millis()
            })
            .collect()
    }

    #[test]
    fn waits_50_ms_doubling_to_1_s_and_starts_anew_after_a_connection() {
        let (mut shortage, now) = (Shortage::default(), Instant::now());
        assert_eq!(shortage.retry_at(), None);
        assert_eq!(
            pauses(&mut shortage, now, 7),
            [50, 100, 200, 400, 800, 1000, 1000]
        );
        shortage.over();
        assert_eq!(shortage.retry_at(), None);
        assert_eq!(pauses(&mut shortage, now, 1), [50]);
    }

    #[test]
    fn one_line_per_10_s_even_when_it_comes_and_goes() {
        let (mut shortage, start) = (Shortage::default(), Instant::now());
        let mut logged = |seconds| shortage.may_log(start + Duration::from_secs(seconds));
        assert_eq!(
            [0, 1, 9, 10, 19, 20].map(&mut logged),
            [true, false, false, true, false, true]
        );
    }
}

//! What clients may do together: one set of limits, shared by the paths of all cores.

use super::{Settings, queue::Queue, rate_limit::Rates};
use crate::drain::Watch;

/// The limits of `RATE_LIMIT` and `MAX_UPSTREAM_REQUESTS`, where they are set.
#[derive(Clone, Debug)]
pub struct Limits {
    pub(super) rates: Option<Rates>,
    pub(super) queue: Option<Queue>,
}

impl Limits {
    /// Nobody has done anything yet.
    pub fn new(settings: &Settings) -> Self {
        Self {
            rates: settings.rate_limit.map(Rates::new),
            queue: settings.queue.map(Queue::new),
        }
    }

    /// The app has said how many requests it works on at once; 0 says nothing. Whether that is news to anybody.
    pub fn app_reports(&self, threads: u64) -> bool {
        let threads = usize::try_from(threads).unwrap_or(usize::MAX);
        let queue = self.queue.as_ref().filter(|_| threads > 0);
        queue.is_some_and(|queue| queue.app_reports(threads))
    }

    /// Forgets what need not be remembered, until the drain begins.
    pub async fn keep_tidy(self, watch: Watch) {
        if let Some(rates) = self.rates {
            rates.keep_tidy(watch).await;
        }
    }
}

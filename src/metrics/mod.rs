//! What has happened, in numbers: written by the cores, read by the control thread when somebody asks.
//!
//! A core has a [`Recorder`], whose counters are on cache lines of its own: to count costs it a load and a store, and no
//! other core waits. [`Metrics`] adds the cores up to [`Totals`]. Where nobody can ask, nothing is counted: the recorders
//! are empty then, and each of their methods is one branch.

mod class;
mod count;
mod counters;
mod distribution;
mod histogram;
mod recorder;
mod totals;

use std::sync::Arc;

use self::counters::Counters;
pub use self::{
    class::{CacheResult, Class, Handshake},
    distribution::{Distribution, SHOWN, THRESHOLDS},
    recorder::{Lap, Recorder},
    totals::{Coded, Totals},
};

/// How many kinds of causes, or of codings, there may be: what comes behind them is not counted.
pub const CAUSES: usize = 64;

/// See [`CAUSES`].
pub const CODINGS: usize = 3;

/// The counters of all cores.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    cores: Vec<Arc<Counters>>,
}

impl Metrics {
    /// Counters for so many cores, all at zero.
    pub fn new(cores: usize) -> Self {
        Self {
            cores: (0..cores).map(|_| Arc::default()).collect(),
        }
    }

    /// None at all: nothing is counted.
    pub fn off() -> Self {
        Self::default()
    }

    /// The recorder of a core, on its way there.
    pub fn seed(&self, core: usize) -> Seed {
        Seed(self.cores.get(core).cloned())
    }

    /// What all cores have counted; none if they do not.
    pub fn totals(&self) -> Option<Totals> {
        if self.cores.is_empty() {
            return None;
        }
        let mut totals = Totals::default();
        self.cores.iter().for_each(|core| totals.add(core));
        Some(totals)
    }
}

/// A [`Recorder`] on its way to the thread of its core: there is to be one for each core.
#[derive(Debug)]
pub struct Seed(Option<Arc<Counters>>);

impl Seed {
    /// The recorder, on the thread where it stays.
    pub fn plant(self) -> Recorder {
        Recorder::new(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn the_cores_are_added_up() {
        let metrics = Metrics::new(2);
        let record = |core: usize| {
            let seed = metrics.seed(core);
            move || {
                let recorder = seed.plant();
                for millis in 0..100 {
                    recorder.request(Class::Success, CacheResult::Hit);
                    recorder.request_took(Duration::from_millis(millis));
                }
                recorder.sent(core);
            }
        };
        thread::scope(|scope| {
            scope.spawn(record(0));
            scope.spawn(record(1));
        });
        let totals = metrics.totals().expect("they count");
        assert_eq!(totals.requests(), 200);
        assert_eq!(totals.of(Class::Success, CacheResult::Hit), 200);
        assert_eq!(totals.request_duration.count(), 200);
        assert_eq!(totals.request_duration.sum(), Duration::from_millis(9_900));
        assert_eq!(totals.sent, 1);
    }

    #[test]
    fn where_nobody_asks_nothing_is_counted() {
        let metrics = Metrics::off();
        let recorder = metrics.seed(0).plant();
        assert!(!recorder.is_on());
        recorder.request(Class::Success, CacheResult::Hit);
        assert!(recorder.lap().is_none());
        assert_eq!(metrics.totals(), None);
    }
}

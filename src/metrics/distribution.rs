//! How long things took, over all cores, as it is read.

use std::time::Duration;

/// Where the buckets end, in microseconds: six to a power of ten, from a tenth of a millisecond to more than a minute. What
/// took longer is in one more bucket.
pub const THRESHOLDS: [u64; 36] = [
    100, 150, 200, 300, 500, 700, //
    1_000, 1_500, 2_000, 3_000, 5_000, 7_000, //
    10_000, 15_000, 20_000, 30_000, 50_000, 70_000, //
    100_000, 150_000, 200_000, 300_000, 500_000, 700_000, //
    1_000_000, 1_500_000, 2_000_000, 3_000_000, 5_000_000, 7_000_000, //
    10_000_000, 15_000_000, 20_000_000, 30_000_000, 50_000_000, 70_000_000,
];

/// Those of them that others are shown, by place: 1, 2 and 5 of each power of ten.
pub const SHOWN: [usize; 18] = [
    0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34,
];

/// How many took how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    pub(super) buckets: [u64; THRESHOLDS.len() + 1],
    pub(super) sum_micros: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            buckets: [0; THRESHOLDS.len() + 1],
            sum_micros: 0,
        }
    }
}

impl Distribution {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How long all of them took together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros)
    }

    /// How many are in each of the [`SHOWN`] buckets, each with where it ends in seconds, and last those beyond, which end
    /// nowhere.
    pub fn shown(&self) -> impl Iterator<Item = (f64, u64)> {
        let ends = SHOWN
            .into_iter()
            .map(|at| (seconds(THRESHOLDS[at]), at + 1));
        let last = std::iter::once((f64::INFINITY, self.buckets.len()));
        let mut from = 0;
        ends.chain(last).map(move |(end, to)| {
            let count = self.buckets[from..to].iter().sum();
            from = to;
            (end, count)
        })
    }

    /// What has come since it was `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        let pairs = since.buckets.iter_mut().zip(&before.buckets);
        pairs.for_each(|(now, before)| *now = now.saturating_sub(*before));
        since.sum_micros = since.sum_micros.saturating_sub(before.sum_micros);
        since
    }

    /// How long the fastest `share` (0 to 1) of them took at most, as if they were spread evenly in their bucket; none of
    /// nothing.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = share * count as f64;
        let mut below = 0.0;
        for (place, inside) in self.buckets.iter().enumerate() {
            let inside = *inside as f64;
            if inside > 0.0 && below + inside >= rank {
                let from = place.checked_sub(1).map_or(0, |place| THRESHOLDS[place]);
                let to = THRESHOLDS.get(place).copied().unwrap_or(from);
                let part = ((rank - below) / inside).clamp(0.0, 1.0);
                let micros = from as f64 + (to - from) as f64 * part;
                return Some(Duration::from_micros(micros as u64));
            }
            below += inside;
        }
        None
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::{super::histogram::Histogram, *};

    fn of(micros: impl IntoIterator<Item = u64>) -> Distribution {
        let histogram = Histogram::default();
        for micros in micros {
            histogram.record(Duration::from_micros(micros));
        }
        let mut distribution = Distribution::default();
        histogram.add_to(&mut distribution);
        distribution
    }

    #[test]
    fn what_is_shown_ends_at_1_2_and_5() {
        let ends: Vec<_> = of([]).shown().map(|(end, _)| end).collect();
        assert_eq!(ends.len(), 19);
        assert_eq!(ends[..6], [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005]);
        assert_eq!(ends[15..], [10.0, 20.0, 50.0, f64::INFINITY]);
    }

    #[test]
    fn a_bucket_holds_what_took_as_long_as_its_end() {
        let shown: Vec<_> = of([0, 100, 101, 200, 201, 60_000_000, u64::MAX / 2])
            .shown()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(
            shown,
            [(0.0001, 2), (0.0002, 2), (0.0005, 1), (f64::INFINITY, 2)]
        );
    }

    #[test]
    fn quantiles_are_near_what_they_stand_for() {
        let even = of(1..=10_000);
        for (share, expected) in [(0.5, 5_000.0), (0.95, 9_500.0), (0.99, 9_900.0)] {
            let found = even.quantile(share).unwrap().as_micros() as f64;
            assert!((found / expected - 1.0).abs() < 0.05, "{share}: {found}");
        }
        assert_eq!(of([]).quantile(0.5), None);
        assert_eq!(
            of([u64::MAX / 2]).quantile(0.99),
            Some(Duration::from_secs(70))
        );
    }

    #[test]
    fn since_leaves_out_what_was_before() {
        let (before, after) = (of([10, 20]), of([10, 20, 5_000]));
        let since = after.since(&before);
        assert_eq!((since.count(), since.sum()), (1, Duration::from_millis(5)));
    }
}

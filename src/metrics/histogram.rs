//! How long things took, as one core counts it.

use std::time::Duration;

use super::{
    count::Count,
    distribution::{Distribution, THRESHOLDS},
};

/// The first bucket for numbers of so many bits: the right one is that, or one of the three behind it.
const FIRST: [u8; 65] = first();

/// A count for each bucket.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: [Count; THRESHOLDS.len() + 1],
    sum_micros: Count,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Count::default()),
            sum_micros: Count::default(),
        }
    }
}

impl Histogram {
    pub(super) fn record(&self, took: Duration) {
        let micros = micros(took);
        self.buckets[place(micros)].add(1);
        self.sum_micros.add(micros);
    }

    pub(super) fn add_to(&self, distribution: &mut Distribution) {
        let pairs = distribution.buckets.iter_mut().zip(&self.buckets);
        pairs.for_each(|(sum, count)| *sum += count.get());
        distribution.sum_micros = distribution.sum_micros.wrapping_add(self.sum_micros.get());
    }
}

/// The bucket of a time, without a branch to be guessed wrong: a search costs three times as much.
fn place(micros: u64) -> usize {
    let bits = u64::BITS - micros.leading_zeros();
    let first = usize::from(FIRST[bits as usize]);
    let beyond = |at: usize| usize::from(THRESHOLDS.get(at).is_some_and(|end| *end < micros));
    first + beyond(first) + beyond(first + 1) + beyond(first + 2)
}

const fn first() -> [u8; 65] {
    let mut first = [0; 65];
    let mut bits = 1;
    while bits < first.len() {
        let least = 1 << (bits - 1);
        let mut place = first[bits - 1];
        while (place as usize) < THRESHOLDS.len() && THRESHOLDS[place as usize] < least {
            place += 1;
        }
        first[bits] = place;
        bits += 1;
    }
    first
}

fn micros(time: Duration) -> u64 {
    let seconds = time.as_secs().saturating_mul(1_000_000);
    seconds.saturating_add(u64::from(time.subsec_micros()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_time_is_in_the_bucket_that_a_search_finds(micros in 0..u64::MAX, shift in 0..64_u32) {
            let ends = THRESHOLDS.into_iter().flat_map(|end| [end - 1, end, end + 1]);
            for micros in ends.chain([micros >> shift]) {
                prop_assert_eq!(place(micros), THRESHOLDS.partition_point(|end| *end < micros), "{}", micros);
            }
        }
    }
}

//! What was last seen of a key: whether its answer could be stored. So that what never can costs nothing more, and what can
//! is asked for once although it was evicted.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many keys are remembered; of two in one place the later is.
const PLACES: usize = 1 << 15;

/// The lowest bit of a place; the others are the key's fingerprint.
const STORABLE: u32 = 1;

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// Its answer was stored, or could have been.
    Storable,
    /// It could not.
    Uncacheable,
}

/// A table of fixed size, read and written without locks.
#[derive(Debug)]
pub(super) struct Knowledge(Box<[AtomicU32]>);

impl Knowledge {
    pub(super) fn new() -> Self {
        Self((0..PLACES).map(|_| AtomicU32::new(0)).collect())
    }

    pub(super) fn of(&self, hash: u64) -> Known {
        let (place, fingerprint) = self.place(hash);
        let known = place.load(Ordering::Relaxed);
        if known & !STORABLE != fingerprint {
            Known::Nothing
        } else if known & STORABLE == 0 {
            Known::Uncacheable
        } else {
            Known::Storable
        }
    }

    pub(super) fn learn(&self, hash: u64, storable: bool) {
        let (place, fingerprint) = self.place(hash);
        let known = fingerprint | u32::from(storable);
        // Most often it is known already, and a store would take the line away from the other cores.
        if place.load(Ordering::Relaxed) != known {
            place.store(known, Ordering::Relaxed);
        }
    }

    /// No fingerprint is 0, which is that of an empty place.
    fn place(&self, hash: u64) -> (&AtomicU32, u32) {
        let fingerprint = (hash >> 32) as u32 | 1 << 31;
        (&self.0[hash as usize % PLACES], fingerprint & !STORABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_was_learnt_is_known_and_others_are_not_taken_for_it() {
        let knowledge = Knowledge::new();
        let (one, same_place) = (0x1234_5678_0000_0007, 0x4321_5678_0000_0007);
        assert_eq!(knowledge.of(one), Known::Nothing);
        assert_eq!(knowledge.of(0), Known::Nothing);
        knowledge.learn(one, false);
        assert_eq!(knowledge.of(one), Known::Uncacheable);
        assert_eq!(knowledge.of(same_place), Known::Nothing);
        knowledge.learn(one, true);
        assert_eq!(knowledge.of(one), Known::Storable);
        knowledge.learn(same_place, true);
        assert_eq!(knowledge.of(one), Known::Nothing);
    }
}

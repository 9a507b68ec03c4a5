//! The latest purges by tag: what was asked for before one of them must not be stored after it.

use std::{
    collections::VecDeque,
    hash::BuildHasher,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::DefaultHashBuilder;

use super::{Stored, tags};

/// How many purged tags are remembered. Whatever is on its way for longer than that many is not stored, this once.
const REMEMBERED: usize = 1024;

/// A log of fixed size.
#[derive(Debug, Default)]
pub(super) struct Purges {
    /// How many tags were ever purged.
    count: AtomicU64,
    latest: Mutex<VecDeque<u64>>,
    hasher: DefaultHashBuilder,
}

impl Purges {
    /// How many there have been: a moment to ask about later.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Takes down that these are purged now.
    pub(super) fn note(&self, purged: &[impl AsRef<[u8]>]) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        for tag in purged {
            latest.push_back(self.hasher.hash_one(tag.as_ref()));
            if latest.len() > REMEMBERED {
                latest.pop_front();
            }
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether one of a response's tags was purged after there had been `since`.
    pub(super) fn hit(&self, stored: &Stored, since: u64) -> bool {
        if !stored.is_tagged() || self.count() == since {
            return false;
        }
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = usize::try_from(self.count() - since).unwrap_or(usize::MAX);
        if missed > latest.len() {
            return true;
        }
        let later = || latest.iter().rev().take(missed);
        tags::of(stored).any(|tag| later().any(|hash| *hash == self.hasher.hash_one(tag)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;
    use crate::cache::{Control, Terms, Times};

    fn tagged(tags: &'static str) -> Stored {
        let mut headers = HeaderMap::new();
        headers.insert("surrogate-key", HeaderValue::from_static(tags));
        let control = Control::of(&headers);
        let times = Times {
            asked: Instant::now(),
            answered: Instant::now(),
            date: SystemTime::now(),
        };
        let terms = Terms::new(&control, &headers, Duration::ZERO, &times);
        Stored::new(1, StatusCode::OK, &headers, Bytes::new(), terms)
    }

    #[test]
    fn only_what_was_asked_for_before_a_purge_of_its_tag_is_hit() {
        let purges = Purges::default();
        let (before, stored) = (purges.count(), tagged("a b"));
        purges.note(&["x", "b"]);
        let between = purges.count();
        purges.note(&["c"]);
        assert!(purges.hit(&stored, before));
        assert!(!purges.hit(&stored, between));
        assert!(!purges.hit(&tagged("bb B"), before));
    }

    #[test]
    fn what_is_older_than_the_log_is_hit_whatever_its_tags() {
        let purges = Purges::default();
        let stored = tagged("a");
        let names: Vec<_> = (0..=REMEMBERED).map(|number| number.to_string()).collect();
        purges.note(&names);
        assert!(purges.hit(&stored, 0));
        assert!(!purges.hit(&stored, 1));
    }
}

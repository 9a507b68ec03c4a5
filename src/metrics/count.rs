//! One number that only grows.

use std::sync::atomic::{AtomicU64, Ordering};

/// Written by one thread, read by others.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// A load and a store: as nobody else writes, a locked read-modify-write would only cost more.
    pub(super) fn add(&self, more: u64) {
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(more), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

//! What became of every request.

use std::{collections::BTreeMap, ops::AddAssign};

/// The account of some clients, or of all of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    /// Answered as they should be, to the last byte.
    pub(crate) served: u64,
    /// Of those, by connections that had served one before.
    pub(crate) reused: u64,
    /// Connections refused after the signal.
    pub(crate) refused: u64,
    /// Reused connections found closed before anything was written: any client opens another.
    pub(crate) closed_idle: u64,
    /// Requests that crossed the FIN on the wire: on a reused connection, and not a byte came back.
    pub(crate) crossed: u64,
    /// Everything that must not happen, and how often it did.
    pub(crate) lost: BTreeMap<String, u64>,
}

impl Account {
    pub(crate) fn lose(&mut self, what: impl Into<String>) {
        *self.lost.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn losses(&self) -> u64 {
        self.lost.values().sum()
    }
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.served += other.served;
        self.reused += other.reused;
        self.refused += other.refused;
        self.closed_idle += other.closed_idle;
        self.crossed += other.crossed;
        for (what, count) in other.lost {
            *self.lost.entry(what).or_default() += count;
        }
    }
}

//! The counters of one core.

use super::{CAUSES, CODINGS, CacheResult, Class, Handshake, count::Count, histogram::Histogram};

/// On cache lines of their own, written by one thread.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Counters {
    pub(super) requests: [[Count; CacheResult::ALL.len()]; Class::ALL.len()],
    pub(super) request_duration: Histogram,
    pub(super) first_byte: Histogram,
    pub(super) upstream_duration: Histogram,
    pub(super) queue_duration: Histogram,
    pub(super) upstream_connects: Count,
    pub(super) causes: [Count; CAUSES],
    pub(super) received: Count,
    pub(super) sent: Count,
    /// Plain ones, and those that are to be encrypted.
    pub(super) connections: [Count; 2],
    pub(super) handshakes: [Count; Handshake::ALL.len()],
    pub(super) handshake_duration: Histogram,
    pub(super) coded: [CodedCounts; CODINGS],
}

/// What was encoded in one coding.
#[derive(Debug, Default)]
pub(super) struct CodedCounts {
    pub(super) responses: Count,
    pub(super) input: Count,
    pub(super) output: Count,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            request_duration: Histogram::default(),
            first_byte: Histogram::default(),
            upstream_duration: Histogram::default(),
            queue_duration: Histogram::default(),
            upstream_connects: Count::default(),
            causes: std::array::from_fn(|_| Count::default()),
            received: Count::default(),
            sent: Count::default(),
            connections: Default::default(),
            handshakes: Default::default(),
            handshake_duration: Histogram::default(),
            coded: Default::default(),
        }
    }
}

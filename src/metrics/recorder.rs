//! A core's hand on its counters.

use std::{
    marker::PhantomData,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{CacheResult, Class, Handshake, counters::Counters};

/// Counts what happens on a core; an empty one counts nothing.
///
/// It stays on its thread: two that write the same counters would lose some.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    counters: Option<Arc<Counters>>,
    /// Not to be sent.
    here: PhantomData<Rc<()>>,
}

impl Recorder {
    pub(super) fn new(counters: Option<Arc<Counters>>) -> Self {
        Self {
            counters,
            here: PhantomData,
        }
    }

    /// Whether anything is counted.
    pub fn is_on(&self) -> bool {
        self.counters.is_some()
    }

    fn count(&self, what: impl FnOnce(&Counters)) {
        if let Some(counters) = &self.counters {
            what(counters);
        }
    }

    /// A request was answered, or given up.
    pub fn request(&self, class: Class, cache: CacheResult) {
        self.count(|to| to.requests[class as usize][cache as usize].add(1));
    }

    /// From a request's first byte to its response's last.
    pub fn request_took(&self, time: Duration) {
        self.count(|to| to.request_duration.record(time));
    }

    /// From a request's first byte until the head of its response was there.
    pub fn first_byte_took(&self, time: Duration) {
        self.count(|to| to.first_byte.record(time));
    }

    /// How long a request waited until the app could take it.
    pub fn queued(&self, time: Duration) {
        self.count(|to| to.queue_duration.record(time));
    }

    /// The app is asked: the time runs until the lap is dropped; none where nothing is counted.
    pub fn lap(&self) -> Option<Lap> {
        let recorder = self.clone();
        self.is_on().then(|| Lap {
            recorder,
            began: Instant::now(),
        })
    }

    /// A connection to the app was made.
    pub fn upstream_connected(&self) {
        self.count(|to| to.upstream_connects.add(1));
    }

    /// Something went wrong; `cause` is a number below [`CAUSES`](super::CAUSES).
    pub fn failed(&self, cause: usize) {
        self.count(|to| {
            if let Some(count) = to.causes.get(cause) {
                count.add(1);
            }
        });
    }

    /// Bytes came from a client.
    pub fn received(&self, bytes: usize) {
        self.count(|to| to.received.add(bytes as u64));
    }

    /// Bytes went to a client.
    pub fn sent(&self, bytes: usize) {
        self.count(|to| to.sent.add(bytes as u64));
    }

    /// A connection was accepted.
    pub fn connection(&self, secure: bool) {
        self.count(|to| to.connections[usize::from(secure)].add(1));
    }

    /// A handshake has ended, after so long.
    pub fn handshake(&self, end: Handshake, time: Duration) {
        self.count(|to| {
            to.handshakes[end as usize].add(1);
            if end == Handshake::Done {
                to.handshake_duration.record(time);
            }
        });
    }

    /// A response is encoded; `coding` is a number below [`CODINGS`](super::CODINGS).
    pub fn encoded(&self, coding: usize, input: u64, output: u64) {
        self.count(|to| {
            if let Some(coded) = to.coded.get(coding) {
                coded.responses.add(1);
                coded.input.add(input);
                coded.output.add(output);
            }
        });
    }
}

/// The time that the app takes, until it is dropped.
#[derive(Debug)]
pub struct Lap {
    recorder: Recorder,
    began: Instant,
}

impl Lap {
    /// It has ended at `now`, for who has looked at the clock anyway.
    pub fn end(mut self, now: Instant) {
        self.record(now);
    }

    fn record(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.began);
        self.recorder.count(|to| to.upstream_duration.record(took));
        self.recorder.counters = None;
    }
}

impl Drop for Lap {
    fn drop(&mut self) {
        if self.recorder.is_on() {
            self.record(Instant::now());
        }
    }
}

//! What all cores have counted, at one moment.

use super::{CAUSES, CODINGS, CacheResult, Class, Distribution, Handshake, counters::Counters};

/// Sums over all cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    requests: [[u64; CacheResult::ALL.len()]; Class::ALL.len()],
    /// From a request's first byte to its response's last, event streams and tunnels left out.
    pub request_duration: Distribution,
    /// From a request's first byte until the head of its response was there.
    pub first_byte: Distribution,
    /// From when the app was asked until the last byte of its answer.
    pub upstream_duration: Distribution,
    /// How long requests waited for the app to be able to take them.
    pub queue_duration: Distribution,
    /// Connections made to the app.
    pub upstream_connects: u64,
    /// What went wrong, by cause.
    pub causes: [u64; CAUSES],
    /// Bytes from clients, without those of TLS.
    pub received: u64,
    /// Bytes to clients, without those of TLS.
    pub sent: u64,
    /// Connections that were accepted on the plain port, and on that for HTTPS.
    pub connections: [u64; 2],
    handshakes: [u64; Handshake::ALL.len()],
    /// How long those took that were done.
    pub handshake_duration: Distribution,
    /// What was encoded, by coding.
    pub coded: [Coded; CODINGS],
}

/// What was encoded in one coding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coded {
    /// How many responses.
    pub responses: u64,
    /// How many bytes they had.
    pub input: u64,
    /// How many they had afterwards.
    pub output: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            request_duration: Distribution::default(),
            first_byte: Distribution::default(),
            upstream_duration: Distribution::default(),
            queue_duration: Distribution::default(),
            upstream_connects: 0,
            causes: [0; CAUSES],
            received: 0,
            sent: 0,
            connections: Default::default(),
            handshakes: Default::default(),
            handshake_duration: Distribution::default(),
            coded: Default::default(),
        }
    }
}

impl Totals {
    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.requests.iter().flatten().sum()
    }

    /// Those of a class and a result of the cache.
    pub fn of(&self, class: Class, cache: CacheResult) -> u64 {
        self.requests[class as usize][cache as usize]
    }

    /// Those of a class.
    pub fn of_class(&self, class: Class) -> u64 {
        self.requests[class as usize].iter().sum()
    }

    /// Those of a result of the cache.
    pub fn of_cache(&self, cache: CacheResult) -> u64 {
        let of = |class: &[u64; CacheResult::ALL.len()]| class[cache as usize];
        self.requests.iter().map(of).sum()
    }

    /// Handshakes that ended so.
    pub fn handshakes(&self, end: Handshake) -> u64 {
        self.handshakes[end as usize]
    }

    pub(super) fn add(&mut self, core: &Counters) {
        for (sums, counts) in self.requests.iter_mut().zip(&core.requests) {
            add(sums, counts.iter().map(super::count::Count::get));
        }
        core.request_duration.add_to(&mut self.request_duration);
        core.first_byte.add_to(&mut self.first_byte);
        core.upstream_duration.add_to(&mut self.upstream_duration);
        core.queue_duration.add_to(&mut self.queue_duration);
        core.handshake_duration.add_to(&mut self.handshake_duration);
        add(
            &mut self.causes,
            core.causes.iter().map(super::count::Count::get),
        );
        add(
            &mut self.connections,
            core.connections.iter().map(super::count::Count::get),
        );
        add(
            &mut self.handshakes,
            core.handshakes.iter().map(super::count::Count::get),
        );
        self.upstream_connects += core.upstream_connects.get();
        self.received += core.received.get();
        self.sent += core.sent.get();
        for (sum, counts) in self.coded.iter_mut().zip(&core.coded) {
            sum.responses += counts.responses.get();
            sum.input += counts.input.get();
            sum.output += counts.output.get();
        }
    }
}

fn add(sums: &mut [u64], counts: impl Iterator<Item = u64>) {
    sums.iter_mut()
        .zip(counts)
        .for_each(|(sum, count)| *sum += count);
}

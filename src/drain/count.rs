//! The counters of one core: written by its thread alone, read by the control thread.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

/// What an [`Open`](super::Open) stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// A client's connection, tunnels included.
    Connection,
    /// An ordinary request, from its head to the last byte of its response.
    Request,
    /// A head of which a byte has arrived, or a connection too young to have sent one: it holds the drain.
    Arriving,
    /// An event stream: served, not awaited.
    Stream,
    /// An upgraded connection: tunnelled, not awaited.
    Tunnel,
    /// A closed connection whose client still sent bytes after our FIN.
    Lingering,
    /// One whose client sends nothing, and which nobody waits for.
    Closing,
    /// An idle connection to the app.
    Pooled,
}

/// How many kinds there are.
pub(super) const KINDS: usize = 8;

/// The counters of one core, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counts {
    open: [AtomicUsize; KINDS],
    /// Connections that the acceptor handed over, by the acceptor.
    admitted: AtomicUsize,
    /// Of those, the ones that have arrived, by the core.
    arrived: AtomicUsize,
    drained: AtomicUsize,
    cut: AtomicUsize,
    seen: AtomicU8,
    last_end: AtomicU64,
    /// One more than the microsecond in which the oldest request began; 0 is none.
    oldest: AtomicU64,
}

impl Counts {
    // Only the core's own thread calls what writes, but for `admit` and `arrive`, so a load and a store do; a locked
    // read-modify-write would cost each request several times as much.

    pub(super) fn add(&self, kind: Kind) {
        let open = &self.open[kind as usize];
        open.store(open.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    pub(super) fn remove(&self, kind: Kind) {
        let open = &self.open[kind as usize];
        open.store(open.load(Ordering::Relaxed) - 1, Ordering::Release);
    }

    pub(super) fn ended(&self, kind: Kind, at_micros: u64) {
        if matches!(kind, Kind::Request | Kind::Arriving) {
            self.last_end.store(at_micros, Ordering::Release);
        }
    }

    pub(super) fn drained(&self) {
        let drained = self.drained.load(Ordering::Relaxed);
        self.drained.store(drained + 1, Ordering::Release);
    }

    pub(super) fn cut(&self) {
        let cut = self.cut.load(Ordering::Relaxed);
        self.cut.store(cut + 1, Ordering::Release);
    }

    pub(super) fn show(&self, stage: u8, oldest_micros: Option<u64>) {
        self.oldest
            .store(oldest_micros.map_or(0, |at| at + 1), Ordering::Release);
        self.seen.store(stage, Ordering::Release);
    }

    pub(super) fn admit(&self) {
        self.admitted.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn arrive(&self) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
    }

    /// Connections between the acceptor and their core count as connections and hold the drain.
    fn on_the_way(&self) -> usize {
        let arrived = self.arrived.load(Ordering::Acquire);
        self.admitted.load(Ordering::Acquire).wrapping_sub(arrived)
    }

    /// What goes from one count to the next is added to the second before it leaves the first. Asked in that order it is
    /// seen twice at worst; in any other it could be missed, and a drain end with it.
    pub(super) fn open(&self, kind: Kind) -> usize {
        let on_the_way = match kind {
            Kind::Connection | Kind::Arriving => self.on_the_way(),
            Kind::Request
            | Kind::Stream
            | Kind::Tunnel
            | Kind::Lingering
            | Kind::Closing
            | Kind::Pooled => 0,
        };
        on_the_way + self.open[kind as usize].load(Ordering::Acquire)
    }

    pub(super) fn seen(&self) -> u8 {
        self.seen.load(Ordering::Acquire)
    }

    pub(super) fn last_end(&self) -> u64 {
        self.last_end.load(Ordering::Acquire)
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.oldest.load(Ordering::Acquire).checked_sub(1)
    }
}

/// What is open, over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    open: [usize; KINDS],
    drained: usize,
    cut: usize,
}

impl Tally {
    pub(super) fn of(cores: &[Arc<Counts>]) -> Self {
        let mut tally = Self::default();
        for core in cores {
            // A head becomes a request, and a request a stream or a tunnel: see `Counts::open`.
            for kind in [
                Kind::Connection,
                Kind::Arriving,
                Kind::Request,
                Kind::Stream,
                Kind::Tunnel,
                Kind::Lingering,
                Kind::Closing,
                Kind::Pooled,
            ] {
                tally.open[kind as usize] += core.open(kind);
            }
            tally.drained += core.drained.load(Ordering::Acquire);
            tally.cut += core.cut.load(Ordering::Acquire);
        }
        tally
    }

    /// How many of `kind` are open.
    pub fn of_kind(&self, kind: Kind) -> usize {
        self.open[kind as usize]
    }

    /// Ordinary requests in flight.
    pub fn requests(&self) -> usize {
        self.of_kind(Kind::Request)
    }

    /// What holds the drain: requests, and heads on their way.
    pub fn holding(&self) -> usize {
        self.of_kind(Kind::Request) + self.of_kind(Kind::Arriving)
    }

    /// Connections on which nothing is going on.
    pub fn idle(&self) -> usize {
        let busy = self.holding() + self.of_kind(Kind::Stream) + self.of_kind(Kind::Tunnel);
        self.of_kind(Kind::Connection).saturating_sub(busy)
    }

    /// Ordinary requests that were answered to the last byte since a stop began.
    pub fn drained(&self) -> usize {
        self.drained
    }

    /// Requests and streams that were broken off, but not by their clients, tunnels that outlived the app, and what is open
    /// still.
    pub fn cut(&self) -> usize {
        let open = [Kind::Request, Kind::Stream, Kind::Tunnel].map(|kind| self.of_kind(kind));
        self.cut + open.into_iter().sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn a_connection_on_its_way_to_a_request_is_never_missed() {
        for _ in 0..20 {
            let trials: Vec<Vec<_>> = (0..500)
                .map(|_| vec![Arc::new(Counts::default())])
                .collect();
            trials.iter().for_each(|cores| cores[0].admit());
            let start = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    for cores in &trials {
                        cores[0].add(Kind::Arriving);
                        cores[0].arrive();
                        cores[0].add(Kind::Request);
                        cores[0].remove(Kind::Arriving);
                    }
                });
                start.wait();
                for cores in &trials {
                    while cores[0].open[Kind::Request as usize].load(Ordering::Relaxed) == 0 {
                        assert!(Tally::of(cores).holding() > 0);
                    }
                }
            });
        }
    }
}

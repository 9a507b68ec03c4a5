//! Responses that are on their way into the store, so that who wants the same waits for them (RFC 9111 section 4, "collapse").
//!
//! One leads, on whichever core; the others follow until it has landed, in whatever way.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use super::Place;

/// A power of two.
const SHARDS: usize = 16;

/// How a flight has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Landing {
    /// It is not stored: each follower goes its own way.
    Missed = 1,
    /// It is stored.
    Stored,
    /// The app failed, and what was stored may be used stale.
    Failed,
}

/// A response on its way.
#[derive(Debug, Default)]
pub struct Flight {
    landing: AtomicU8,
    followers: AtomicUsize,
    landed: Notify,
}

/// By key.
type Shard = HashMap<Box<[u8]>, Arc<Flight>>;

/// All of them.
#[derive(Debug)]
pub(super) struct Flights {
    /// How many there are, so that with none nobody takes a lock.
    count: AtomicUsize,
    shards: [Mutex<Shard>; SHARDS],
}

/// Who brings the response; dropped, it has missed.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    key: Box<[u8]>,
    shard: usize,
    flight: Arc<Flight>,
}

impl Flights {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            count: AtomicUsize::new(0),
            shards: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// The flight of this key, if there is one.
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Arc<Flight>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let shard = &self.shards[hash as usize % SHARDS];
        let flights = shard.lock().unwrap_or_else(PoisonError::into_inner);
        flights.get(key).cloned()
    }

    /// The lead of a new flight; none if somebody leads already.
    pub(super) fn begin(self: &Arc<Self>, hash: u64, key: &[u8]) -> Option<Lead> {
        let shard = hash as usize % SHARDS;
        let mut flights = self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if flights.contains_key(key) {
            return None;
        }
        let (key, flight) = (Box::<[u8]>::from(key), Arc::new(Flight::default()));
        flights.insert(key.clone(), flight.clone());
        self.count.fetch_add(1, Ordering::AcqRel);
        Some(Lead {
            flights: self.clone(),
            key,
            shard,
            flight,
        })
    }
}

impl Lead {
    /// Tells the followers how it has ended.
    pub fn land(self, landing: Landing) {
        self.flight.landing.store(landing as u8, Ordering::Release);
    }

    /// Whether what it brings is put there.
    pub fn leads_to(&self, place: &Place) -> bool {
        *self.key == *place.key()
    }

    /// Whether anybody waits for it.
    pub fn has_followers(&self) -> bool {
        self.flight.followers.load(Ordering::Acquire) > 0
    }

    /// The flight itself, for who must know of its followers.
    pub fn flight(&self) -> Arc<Flight> {
        self.flight.clone()
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut flights = self.flights.shards[self.shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.key);
        drop(flights);
        self.flights.count.fetch_sub(1, Ordering::AcqRel);
        let landing = &self.flight.landing;
        // Nobody but the lead writes it.
        if landing.load(Ordering::Acquire) == 0 {
            landing.store(Landing::Missed as u8, Ordering::Release);
        }
        self.flight.landed.notify_waiters();
    }
}

impl Flight {
    /// Waits for its end.
    pub async fn landed(&self) -> Landing {
        let _follower = Follower::of(self);
        loop {
            let mut landed = std::pin::pin!(self.landed.notified());
            landed.as_mut().enable();
            if let Some(landing) = self.landing() {
                return landing;
            }
            landed.await;
        }
    }

    /// Whether anybody waits for it.
    pub fn has_followers(&self) -> bool {
        self.followers.load(Ordering::Acquire) > 0
    }

    fn landing(&self) -> Option<Landing> {
        match self.landing.load(Ordering::Acquire) {
            0 => None,
            2 => Some(Landing::Stored),
            3 => Some(Landing::Failed),
            _ => Some(Landing::Missed),
        }
    }
}

/// Counts a follower while it waits.
struct Follower<'a>(&'a Flight);

impl<'a> Follower<'a> {
    fn of(flight: &'a Flight) -> Self {
        flight.followers.fetch_add(1, Ordering::AcqRel);
        Self(flight)
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_leads_and_all_others_hear_how_it_ended() {
        let flights = Flights::new();
        assert!(flights.find(1, b"a").is_none());
        let lead = flights.begin(1, b"a").unwrap();
        assert!(flights.begin(1, b"a").is_none());
        let other = flights.begin(1, b"b").unwrap();
        let flight = flights.find(1, b"a").unwrap();
        let follower = tokio::spawn(async move { flight.landed().await });
        while !lead.has_followers() {
            tokio::task::yield_now().await;
        }
        lead.land(Landing::Stored);
        assert_eq!(follower.await.unwrap(), Landing::Stored);
        assert!(flights.find(1, b"a").is_none());
        let late = flights.find(1, b"b").unwrap();
        drop(other);
        assert_eq!(late.landed().await, Landing::Missed);
        assert!(!late.has_followers());
    }

    #[test]
    fn nobody_is_left_behind_whenever_he_came() {
        for _ in 0..200 {
            let flights = Flights::new();
            let lead = flights.begin(7, b"a").unwrap();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    let flight = flights.find(7, b"a").unwrap();
                    scope.spawn(move || {
                        let runtime = tokio::runtime::Builder::new_current_thread()
                            .build()
                            .unwrap();
                        assert_eq!(runtime.block_on(flight.landed()), Landing::Failed);
                    });
                }
                lead.land(Landing::Failed);
            });
        }
    }
}

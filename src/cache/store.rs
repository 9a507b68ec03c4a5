//! Where responses are: by key, bounded by weight, for all cores.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::HeaderMap;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter, sync::DefaultLifecycle};

use super::{Settings, Stored, vary::Names};

/// What an entry takes in the store's own tables, its key's allocation included, in bytes.
const OVERHEAD: u64 = 176;

/// How long a response is taken to be on average, in bytes: from this the store guesses how many keys to remember.
const TYPICAL: u64 = 8 * 1024;

/// The most that one shard gives to what was used more than once: what is heavier does not fit at all.
const HOT: f64 = 0.97;

/// What stands behind a key.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    Stored(Arc<Stored>),
    Variants(Arc<Variants>),
    /// Another form of a stored body.
    Coded(Bytes),
}

/// How the variants of one URI are told apart.
#[derive(Debug)]
pub(super) struct Variants {
    pub(super) names: Names,
    /// Stands in the keys of all of them: without it they are out of reach.
    pub(super) id: u64,
}

impl Variants {
    /// The key of the variant that `request` asks for.
    pub(super) fn write_key(&self, request: &HeaderMap, out: &mut Vec<u8>) {
        out.clear();
        // No URI's key begins so.
        out.extend_from_slice(b"\0vary");
        out.extend_from_slice(&self.id.to_ne_bytes());
        self.names.write_values(request, out);
    }
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Box<[u8]>, Slot> for Weight {
    fn weight(&self, key: &Box<[u8]>, slot: &Slot) -> u64 {
        let weight = match slot {
            Slot::Stored(stored) => stored.weight(),
            Slot::Variants(variants) => size_of::<Variants>() + variants.names.weight(),
            Slot::Coded(body) => body.len(),
        };
        (weight + key.len()) as u64 + OVERHEAD
    }
}

type Inner = quick_cache::sync::Cache<Box<[u8]>, Slot, Weight, DefaultHashBuilder>;

/// How much is in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What is stored, encoded forms and lists of variants included.
    pub entries: u64,
    /// What it weighs, keys and tables included.
    pub bytes: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    inner: Inner,
    heaviest: u64,
}

impl Store {
    pub(super) fn new(settings: &Settings) -> Self {
        let shards = settings.size / settings.max_item_size.saturating_mul(4).max(1);
        let options = OptionsBuilder::new()
            // One that is not a power of two is rounded up, and would make shards too small.
            .shards(1 << shards.clamp(1, 64).ilog2())
            .estimated_items_capacity(
                usize::try_from(settings.size / TYPICAL).unwrap_or(usize::MAX),
            )
            .weight_capacity(settings.size)
            .hot_allocation(HOT)
            .build()
            .expect("both capacities are set");
        let inner = Inner::with_options(
            options,
            Weight,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        );
        let heaviest = (inner.shard_capacity() as f64 * HOT) as u64;
        Self { inner, heaviest }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Slot> {
        self.inner.get(key)
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.inner.contains_key(key)
    }

    /// How much is in it.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            entries: self.inner.len() as u64,
            bytes: self.inner.weight(),
        }
    }

    /// Whether a body of this length can be stored at all.
    pub(super) fn has_room_for(&self, length: u64) -> bool {
        length.saturating_add(4 * 1024) <= self.heaviest.max(8 * 1024)
    }

    pub(super) fn put(&self, key: Box<[u8]>, slot: Slot) {
        self.inner.insert(key, slot);
    }

    pub(super) fn remove(&self, key: &[u8]) {
        self.inner.remove(key);
    }

    /// Removes each response that is `doomed`, and returns how many those were. It looks at all that is stored, one shard
    /// after the other, while requests go on with the others.
    pub(super) fn purge(&self, doomed: impl Fn(&[u8], &Slot) -> bool) -> usize {
        let purged = AtomicUsize::new(0);
        self.inner.retain(|key, slot| {
            let doomed = doomed(key, slot);
            if doomed && !matches!(slot, Slot::Coded(_)) {
                purged.fetch_add(1, Ordering::Relaxed);
            }
            !doomed
        });
        purged.into_inner()
    }
}

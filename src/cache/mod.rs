//! Responses remembered: a shared cache by RFC 9111, for all cores; knows no bodies on their way and no handlers.
//!
//! The caching layer comes in with a request's head and asks [`Cache::find`]; with the head of an answer, and asks [`judge`];
//! and with a whole body, for [`Cache::put`]. Everything that decides is pure; what is shared is the store, the table of what
//! is [`Known`] and the [`Flight`]s, none of them behind a lock that all requests take.

mod asked;
mod control;
mod directive;
mod flight;
mod key;
mod keys;
mod known;
#[cfg(test)]
mod model;
mod purges;
mod reuse;
mod storable;
mod store;
mod stored;
mod tags;
mod targeted;
mod terms;
mod update;
mod vary;

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use quick_cache::DefaultHashBuilder;

pub use self::{
    asked::Asked,
    control::Control,
    directive::has,
    flight::{Flight, Landing, Lead},
    key::{Steering, Target},
    keys::Keys,
    known::Known,
    reuse::{Reuse, decide, serves_error, serves_outage},
    storable::{Question, Unstorable, judge},
    store::Usage,
    stored::Stored,
    targeted::CDN_CACHE_CONTROL,
    terms::{Terms, Times},
    update::{confirms, refresh},
    vary::add as add_vary,
};
use self::{
    flight::Flights,
    known::Knowledge,
    purges::Purges,
    store::{Slot, Store, Variants},
    vary::Names,
};

/// How many counters tell invalidations apart: of two URIs with the same one, a change to either keeps what is on its way
/// for the other from being stored, this once.
const EPOCHS: usize = 1 << 14;

/// What the cache was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `CACHE_SIZE`: how many bytes it may hold, keys and heads included; 0 is no cache.
    pub size: u64,
    /// `MAX_CACHE_ITEM_SIZE`: the longest body that is kept, in bytes.
    pub max_item_size: u64,
    /// `CACHE_REQUIRE_PUBLIC`: keep only what says `public` or `s-maxage`.
    pub require_public: bool,
}

/// A handle on the cache, one for all cores.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    store: Store,
    known: Knowledge,
    flights: Arc<Flights>,
    hasher: DefaultHashBuilder,
    /// How often something under keys with this hash was invalidated.
    epochs: Box<[AtomicU32]>,
    purges: Purges,
    next_id: AtomicU64,
}

/// What is stored for a request.
#[derive(Clone, Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Other variants only.
    NoVariant,
    /// This.
    Stored(Arc<Stored>),
}

/// Where a response on its way will be put.
#[derive(Debug)]
pub struct Place {
    key: Box<[u8]>,
    hash: u64,
    epoch: u32,
    purges: u64,
}

impl Place {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Cache {
    /// An empty cache.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            settings,
            store: Store::new(&settings),
            known: Knowledge::new(),
            flights: Flights::new(),
            hasher: DefaultHashBuilder::default(),
            epochs: (0..EPOCHS).map(|_| AtomicU32::new(0)).collect(),
            purges: Purges::default(),
            next_id: AtomicU64::new(1),
        }))
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// How much is in it. Asks every shard, so not for each request.
    pub fn usage(&self) -> Usage {
        self.0.store.usage()
    }

    /// Makes the keys of a request to `target`, whose headers are `request`; `links` says that some belong to the key.
    pub fn write_keys(
        &self,
        target: &Target<'_>,
        request: &HeaderMap,
        links: bool,
        keys: &mut Keys,
    ) {
        keys.variant.clear();
        key::write(target, request, links, &mut keys.primary);
        keys.hash = self.0.hasher.hash_one(&keys.primary[..]);
        keys.epoch = self.epoch(keys.hash).load(Ordering::Acquire);
        keys.purges = self.0.purges.count();
    }

    /// What is stored under `keys` for a request with these headers; the key of its variant is among them afterwards.
    pub fn find(&self, keys: &mut Keys, request: &HeaderMap) -> Found {
        keys.variant.clear();
        let variants = match self.0.store.get(&keys.primary) {
            None | Some(Slot::Coded(_)) => return Found::Nothing,
            Some(Slot::Stored(stored)) => return Found::Stored(stored),
            Some(Slot::Variants(variants)) => variants,
        };
        variants.write_key(request, &mut keys.variant);
        match self.0.store.get(&keys.variant) {
            Some(Slot::Stored(stored)) => Found::Stored(stored),
            _ => Found::NoVariant,
        }
    }

    /// The place for a response with these headers to a request with those; from here on variants are told apart by what both
    /// it and its predecessors vary with (RFC 9111 section 4.1).
    ///
    /// # Errors
    /// When it varies and the request's headers are not at hand, or when it varies with too much.
    pub fn place(
        &self,
        keys: &Keys,
        request: Option<&HeaderMap>,
        response: &HeaderMap,
    ) -> Result<Place, Unstorable> {
        let place = |key: &[u8]| Place {
            key: key.into(),
            hash: keys.hash,
            epoch: keys.epoch,
            purges: keys.purges,
        };
        let names = Names::of(response).ok_or(Unstorable::Vary)?;
        let known = match self.0.store.get(&keys.primary) {
            Some(Slot::Variants(variants)) => Some(variants),
            _ if names.is_empty() => return Ok(place(&keys.primary)),
            _ => None,
        };
        let request = request.ok_or(Unstorable::Unprepared)?;
        let variants = self.widen(&keys.primary, known, &names)?;
        let mut key = Vec::new();
        variants.write_key(request, &mut key);
        Ok(place(&key))
    }

    /// How variants are told apart once one more varies with `names`.
    fn widen(
        &self,
        primary: &[u8],
        known: Option<Arc<Variants>>,
        names: &Names,
    ) -> Result<Arc<Variants>, Unstorable> {
        let names = match known {
            None => names.clone(),
            Some(known) => match known.names.with(names) {
                Some(all) if all == known.names => return Ok(known),
                all => all.ok_or(Unstorable::Vary)?,
            },
        };
        let id = self.next_id();
        let variants = Arc::new(Variants { names, id });
        self.0
            .store
            .put(primary.into(), Slot::Variants(variants.clone()));
        Ok(variants)
    }

    /// Where what `keys` found is.
    pub fn place_of(&self, keys: &Keys) -> Place {
        Place {
            key: keys.current().into(),
            hash: keys.hash,
            epoch: keys.epoch,
            purges: keys.purges,
        }
    }

    /// Stores a response, unless its URI was invalidated (RFC 9111 section 4.4), or one of its tags purged, since it was
    /// asked for.
    pub fn put(&self, place: &Place, stored: &Arc<Stored>) {
        if !self.is_overtaken(place, stored) {
            let slot = Slot::Stored(stored.clone());
            self.0.store.put(place.key.clone(), slot);
            // Whoever purged in between may have looked before it was there.
            if self.is_overtaken(place, stored) {
                self.0.store.remove(&place.key);
            }
        }
    }

    fn is_overtaken(&self, place: &Place, stored: &Stored) -> bool {
        self.epoch(place.hash).load(Ordering::Acquire) != place.epoch
            || self.0.purges.hit(stored, place.purges)
    }

    /// Forgets everything under this URI, and what is on its way there.
    pub fn invalidate(&self, keys: &Keys) {
        self.epoch(keys.hash).fetch_add(1, Ordering::AcqRel);
        if self.0.store.contains(&keys.primary) {
            self.0.store.remove(&keys.primary);
        }
    }

    /// Forgets every response with one of these tags, also those on their way, and returns how many were stored.
    pub fn purge_tags(&self, purged: &[impl AsRef<[u8]>]) -> usize {
        self.0.purges.note(purged);
        let has_one = |tag: &[u8]| purged.iter().any(|one| one.as_ref() == tag);
        self.0.store.purge(|_, slot| match slot {
            Slot::Stored(stored) if stored.is_tagged() => tags::of(stored).any(has_one),
            Slot::Stored(_) | Slot::Variants(_) | Slot::Coded(_) => false,
        })
    }

    /// Forgets all that is stored for a URI, whatever else belongs to its keys, and returns how many keys those were; of
    /// variants, their common one.
    pub fn purge_uri(&self, target: &Target<'_>) -> usize {
        let mut keys = Keys::default();
        self.write_keys(target, &HeaderMap::new(), false, &mut keys);
        self.epoch(keys.hash).fetch_add(1, Ordering::AcqRel);
        self.0.store.purge(|key, _| {
            let rest = key.strip_prefix(&*keys.primary);
            rest.is_some_and(|rest| matches!(rest, [] | [0, ..]))
        })
    }

    /// Forgets everything, also what is on its way, and returns how many keys that were.
    pub fn purge_all(&self) -> usize {
        for epoch in &self.0.epochs {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
        self.0.store.purge(|_, _| true)
    }

    /// Forgets what `keys` found.
    pub fn forget(&self, keys: &Keys) {
        self.0.store.remove(keys.current());
    }

    /// Whether a body of this length may be stored.
    pub fn takes(&self, length: u64) -> bool {
        length <= self.0.settings.max_item_size && self.0.store.has_room_for(length)
    }

    /// What was last seen of a URI.
    pub fn known(&self, keys: &Keys) -> Known {
        self.0.known.of(keys.hash)
    }

    /// Remembers whether the answer of a URI could be stored.
    pub fn learn(&self, keys: &Keys, storable: bool) {
        self.0.known.learn(keys.hash, storable);
    }

    /// Who is on the way with what `keys` look for.
    pub fn flight(&self, keys: &Keys) -> Option<Arc<Flight>> {
        self.0.flights.find(keys.hash, keys.current())
    }

    /// Says that one is on the way with what `keys` look for; none if somebody is already.
    pub fn lead(&self, keys: &Keys) -> Option<Lead> {
        self.0.flights.begin(keys.hash, keys.current())
    }

    /// The same, for what will be put there.
    pub fn lead_to(&self, place: &Place) -> Option<Lead> {
        self.0.flights.begin(place.hash, &place.key)
    }

    /// A name that nothing else has.
    pub fn next_id(&self) -> u64 {
        self.0.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// What was made of a stored body, by the name of the coding.
    pub fn coded(&self, content: u64, coding: &str) -> Option<Bytes> {
        match self.0.store.get(&coded_key(content, coding)) {
            Some(Slot::Coded(body)) => Some(body),
            _ => None,
        }
    }

    /// Says that one makes another form of a stored body; if somebody does already, what to wait for.
    ///
    /// # Errors
    /// The other's flight.
    pub fn lead_coded(&self, content: u64, coding: &str) -> Result<Lead, Arc<Flight>> {
        let key = coded_key(content, coding);
        loop {
            if let Some(lead) = self.0.flights.begin(content, &key) {
                return Ok(lead);
            }
            // It may have landed in between.
            if let Some(flight) = self.0.flights.find(content, &key) {
                return Err(flight);
            }
        }
    }

    /// Stores what was made of a stored body.
    pub fn put_coded(&self, content: u64, coding: &str, body: Bytes) {
        self.0
            .store
            .put(coded_key(content, coding).into(), Slot::Coded(body));
    }

    fn epoch(&self, hash: u64) -> &AtomicU32 {
        &self.0.epochs[hash as usize % EPOCHS]
    }
}

impl Stored {
    /// A response as it is stored: `headers` without what belongs to one exchange or was not to be kept.
    pub fn of(
        cache: &Cache,
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
        terms: Terms,
    ) -> Self {
        Self::new(cache.next_id(), status, headers, body, terms)
    }
}

/// No URI's key begins so.
fn coded_key(content: u64, coding: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(b"\0as ");
    let name = coding.as_bytes();
    let length = name.len().min(4);
    key[4..4 + length].copy_from_slice(&name[..length]);
    key[8..].copy_from_slice(&content.to_ne_bytes());
    key
}

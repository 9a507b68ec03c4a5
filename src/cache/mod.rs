//! Bytes remembered: a shared cache by RFC 9111, for all cores; knows no bodies and no handlers.

use std::sync::Arc;

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
pub struct Cache(Arc<Settings>);

impl Cache {
    /// An empty cache.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(settings))
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.0
    }
}

//! The keys of a request, in room that is used again.

/// Under what a request's response is looked for.
#[derive(Debug, Default)]
pub struct Keys {
    /// That of its URI.
    pub(super) primary: Vec<u8>,
    /// That of its variant, once one is known; else empty.
    pub(super) variant: Vec<u8>,
    pub(super) hash: u64,
    /// How often the URI, or another with a hash like its own, had been invalidated.
    pub(super) epoch: u32,
    /// How many tags had been purged.
    pub(super) purges: u64,
}

impl Keys {
    /// Whether the URI is known to have variants.
    pub fn has_variant(&self) -> bool {
        !self.variant.is_empty()
    }

    /// That of the variant where there are several.
    pub fn current(&self) -> &[u8] {
        if self.variant.is_empty() {
            &self.primary
        } else {
            &self.variant
        }
    }
}

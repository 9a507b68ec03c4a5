//! What the app calls a response, so that it can be forgotten by that name: `Surrogate-Key`, separated by spaces, and
//! `Cache-Tag`, by commas, as the well-known CDNs read them. Both stay in the response: a CDN before us may live by them.

use http::HeaderName;

use super::Stored;

pub(super) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
pub(super) const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// The tags of a response, byte for byte.
pub(super) fn of(stored: &Stored) -> impl Iterator<Item = &[u8]> {
    let fields = stored.fields().filter_map(|(name, value)| {
        let separator = separator(name)?;
        Some(value.as_bytes().split(move |byte| *byte == separator))
    });
    let tags = fields.flatten().map(<[u8]>::trim_ascii);
    tags.filter(|tag| !tag.is_empty())
}

fn separator(name: &HeaderName) -> Option<u8> {
    if *name == SURROGATE_KEY {
        Some(b' ')
    } else if *name == CACHE_TAG {
        Some(b',')
    } else {
        None
    }
}

//! A stored response: its head ready to be sent, its body in an allocation of its own.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{CDN_CACHE_CONTROL, Terms, has, tags};

/// What the allocator and the counters take beside each of a few allocations, in bytes.
const OVERHEAD: usize = 160;

/// The same beside a name that is not one of HTTP's own.
const NAME_OVERHEAD: usize = 32;

/// A stored response.
#[derive(Debug)]
pub struct Stored {
    /// The same for as long as the body is: what was made of it is found by this.
    pub content: u64,
    /// The status.
    pub status: StatusCode,
    /// The body, never a part of something larger.
    pub body: Bytes,
    /// How long it may be used.
    pub terms: Terms,
    /// Whether the body is in a file that the head names (`X-Sendfile`, `X-Accel-Redirect`).
    pub names_file: bool,
    /// Whether one of the fields is for us alone.
    is_targeted: bool,
    /// Whether it can be purged by a tag.
    is_tagged: bool,
    fields: Box<[(HeaderName, HeaderValue)]>,
}

impl Stored {
    /// A response as it is to be sent again, `body` being all of it.
    pub fn new(
        content: u64,
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
        terms: Terms,
    ) -> Self {
        let names_file =
            headers.contains_key("x-sendfile") || headers.contains_key("x-accel-redirect");
        Self {
            content,
            status,
            body,
            terms,
            names_file,
            is_targeted: has(headers, &CDN_CACHE_CONTROL),
            is_tagged: has(headers, &tags::SURROGATE_KEY) || has(headers, &tags::CACHE_TAG),
            fields: packed(headers),
        }
    }

    /// Its headers, in the room of an old map.
    pub fn headers(&self, mut room: HeaderMap) -> HeaderMap {
        room.clear();
        // As many as are added on the way out.
        room.reserve(self.fields.len() + 4);
        for (name, value) in &self.fields {
            if !self.is_targeted || *name != CDN_CACHE_CONTROL {
                room.append(name.clone(), value.clone());
            }
        }
        room
    }

    /// Its headers with those that are for us alone.
    pub fn all_headers(&self) -> HeaderMap {
        self.fields.iter().cloned().collect()
    }

    /// The value of the first field of this name.
    pub fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value)
    }

    /// All its fields, as they are.
    pub(super) fn fields(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.fields.iter()
    }

    /// Whether it can be purged by a tag.
    pub(super) fn is_tagged(&self) -> bool {
        self.is_tagged
    }

    /// Whether the app can be asked if it still holds.
    pub fn has_validator(&self) -> bool {
        self.field(&header::ETAG).is_some() || self.field(&header::LAST_MODIFIED).is_some()
    }

    /// What it takes of the memory, in bytes. Of names it is not to be seen which lie in an allocation of their own.
    pub(super) fn weight(&self) -> usize {
        let field = |(name, value): &(HeaderName, HeaderValue)| {
            name.as_str().len() + NAME_OVERHEAD + value.len()
        };
        let texts: usize = self.fields.iter().map(field).sum();
        size_of::<Self>() + size_of_val(&*self.fields) + texts + self.body.len() + OVERHEAD
    }
}

/// The headers with all their values in one allocation, whatever they were parts of before.
fn packed(headers: &HeaderMap) -> Box<[(HeaderName, HeaderValue)]> {
    let mut text = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    for value in headers.values() {
        text.extend_from_slice(value.as_bytes());
    }
    let mut text = text.freeze();
    let fields = headers.iter().map(|(name, value)| {
        let bytes = text.split_to(value.len());
        let packed = HeaderValue::from_maybe_shared(bytes);
        (name.clone(), packed.unwrap_or_else(|_| value.clone()))
    });
    fields.collect()
}

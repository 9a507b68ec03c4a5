//! X-Request-Id: the client's own if it is one, else a new one; the same in the log and at the app.

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::handler::{Handler, Request, RequestId, Response};

/// The header, in both directions.
pub(super) const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is kept, in bytes; Rails cuts at 255.
const LONGEST: usize = 200;

const HEX: &[u8; 16] = b"0123456789abcdef";

thread_local! {
    /// The standard library's only source of randomness; ids are not secrets.
    static IDS: Ids = Ids::new([seed() | 1, seed()]);
}

fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Lets each request keep the id that it came with.
#[derive(Debug)]
pub(super) struct RequestIds<H> {
    next: H,
}

impl<H> RequestIds<H> {
    pub(super) fn new(next: H) -> Self {
        Self { next }
    }
}

/// Makes `id` one if there is none yet: by the first who tells it to anybody, as an answer from the cache needs none.
pub(super) fn ensure(id: &mut RequestId) {
    if matches!(id, RequestId::None) {
        *id = IDS.with(Ids::create);
    }
}

/// The ids of one core.
#[derive(Debug)]
struct Ids(Cell<[u64; 2]>);

impl Ids {
    fn new(state: [u64; 2]) -> Self {
        Self(Cell::new(state))
    }

    /// A version 4 UUID (RFC 9562 section 5.4).
    fn create(&self) -> RequestId {
        let [high, low] = [self.random(), self.random()];
        let high = high & !0xf000 | 0x4000;
        let low = low & !(0b11 << 62) | 0b10 << 62;
        let mut digits = [0; 32];
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 0xf)];
        }
        let mut text = [b'-'; 36];
        for (place, from) in [
            (0, 0..8),
            (9, 8..12),
            (14, 12..16),
            (19, 16..20),
            (24, 20..32),
        ] {
            text[place..place + from.len()].copy_from_slice(&digits[from]);
        }
        RequestId::Made(text)
    }

    /// xorshift128+.
    fn random(&self) -> u64 {
        let [mut one, other] = self.0.get();
        one ^= one << 23;
        one ^= one >> 17;
        one ^= other ^ (other >> 26);
        self.0.set([other, one]);
        one.wrapping_add(other)
    }
}

/// The client's id: a single line of visible ASCII without quotes.
fn kept(headers: &HeaderMap) -> Option<&HeaderValue> {
    // To look at each name is less than to hash this one.
    let (_, value) = headers.iter().find(|(name, _)| **name == NAME)?;
    let bytes = value.as_bytes();
    let plain = bytes
        .iter()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    (plain && !bytes.is_empty() && bytes.len() <= LONGEST).then_some(value)
}

impl<H: Handler> Handler for RequestIds<H> {
    async fn handle(&self, mut request: Box<Request>) -> Response {
        if let Some(value) = kept(&request.head.headers) {
            request.id = RequestId::Kept(value.clone());
        }
        self.next.handle(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_4_uuids_and_differ() {
        let ids = Ids::new([seed() | 1, seed()]);
        let texts: std::collections::HashSet<_> = (0..1000)
            .map(|_| ids.create().as_bytes().to_vec())
            .collect();
        assert_eq!(texts.len(), 1000);
        for text in texts {
            let text = String::from_utf8(text).unwrap();
            assert_eq!(text.len(), 36);
            assert_eq!(&text[14..15], "4", "{text}");
            assert!("89ab".contains(&text[19..20]), "{text}");
            let dashes: Vec<_> = text.match_indices('-').map(|(at, _)| at).collect();
            assert_eq!(dashes, [8, 13, 18, 23]);
        }
    }

    #[test]
    fn only_a_plain_id_is_kept() {
        let kept_of = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(NAME, HeaderValue::from_bytes(value).unwrap());
            kept(&headers).is_some()
        };
        assert!(kept_of(b"abc-123.:/+="));
        for bad in [
            &b""[..],
            b"a b",
            b"a\"b",
            b"a\\b",
            b"\xff",
            "x".repeat(201).as_bytes(),
        ] {
            assert!(!kept_of(bad), "{bad:?}");
        }
    }
}

//! What an encoded form means for the head of its response.

use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, VARY},
};

use crate::{
    cache::has,
    content::{
        Coding,
        etag::{self, ETag},
    },
    handler::DIGESTS,
};

/// Makes it the head of the encoded form; its length is not known.
pub(in crate::proxy) fn encode(headers: &mut HeaderMap, coding: Coding) {
    // They speak of the plain form: its length, its parts (RFC 9110 section 14.3), its digests.
    for field in [CONTENT_LENGTH, ACCEPT_RANGES].iter().chain(&DIGESTS) {
        headers.remove(field);
    }
    headers.insert(CONTENT_ENCODING, coding.value());
    if let Some(tag) = headers.get(ETAG) {
        match etag::weakened(tag) {
            Some(weak) => headers.insert(ETAG, weak),
            // What is no tag cannot say that it stands for several forms.
            None => headers.remove(ETAG),
        };
    }
}

/// Says that another `Accept-Encoding` might have been answered differently (RFC 9110 section 12.5.5), once.
pub(in crate::proxy) fn vary(headers: &mut HeaderMap) {
    if !varies_by(headers, ACCEPT_ENCODING.as_str()) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Whether `Vary` names `field`, or everything.
pub(super) fn varies_by(headers: &HeaderMap, field: &str) -> bool {
    // To look at each name is less than to hash this one.
    has(headers, &VARY)
        && headers.get_all(VARY).iter().any(|value| {
            let mut names = value.as_bytes().split(|byte| *byte == b',');
            names.any(|name| {
                let name = name.trim_ascii();
                name == b"*" || name.eq_ignore_ascii_case(field.as_bytes())
            })
        })
}

/// What the client has stays what it was told: `known` are the tags that it asked with.
///
/// A cache takes the fields of a 304 over into what it has stored (RFC 9111 section 3.2): neither may it take what we
/// encoded for the plain form, nor forget that there are several (RFC 9110 section 15.4.5).
pub(super) fn not_modified(headers: &mut HeaderMap, known: Option<&HeaderValue>) {
    let weak = known.and_then(|known| weakly_known(headers, known));
    if weak.is_some() || headers.contains_key(VARY) {
        vary(headers);
    }
    if let Some(weak) = weak {
        headers.insert(ETAG, weak);
    }
}

/// The weak form of this response's tag, if the client knows it by that: then what it has may be encoded.
fn weakly_known(headers: &HeaderMap, known: &HeaderValue) -> Option<HeaderValue> {
    let tag = headers.get(ETAG)?;
    let parsed = ETag::parse(tag.as_bytes())?;
    etag::list(known.as_bytes())
        .any(|known| !known.is_strong() && known.weak_eq(parsed))
        .then(|| etag::weakened(tag))?
}

/// The length that the head tells.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn vary_is_said_once_and_not_beside_a_star() {
        for (before, after) in [
            (&[][..], &["Accept-Encoding"][..]),
            (&["Accept"], &["Accept", "Accept-Encoding"]),
            (&["accept, ACCEPT-encoding"], &["accept, ACCEPT-encoding"]),
            (
                &["Accept", "Accept-Encoding"],
                &["Accept", "Accept-Encoding"],
            ),
            (&["*"], &["*"]),
            (&["Cookie,*"], &["Cookie,*"]),
            (
                &["X-Accept-Encoding"],
                &["X-Accept-Encoding", "Accept-Encoding"],
            ),
        ] {
            let mut headers = HeaderMap::new();
            for value in before {
                headers.append(VARY, HeaderValue::from_static(value));
            }
            vary(&mut headers);
            let values: Vec<_> = headers.get_all(VARY).iter().collect();
            assert_eq!(values, after, "{before:?}");
        }
    }

    #[test]
    fn what_speaks_of_the_plain_bytes_goes() {
        let mut before = headers(&[
            ("content-type", "text/html"),
            ("content-length", "2000"),
            ("accept-ranges", "bytes"),
            ("content-md5", "x"),
            ("digest", "x"),
            ("repr-digest", "x"),
            ("content-digest", "x"),
            ("etag", "\"a\""),
        ]);
        encode(&mut before, Coding::Gzip);
        let after = headers(&[
            ("content-type", "text/html"),
            ("content-encoding", "gzip"),
            ("etag", "W/\"a\""),
        ]);
        assert_eq!(before, after);
    }

    #[test]
    fn only_strong_tags_are_weakened_and_what_is_none_goes() {
        for (before, after) in [
            ("\"a\"", Some("W/\"a\"")),
            ("W/\"a\"", Some("W/\"a\"")),
            ("a", None),
        ] {
            let mut headers = headers(&[("etag", before)]);
            encode(&mut headers, Coding::Br);
            let tag = headers.get(ETAG).map(|tag| tag.to_str().unwrap());
            assert_eq!(tag, after, "{before}");
        }
    }

    #[test]
    fn a_304_speaks_of_what_the_client_has() {
        for (known, tag, after) in [
            ("W/\"a\"", "\"a\"", "W/\"a\""),
            ("\"b\", W/\"a\"", "\"a\"", "W/\"a\""),
            ("\"a\"", "\"a\"", "\"a\""),
            ("W/\"b\"", "\"a\"", "\"a\""),
            ("*", "\"a\"", "\"a\""),
            ("W/\"a\"", "W/\"a\"", "W/\"a\""),
        ] {
            let mut headers = headers(&[("etag", tag), ("vary", "Accept")]);
            not_modified(&mut headers, Some(&HeaderValue::from_static(known)));
            assert_eq!(headers[ETAG], after, "{known} {tag}");
            assert!(varies_by(&headers, "accept-encoding"));
        }
        let mut silent = headers(&[("etag", "\"a\"")]);
        not_modified(&mut silent, None);
        assert!(!silent.contains_key(VARY));
        not_modified(&mut silent, Some(&HeaderValue::from_static("W/\"a\"")));
        assert_eq!(silent[VARY], "Accept-Encoding");
    }
}

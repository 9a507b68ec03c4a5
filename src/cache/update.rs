//! What the head of a 304 changes in a stored one (RFC 9111 sections 3.2 and 4.3.4).

use http::{HeaderMap, HeaderName, header};

use crate::content::etag::ETag;

/// Whether a 304 speaks of what is stored: an app that names another tag has something else in mind.
pub fn confirms(stored: &HeaderMap, fresh: &HeaderMap) -> bool {
    let tag = |headers: &HeaderMap| headers.get(header::ETAG).cloned();
    match (tag(stored), tag(fresh)) {
        (Some(stored), Some(fresh)) => {
            let same = ETag::parse(stored.as_bytes())
                .zip(ETag::parse(fresh.as_bytes()))
                .is_some_and(|(stored, fresh)| stored.weak_eq(fresh));
            same || stored == fresh
        }
        _ => true,
    }
}

/// The stored head with what the fresh one says in its place.
pub fn refresh(mut stored: HeaderMap, fresh: &HeaderMap) -> HeaderMap {
    // Its own age, or none: not that of before.
    stored.remove(header::AGE);
    let updates = |name: &&HeaderName| !describes_the_body(name);
    for name in fresh.keys().filter(updates) {
        stored.remove(name);
        for value in fresh.get_all(name) {
            stored.append(name.clone(), value.clone());
        }
    }
    stored
}

/// What belongs to the bytes that are stored, or to this one exchange.
fn describes_the_body(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONTENT_LENGTH
            | header::CONTENT_ENCODING
            | header::CONTENT_RANGE
            | header::TRANSFER_ENCODING
            | header::TRAILER
            | header::SET_COOKIE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn each_field_of_the_304_replaces_all_of_its_name() {
        let stored = headers(&[
            ("etag", "\"a\""),
            ("age", "7"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("x-kept", "1"),
            ("content-length", "5"),
            ("content-type", "text/plain"),
        ]);
        let fresh = headers(&[
            ("x-many", "3"),
            ("x-many", "4"),
            ("x-new", "1"),
            ("content-length", "0"),
            ("content-encoding", "gzip"),
            ("content-type", "text/html"),
            ("set-cookie", "a=b"),
        ]);
        let expected = headers(&[
            ("etag", "\"a\""),
            ("x-many", "3"),
            ("x-many", "4"),
            ("x-kept", "1"),
            ("x-new", "1"),
            ("content-length", "5"),
            ("content-type", "text/html"),
        ]);
        assert_eq!(refresh(stored, &fresh), expected);
    }

    #[test]
    fn another_tag_is_about_something_else() {
        for (stored, fresh, same) in [
            (Some("\"a\""), Some("\"a\""), true),
            (Some("\"a\""), Some("W/\"a\""), true),
            (Some("\"a\""), Some("\"b\""), false),
            (Some("\"a\""), None, true),
            (None, Some("\"a\""), true),
            (Some("a"), Some("a"), true),
        ] {
            let of =
                |tag: Option<&str>| tag.map_or(HeaderMap::new(), |tag| headers(&[("etag", tag)]));
            assert_eq!(
                confirms(&of(stored), &of(fresh)),
                same,
                "{stored:?} {fresh:?}"
            );
        }
    }
}

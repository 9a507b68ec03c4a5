//! Entity tags (RFC 9110 section 8.8.3).

use http::HeaderValue;

/// An entity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag<'a> {
    weak: bool,
    /// The quotes included.
    opaque: &'a [u8],
}

impl<'a> ETag<'a> {
    /// A tag; none where it is not one, quotes and all.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (tag, rest) = first(text.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// Whether it stands for these very bytes.
    pub fn is_strong(self) -> bool {
        !self.weak
    }

    /// Both strong and the same (RFC 9110 section 8.8.3.2).
    pub fn strong_eq(self, other: ETag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// The same but for their strength (RFC 9110 section 8.8.3.2).
    pub fn weak_eq(self, other: ETag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// The tags of a list, in which commas may stand inside of tags; it ends where it is malformed.
pub fn list(text: &[u8]) -> impl Iterator<Item = ETag<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = skip(rest);
        let (tag, after) = first(rest)?;
        rest = after;
        Some(tag)
    })
}

/// The tag for another form of the same content: what was strong is weak (RFC 9110 section 8.8.3.3).
pub fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    let parsed = ETag::parse(tag.as_bytes())?;
    if parsed.weak {
        return Some(tag.clone());
    }
    HeaderValue::from_bytes(&[b"W/", parsed.opaque].concat()).ok()
}

fn first(text: &[u8]) -> Option<(ETag<'_>, &[u8])> {
    let (weak, quoted) = match text.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let inner = quoted.strip_prefix(b"\"")?;
    let length = inner.iter().position(|byte| *byte == b'"')?;
    let plain = |byte: &u8| *byte == 0x21 || (0x23..=0x7e).contains(byte) || *byte >= 0x80;
    if !inner[..length].iter().all(plain) {
        return None;
    }
    let (opaque, rest) = quoted.split_at(length + 2);
    Some((ETag { weak, opaque }, rest))
}

fn skip(text: &[u8]) -> &[u8] {
    let between = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
    let start = text.iter().position(|byte| !between(byte));
    &text[start.unwrap_or(text.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quoted_text_is_a_tag() {
        for good in [
            &b"\"\""[..],
            b"\"a\"",
            b"W/\"a\"",
            b" \"a,b\" ",
            b"\"\xe9\"",
        ] {
            assert!(ETag::parse(good).is_some(), "{good:?}");
        }
        for bad in [
            &b""[..],
            b"a",
            b"\"a",
            b"a\"",
            b"w/\"a\"",
            b"\"a b\"",
            b"\"a\"b",
            b"\"a\"\"",
            b"*",
        ] {
            assert!(ETag::parse(bad).is_none(), "{bad:?}");
        }
    }

    /// The table of RFC 9110 section 8.8.3.2.
    #[test]
    fn comparison_is_strong_or_weak() {
        for (one, other, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            let (one, other) = (
                ETag::parse(one.as_bytes()).unwrap(),
                ETag::parse(other.as_bytes()).unwrap(),
            );
            assert_eq!(
                (one.strong_eq(other), one.weak_eq(other)),
                (strong, weak),
                "{one:?} {other:?}"
            );
        }
    }

    #[test]
    fn a_list_holds_tags_with_commas_and_ends_at_nonsense() {
        let tags = |text: &'static str| list(text.as_bytes()).count();
        assert_eq!(tags("\"a\", W/\"b,c\" ,,\"d\""), 3);
        assert_eq!(tags("\"a\", b, \"c\""), 1);
        assert_eq!(tags(""), 0);
    }

    #[test]
    fn weakening_keeps_what_is_weak() {
        let weak = |tag: &'static str| weakened(&HeaderValue::from_static(tag));
        assert_eq!(weak("\"a\"").unwrap(), "W/\"a\"");
        assert_eq!(weak("W/\"a\"").unwrap(), "W/\"a\"");
        assert_eq!(weak("a"), None);
    }
}

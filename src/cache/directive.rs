//! The members of a Cache-Control field, taken apart (RFC 9111 section 5.2).

use http::{HeaderMap, HeaderName};

/// What is longer than this many seconds is this long (RFC 9111 section 1.2.2).
pub(super) const FOREVER: u32 = 1 << 31;

/// Whether there is a field of this name: in a head of a few fields found sooner than by its hash, if it is not there.
pub fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|known| known == name)
}

/// `name`, `name=token` or `name="quoted string"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directive<'a> {
    name: &'a [u8],
    /// Without its quotes; what is escaped in it stays so.
    value: Option<&'a [u8]>,
}

impl<'a> Directive<'a> {
    /// Whether it is called so, in any case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Its argument.
    pub(super) fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// Its argument as delta-seconds, quoted or not; none where it is not a number.
    pub(super) fn seconds(&self) -> Option<u32> {
        seconds(self.value?)
    }
}

/// Digits and nothing else; those that do not fit are [`FOREVER`].
pub(super) fn seconds(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
    digits.then(|| number(text).map_or(FOREVER, |number| number.min(FOREVER)))
}

/// All directives of all fields of this name.
///
/// A quoted string that does not end is none: what stands in it counts, as it may forbid something.
pub(super) fn directives(
    headers: &HeaderMap,
    name: HeaderName,
) -> impl Iterator<Item = Directive<'_>> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| {
        let mut rest = value.as_bytes();
        std::iter::from_fn(move || next(&mut rest))
    })
}

/// The names in an argument that is a list of them, such as that of `private="a, b"`.
pub(super) fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let names = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names.filter(|name| !name.is_empty())
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<Directive<'a>> {
    while !rest.is_empty() {
        let (member, after) = rest.split_at(end_of_member(rest));
        *rest = after.get(1..).unwrap_or_default();
        let member = member.trim_ascii();
        if !member.is_empty() {
            return Some(directive(member));
        }
    }
    None
}

/// Where the next comma stands that is not in a quoted string.
fn end_of_member(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b',' => return at,
            b'"' => at += quoted(&text[at..]).unwrap_or(1),
            _ => at += 1,
        }
    }
    at
}

/// How long the quoted string is that begins here, both quotes included; none if it does not end.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn directive(member: &[u8]) -> Directive<'_> {
    let Some(place) = member.iter().position(|byte| *byte == b'=') else {
        return Directive {
            name: member,
            value: None,
        };
    };
    let (name, value) = (
        member[..place].trim_ascii(),
        member[place + 1..].trim_ascii(),
    );
    let unquoted = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    Directive {
        name,
        value: Some(unquoted.unwrap_or(value)),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};
    use proptest::prelude::*;

    use super::*;

    fn parsed(value: &[u8]) -> Vec<(String, Option<String>)> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_bytes(value).unwrap(),
        );
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        directives(&headers, header::CACHE_CONTROL)
            .map(|directive| (text(directive.name), directive.value.map(text)))
            .collect()
    }

    #[test]
    fn commas_in_quotes_do_not_part() {
        for (value, expected) in [
            ("", &[][..]),
            (" , ,", &[]),
            ("no-store", &[("no-store", None)]),
            (
                "max-age=1,public",
                &[("max-age", Some("1")), ("public", None)],
            ),
            ("max-age = \"1\" ", &[("max-age", Some("1"))]),
            (
                "private=\"a, b\", x",
                &[("private", Some("a, b")), ("x", None)],
            ),
            ("a=\"\\\", b\", c", &[("a", Some("\\\", b")), ("c", None)]),
            ("a=\"b, no-store", &[("a", Some("\"b")), ("no-store", None)]),
            ("a=\"b\\", &[("a", Some("\"b\\"))]),
            ("a=", &[("a", Some(""))]),
            ("=a", &[("", Some("a"))]),
            ("a=b=c", &[("a", Some("b=c"))]),
        ] {
            let found = parsed(value.as_bytes());
            let found: Vec<_> = found
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref()))
                .collect();
            assert_eq!(found, expected, "{value:?}");
        }
    }

    #[test]
    fn seconds_are_digits_and_end_somewhere() {
        for (text, expected) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("2147483648", Some(FOREVER)),
            ("4294967296", Some(FOREVER)),
            ("99999999999999999999999", Some(FOREVER)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1s", None),
            (" 1", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_plain_no_store_is_seen_whatever_stands_before_it(
            before in "[a-z=\\\\ ,]{0,20}", after in "[a-z=\"\\\\ ,]{0,20}",
        ) {
            let found = parsed(format!("{before}, no-store, {after}").as_bytes());
            prop_assert!(found.iter().any(|(name, _)| name == "no-store"));
        }
    }
}

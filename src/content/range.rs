//! Byte ranges (RFC 9110 section 14).

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header};

/// A request for more ranges than this gets the whole: it asks for work, not for bytes (RFC 9110 section 17.15).
const MOST: usize = 32;

/// Which part of the content a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// All of it: there is no Range, or none that counts.
    Whole,
    /// 206 with these bytes.
    One(Range<u64>),
    /// 206 with these parts, in the client's order; two at least.
    Many(Vec<Range<u64>>),
    /// 416.
    Unsatisfiable,
}

impl Ranges {
    /// What the Range of `request` means to content of `length` bytes.
    ///
    /// What is malformed, of another unit, or asks for more bytes than there are by overlapping, is as if it were not there.
    pub fn of(request: &HeaderMap, length: u64) -> Self {
        let mut fields = request.get_all(header::RANGE).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return Self::Whole;
        };
        field
            .to_str()
            .ok()
            .and_then(|text| parse(text, length))
            .unwrap_or(Self::Whole)
    }
}

/// The `Content-Range` of `range` in content of `length` bytes.
pub fn content_range(range: &Range<u64>, length: u64) -> HeaderValue {
    value(format!("bytes {}-{}/{length}", range.start, range.end - 1))
}

/// The `Content-Range` of a 416.
pub fn unsatisfied(length: u64) -> HeaderValue {
    value(format!("bytes */{length}"))
}

fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
        .expect("digits and punctuation make a value")
}

fn parse(text: &str, length: u64) -> Option<Ranges> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim_ascii().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (mut ranges, mut count) = (Vec::new(), 0);
    for spec in set.split(',').map(str::trim_ascii) {
        if spec.is_empty() {
            continue;
        }
        count += 1;
        ranges.extend(one(spec, length)?);
    }
    let total = ranges
        .iter()
        .map(|range| range.end - range.start)
        .try_fold(0, u64::checked_add)?;
    if count == 0 || count > MOST || (ranges.len() > 1 && total > length) {
        return None;
    }
    Some(match ranges.len() {
        0 => Ranges::Unsatisfiable,
        1 => Ranges::One(ranges.swap_remove(0)),
        _ => Ranges::Many(ranges),
    })
}

/// `first-last`, `first-` or `-suffix`: a range, or nothing if it begins behind the end; none if it is none of these.
fn one(spec: &str, length: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        return Some((suffix > 0 && length > 0).then(|| length.saturating_sub(suffix)..length));
    }
    let first = number(first)?;
    let end = if last.is_empty() {
        length
    } else {
        let last = number(last)?;
        if last < first {
            return None;
        }
        last.saturating_add(1).min(length)
    };
    Some((first < length).then_some(first..end))
}

/// A number of any length; those beyond 64 bits are as good as the last.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str, length: u64) -> Ranges {
        let mut request = HeaderMap::new();
        request.insert(header::RANGE, text.parse().unwrap());
        Ranges::of(&request, length)
    }

    #[test]
    fn ranges_as_the_rfc_has_them() {
        use Ranges::{Many, One, Unsatisfiable, Whole};
        for (text, expected) in [
            ("bytes=0-4", One(0..5)),
            ("bytes=5-", One(5..10)),
            ("bytes=-3", One(7..10)),
            ("bytes=-99", One(0..10)),
            ("bytes=8-99", One(8..10)),
            ("bytes=0-99999999999999999999999", One(0..10)),
            ("BYTES = 0-0", One(0..1)),
            ("bytes=0-1, 4-5", Many(vec![0..2, 4..6])),
            ("bytes=4-5,0-1", Many(vec![4..6, 0..2])),
            ("bytes=0-1,10-12", One(0..2)),
            ("bytes=,0-1,,", One(0..2)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-12,50-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=0-9,0-9", Whole),
            ("bytes=5-4", Whole),
            ("bytes=a-b", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1", Whole),
            ("lines=0-4", Whole),
            ("0-4", Whole),
        ] {
            assert_eq!(of(text, 10), expected, "{text}");
        }
        assert_eq!(of("bytes=0-", 0), Unsatisfiable);
        assert_eq!(of("bytes=-1", 0), Unsatisfiable);
    }

    #[test]
    fn a_swarm_of_ranges_gets_the_whole() {
        let swarm = |count| format!("bytes={}", vec!["0-0"; count].join(","));
        assert!(matches!(of(&swarm(32), 100), Ranges::Many(_)));
        assert_eq!(of(&swarm(33), 100), Ranges::Whole);
    }

    #[test]
    fn two_fields_are_none() {
        let mut request = HeaderMap::new();
        request.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        request.append(header::RANGE, HeaderValue::from_static("bytes=2-3"));
        assert_eq!(Ranges::of(&request, 10), Ranges::Whole);
    }

    proptest! {
        #[test]
        fn ranges_lie_within_the_content(text in "bytes=([0-9]{0,3}-[0-9]{0,3},?){0,5}", length in 0u64..500) {
            let ranges = match of(&text, length) {
                Ranges::One(range) => vec![range],
                Ranges::Many(ranges) => ranges,
                Ranges::Whole | Ranges::Unsatisfiable => Vec::new(),
            };
            for range in ranges {
                prop_assert!(range.start < range.end && range.end <= length, "{range:?}");
            }
        }
    }
}

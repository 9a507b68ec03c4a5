//! Conditional requests, in the order of RFC 9110 section 13.2.2.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, Method, header};

use super::etag::{self, ETag};

/// What is known of the content that a request is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators<'a> {
    /// Its entity tag.
    pub etag: Option<ETag<'a>>,
    /// When it was last changed, in whole seconds.
    pub last_modified: Option<SystemTime>,
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As if there were no condition; a Range counts if [`range_holds`].
    Proceed,
    /// 304: the client has it already.
    NotModified,
    /// 412: it is not what the client takes it for.
    Failed,
}

impl<'a> Validators<'a> {
    /// Those that a response's head names.
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self {
            etag: headers
                .get(header::ETAG)
                .and_then(|tag| ETag::parse(tag.as_bytes())),
            last_modified: date(headers, header::LAST_MODIFIED),
        }
    }
}

/// The fields that make a request conditional, `If-Range` left out.
pub const CONDITIONS: [HeaderName; 4] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
];

/// Whether `request` has any condition of [`CONDITIONS`].
pub fn is_conditional(request: &HeaderMap) -> bool {
    CONDITIONS.iter().any(|name| request.contains_key(name))
}

/// Holds the conditions of `request` against the content as it is, which exists.
pub fn evaluate(method: &Method, request: &HeaderMap, current: &Validators<'_>) -> Outcome {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if request.contains_key(header::IF_MATCH) {
        if !names(request, header::IF_MATCH, current, |one, other| {
            one.strong_eq(other)
        }) {
            return Outcome::Failed;
        }
    } else if let Some(since) = date(request, header::IF_UNMODIFIED_SINCE)
        && current
            .last_modified
            .is_some_and(|modified| modified > since)
    {
        return Outcome::Failed;
    }
    if request.contains_key(header::IF_NONE_MATCH) {
        return match names(request, header::IF_NONE_MATCH, current, |one, other| {
            one.weak_eq(other)
        }) {
            false => Outcome::Proceed,
            true if reads => Outcome::NotModified,
            true => Outcome::Failed,
        };
    }
    match (
        date(request, header::IF_MODIFIED_SINCE),
        current.last_modified,
    ) {
        (Some(since), Some(modified)) if reads && modified <= since => Outcome::NotModified,
        _ => Outcome::Proceed,
    }
}

/// Whether the Range of `request` counts: without `If-Range`, or where that names these very bytes (RFC 9110 section 13.1.5).
pub fn range_holds(request: &HeaderMap, current: &Validators<'_>) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else {
        return true;
    };
    let condition = condition.as_bytes();
    if let Some(tag) = ETag::parse(condition) {
        return current.etag.is_some_and(|current| current.strong_eq(tag));
    }
    let date = parse_date(condition);
    date.is_some() && date == current.last_modified
}

/// Whether a list of tags, or `*`, names the current one.
fn names(
    request: &HeaderMap,
    field: HeaderName,
    current: &Validators<'_>,
    same: fn(ETag<'_>, ETag<'_>) -> bool,
) -> bool {
    request.get_all(field).iter().any(|value| {
        let value = value.as_bytes().trim_ascii();
        value == b"*"
            || current
                .etag
                .is_some_and(|current| etag::list(value).any(|tag| same(tag, current)))
    })
}

/// The date in a field; none where there is none, more than one, or nothing that is one.
fn date(headers: &HeaderMap, field: HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(field).iter();
    let (first, second) = (values.next()?, values.next());
    second.is_none().then(|| parse_date(first.as_bytes()))?
}

fn parse_date(text: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(text).ok()?.trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn outcome(method: &Method, request: &[(&'static str, &str)]) -> Outcome {
        let current = headers(&[("etag", "\"a\""), ("last-modified", NOW)]);
        evaluate(method, &headers(request), &Validators::of(&current))
    }

    #[test]
    fn each_condition_alone() {
        for (field, value, get, put) in [
            ("if-match", "\"a\"", Outcome::Proceed, Outcome::Proceed),
            ("if-match", "*", Outcome::Proceed, Outcome::Proceed),
            (
                "if-match",
                "\"b\", \"a\"",
                Outcome::Proceed,
                Outcome::Proceed,
            ),
            ("if-match", "W/\"a\"", Outcome::Failed, Outcome::Failed),
            ("if-match", "\"b\"", Outcome::Failed, Outcome::Failed),
            (
                "if-unmodified-since",
                NOW,
                Outcome::Proceed,
                Outcome::Proceed,
            ),
            (
                "if-unmodified-since",
                NEW,
                Outcome::Proceed,
                Outcome::Proceed,
            ),
            ("if-unmodified-since", OLD, Outcome::Failed, Outcome::Failed),
            (
                "if-unmodified-since",
                "yesterday",
                Outcome::Proceed,
                Outcome::Proceed,
            ),
            (
                "if-none-match",
                "\"a\"",
                Outcome::NotModified,
                Outcome::Failed,
            ),
            (
                "if-none-match",
                "W/\"a\"",
                Outcome::NotModified,
                Outcome::Failed,
            ),
            (
                "if-none-match",
                "\"b\" , W/\"a\"",
                Outcome::NotModified,
                Outcome::Failed,
            ),
            ("if-none-match", "*", Outcome::NotModified, Outcome::Failed),
            ("if-none-match", "\"b\"", Outcome::Proceed, Outcome::Proceed),
            ("if-none-match", "a", Outcome::Proceed, Outcome::Proceed),
            (
                "if-modified-since",
                NOW,
                Outcome::NotModified,
                Outcome::Proceed,
            ),
            (
                "if-modified-since",
                NEW,
                Outcome::NotModified,
                Outcome::Proceed,
            ),
            ("if-modified-since", OLD, Outcome::Proceed, Outcome::Proceed),
            ("if-modified-since", "", Outcome::Proceed, Outcome::Proceed),
        ] {
            assert_eq!(
                outcome(&Method::GET, &[(field, value)]),
                get,
                "GET {field}: {value}"
            );
            assert_eq!(
                outcome(&Method::HEAD, &[(field, value)]),
                get,
                "HEAD {field}: {value}"
            );
            assert_eq!(
                outcome(&Method::PUT, &[(field, value)]),
                put,
                "PUT {field}: {value}"
            );
        }
    }

    #[test]
    fn tags_come_before_dates_and_if_match_before_if_none_match() {
        for (fields, expected) in [
            (
                [("if-match", "\"a\""), ("if-unmodified-since", OLD)],
                Outcome::Proceed,
            ),
            (
                [("if-none-match", "\"b\""), ("if-modified-since", NEW)],
                Outcome::Proceed,
            ),
            (
                [("if-none-match", "\"a\""), ("if-modified-since", OLD)],
                Outcome::NotModified,
            ),
            (
                [("if-match", "\"b\""), ("if-none-match", "\"a\"")],
                Outcome::Failed,
            ),
            (
                [("if-match", "\"a\""), ("if-none-match", "\"a\"")],
                Outcome::NotModified,
            ),
        ] {
            assert_eq!(outcome(&Method::GET, &fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn content_without_validators_is_always_sent() {
        let none = Validators::default();
        let get = |field, value| evaluate(&Method::GET, &headers(&[(field, value)]), &none);
        assert_eq!(get("if-none-match", "\"a\""), Outcome::Proceed);
        assert_eq!(get("if-modified-since", NEW), Outcome::Proceed);
        assert_eq!(get("if-none-match", "*"), Outcome::NotModified);
        assert_eq!(get("if-match", "\"a\""), Outcome::Failed);
        assert_eq!(get("if-unmodified-since", OLD), Outcome::Proceed);
    }

    #[test]
    fn if_range_takes_strong_tags_and_the_very_date() {
        let current = headers(&[("etag", "\"a\""), ("last-modified", NOW)]);
        let weak = headers(&[("etag", "W/\"a\"")]);
        let holds = |value, current| {
            range_holds(&headers(&[("if-range", value)]), &Validators::of(current))
        };
        for (value, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            (NOW, true),
            (OLD, false),
            (NEW, false),
            ("x", false),
        ] {
            assert_eq!(holds(value, &current), expected, "{value}");
        }
        assert!(!holds("W/\"a\"", &weak) && !holds("\"a\"", &weak));
        assert!(range_holds(&HeaderMap::new(), &Validators::default()));
    }
}

//! Which headers of a request a response was chosen by (RFC 9111 section 4.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The most names by which the variants of one URI are told apart; what varies with more is not stored.
const MOST: usize = 12;

/// What is never the same twice, and ours to write: nothing that varies with it is found again.
const NEVER_TWICE: [&str; 4] = ["*", "x-forwarded-for", "x-request-id", "x-request-start"];

/// The names by which the variants of one URI are told apart: sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(Vec<HeaderName>);

/// Whether what `Vary` says allows a response to be found again.
pub(super) fn is_storable(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::VARY) || Names::of(headers).is_some()
}

impl Names {
    /// Those that a response's `Vary` names; none if there are too many, or the response can never be found again.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut names = Vec::new();
        for value in headers.get_all(header::VARY) {
            for name in super::directive::names(value.as_bytes()) {
                let name = HeaderName::from_bytes(name).ok()?;
                if NEVER_TWICE.contains(&name.as_str()) {
                    return None;
                }
                names.push(name);
            }
        }
        Self::sorted(names)
    }

    /// These and those; none if that is too many.
    pub(super) fn with(&self, other: &Self) -> Option<Self> {
        Self::sorted(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Whether a response with these names is the same for everybody.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes they take, about.
    pub(super) fn weight(&self) -> usize {
        self.0.len() * (size_of::<HeaderName>() + 16)
    }

    /// Writes what `request` says in the fields of these names, so that two requests that write the same mean the same.
    pub(super) fn write_values(&self, request: &HeaderMap, out: &mut Vec<u8>) {
        for name in &self.0 {
            if *name == header::ACCEPT_ENCODING {
                write_codings(request, out);
            } else {
                write_lines(request, name, out);
            }
            out.push(b'\n');
        }
    }

    fn sorted(mut names: Vec<HeaderName>) -> Option<Self> {
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        (names.len() <= MOST).then_some(Self(names))
    }
}

/// The lines as one, the space between members left out; a field that is not there is not one that is empty.
fn write_lines(request: &HeaderMap, name: &HeaderName, out: &mut Vec<u8>) {
    for value in request.get_all(name) {
        for member in value.as_bytes().split(|byte| *byte == b',') {
            out.push(b',');
            out.extend_from_slice(member.trim_ascii());
        }
    }
}

/// The codings in the order of their names: neither it, nor case, nor how a weight is spelled means anything.
fn write_codings(request: &HeaderMap, out: &mut Vec<u8>) {
    let values = request.get_all(header::ACCEPT_ENCODING).iter();
    let members = values.flat_map(|value| super::directive::names(value.as_bytes()));
    let mut codings: Vec<_> = members.map(coding).collect();
    codings.sort_unstable();
    codings.dedup();
    if codings.is_empty() && request.contains_key(header::ACCEPT_ENCODING) {
        out.push(b',');
    }
    for coding in codings {
        out.push(b',');
        out.extend_from_slice(&coding);
    }
}

/// A member in lower case and without its spaces; a weight of one as if it were not there, zeros at a weight's end neither.
fn coding(member: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let mut coding: Vec<u8> = member.iter().copied().filter(plain).collect();
    coding.make_ascii_lowercase();
    if let Some(place) = coding.windows(3).position(|window| window == b";q=")
        && coding[place..].contains(&b'.')
    {
        while coding.ends_with(b"0") {
            coding.pop();
        }
        if coding.ends_with(b".") {
            coding.pop();
        }
    }
    let whole = coding.strip_suffix(b";q=1").map(<[u8]>::len);
    coding.truncate(whole.unwrap_or(coding.len()));
    coding
}

/// Adds a name to `Vary`, unless it is there already.
pub fn add(headers: &mut HeaderMap, name: &'static str) {
    let there = headers.get_all(header::VARY).iter().any(|value| {
        super::directive::names(value.as_bytes())
            .any(|known| known == b"*" || known.eq_ignore_ascii_case(name.as_bytes()))
    });
    if !there {
        headers.append(header::VARY, HeaderValue::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn names(vary: &str) -> Option<Vec<String>> {
        let names = Names::of(&headers(&[("vary", vary)]))?;
        Some(names.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_are_a_set() {
        assert_eq!(
            names("Accept, cookie,,ACCEPT").unwrap(),
            ["accept", "cookie"]
        );
        assert_eq!(names("").unwrap(), [""; 0]);
        for never in ["*", "accept, *", "x y", "X-Forwarded-For"] {
            assert_eq!(names(never), None, "{never}");
        }
        let many: Vec<_> = (0..=MOST).map(|number| format!("x-{number}")).collect();
        assert_eq!(names(&many.join(",")), None);
        assert_eq!(names(&many[1..].join(",")).unwrap().len(), MOST);
    }

    fn written(vary: &'static str, request: &[(&'static str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        let names = Names::of(&headers(&[("vary", vary)])).unwrap();
        names.write_values(&headers(request), &mut out);
        out
    }

    #[test]
    fn values_that_mean_the_same_are_written_the_same() {
        let codings = |value| written("accept-encoding", &[("accept-encoding", value)]);
        for (one, other, same) in [
            ("gzip, br", "br,gzip", true),
            ("GZIP;q=1.0", "gzip", true),
            ("gzip;q=0.50 ", "gzip; q=0.5", true),
            ("gzip;q=1.000", "gzip;q=1", true),
            ("gzip, gzip", "gzip", true),
            ("gzip;q=0", "gzip", false),
            ("gzip;q=0.5", "gzip", false),
            ("gzip;q=0", "gzip;q=0.0", true),
            ("gzip", "br", false),
            ("", "gzip", false),
            ("", "identity", false),
        ] {
            assert_eq!(codings(one) == codings(other), same, "{one:?} {other:?}");
        }
        assert_ne!(codings(""), written("accept-encoding", &[]));
        let accept = |value| written("accept", &[("accept", value)]);
        assert_eq!(accept("a ,b"), accept("a, b"));
        assert_ne!(accept("a, b"), accept("b, a"));
        assert_ne!(accept(""), written("accept", &[]));
        assert_eq!(
            accept("a, b"),
            written("accept", &[("accept", "a"), ("accept", "b")])
        );
    }

    #[test]
    fn a_name_is_added_once() {
        for (vary, expected) in [
            ("accept", 2),
            ("Accept-Encoding", 1),
            ("*", 1),
            ("a, accept-encoding", 1),
        ] {
            let mut headers = headers(&[("vary", vary)]);
            add(&mut headers, "accept-encoding");
            assert_eq!(headers.get_all("vary").iter().count(), expected, "{vary}");
        }
    }

    proptest! {
        #[test]
        fn two_fields_never_run_into_each_other(one in "[a-z, ]{0,8}", two in "[a-z, ]{0,8}") {
            let split = |value: &str| {
                let members: Vec<_> = value.split(',').map(|member| member.trim().to_owned()).collect();
                members
            };
            let request = |one: &str, two: &str| written("x-a, x-b", &[("x-a", one), ("x-b", two)]);
            let same = split(&one) == split(&two);
            prop_assert_eq!(request(&one, &two) == request(&two, &one), same);
        }
    }
}

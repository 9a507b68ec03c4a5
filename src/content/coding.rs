//! Content codings, and which of them a client takes (RFC 9110 section 12.5.3).

use http::{HeaderMap, HeaderValue, header};

/// A content coding that we can produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    /// Zstandard, RFC 8878.
    Zstd,
    /// Brotli, RFC 7932.
    Br,
    /// gzip, RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Br, Self::Gzip];

    /// The coding of this name, in any case; `x-gzip` is gzip (RFC 9110 section 8.4.1.3).
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL
            .into_iter()
            .find(|coding| name.eq_ignore_ascii_case(coding.as_str()))
    }

    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Its name as a header's value.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }

    /// The end of a file's name that holds the coded form of another file.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Zstd => ".zst",
            Self::Br => ".br",
            Self::Gzip => ".gz",
        }
    }
}

/// How much a client likes each coding: its weights in thousandths, 0 being not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    codings: [u16; Coding::ALL.len()],
    /// Its weight where the client gave it one.
    identity: Option<u16>,
}

impl Accepted {
    /// Nothing but the plain form.
    pub const NONE: Self = Self {
        codings: [0; Coding::ALL.len()],
        identity: None,
    };

    /// What `Accept-Encoding` says; without it, and where it is malformed, nothing is coded.
    pub fn by(headers: &HeaderMap) -> Self {
        let mut accepted = Self::NONE;
        let mut listed = [false; Coding::ALL.len()];
        let mut any = None;
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            for member in value.as_bytes().split(|byte| *byte == b',') {
                let Some((name, weight)) = member_of(member) else {
                    continue;
                };
                if name == "*" {
                    any = Some(weight);
                } else if name.eq_ignore_ascii_case("identity") {
                    accepted.identity = Some(weight);
                } else if let Some(coding) = Coding::named(name) {
                    accepted.codings[coding as usize] = weight;
                    listed[coding as usize] = true;
                }
            }
        }
        if let Some(any) = any {
            for (weight, listed) in accepted.codings.iter_mut().zip(listed) {
                if !listed {
                    *weight = any;
                }
            }
        }
        accepted
    }

    /// Whether no coding is taken at all.
    pub fn is_none(&self) -> bool {
        self.codings == Self::NONE.codings
    }

    /// Whether this one is.
    pub fn takes(&self, coding: Coding) -> bool {
        self.codings[coding as usize] > 0
    }

    /// The one of `offered` that the client likes best, of equals the first; none where it likes the plain form better.
    pub fn best(&self, offered: &[Coding]) -> Option<Coding> {
        let weight = |coding: &Coding| self.codings[*coding as usize];
        // Of equals `max_by_key` takes the last.
        let best = *offered.iter().rev().max_by_key(|coding| weight(coding))?;
        let least = self.identity.unwrap_or(0).max(1);
        (weight(&best) >= least).then_some(best)
    }
}

/// A coding's name and its weight in thousandths.
fn member_of(member: &[u8]) -> Option<(&str, u16)> {
    let member = std::str::from_utf8(member).ok()?.trim_ascii();
    let Some((name, parameters)) = member.split_once(';') else {
        return (!member.is_empty()).then_some((member, 1000));
    };
    let mut weight = Some(1000);
    for parameter in parameters.split(';') {
        if let Some((key, value)) = parameter.split_once('=')
            && key.trim_ascii().eq_ignore_ascii_case("q")
        {
            weight = thousandths(value.trim_ascii());
        }
    }
    Some((name.trim_ascii(), weight?))
}

/// `0`, `1`, or up to three digits behind the point (RFC 9110 section 12.4.2).
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, digits) = weight.split_once('.').unwrap_or((weight, ""));
    let plain = digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let part = plain.then(|| format!("{digits:0<3}").parse::<u16>().ok())??;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepted(value: &str) -> Accepted {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
        Accepted::by(&headers)
    }

    fn best(value: &str) -> Option<&'static str> {
        accepted(value).best(&Coding::ALL).map(Coding::as_str)
    }

    #[test]
    fn the_weights_decide_and_then_our_order() {
        for (value, expected) in [
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip, deflate, br", Some("br")),
            ("gzip", Some("gzip")),
            ("GZip", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("gzip;q=1.0, zstd;q=0.9", Some("gzip")),
            ("gzip; q=0.2 , br;Q=0.3", Some("br")),
            ("zstd;q=0, *", Some("br")),
            ("*", Some("zstd")),
            ("*;q=0", None),
            ("gzip;q=0", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip", Some("gzip")),
            ("identity;q=0, gzip;q=0.001", Some("gzip")),
            ("deflate", None),
            ("", None),
            (",,", None),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=x", None),
            ("gzip;q=", None),
        ] {
            assert_eq!(best(value), expected, "{value:?}");
        }
        assert_eq!(Accepted::by(&HeaderMap::new()), Accepted::NONE);
    }

    #[test]
    fn only_what_is_offered_is_chosen() {
        let all = accepted("gzip, br, zstd");
        assert_eq!(all.best(&[Coding::Gzip, Coding::Br]), Some(Coding::Gzip));
        assert_eq!(all.best(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_taken(value in "[a-z*;=,. 01q]{0,40}|((gzip|br|zstd|\\*)(;q=0(\\.[0-9]{1,3})?)?,){0,4}") {
            let accepted = accepted(&value);
            if let Some(coding) = accepted.best(&Coding::ALL) {
                prop_assert!(accepted.takes(coding));
            }
        }
    }
}

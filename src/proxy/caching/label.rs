//! `X-Cache`, `Age` and `Cache-Status` (RFC 9211): what the cache did with a request, and why.

use std::{cell::RefCell, fmt::Write as _, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::cache::{Stored, Unstorable, has};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How many numbers are kept as text.
const NUMBERS: usize = 256;

/// Why a request went to the app (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Why {
    /// It is not one for a cache.
    #[default]
    Bypass,
    /// Its method is not.
    Method,
    /// Nothing is stored under its URI.
    UriMiss,
    /// What is stored is for other headers.
    VaryMiss,
    /// What is stored is too old.
    Stale,
    /// It wants to be asked for.
    Request,
}

/// What became of the app's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stored,
    Left(Unstorable),
    /// Nobody asked.
    Unsaid,
}

/// How a stored response was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Hit,
    /// After another request for the same had brought it.
    Collapsed,
    Stale(Why),
    Revalidated(Why),
}

/// The values of one core, made once.
#[derive(Debug)]
pub(super) struct Labels {
    /// By reason and fate.
    forwarded: Vec<HeaderValue>,
    ages: Numbers,
    hits: Numbers,
}

impl Why {
    const ALL: [Self; 6] = [
        Self::Bypass,
        Self::Method,
        Self::UriMiss,
        Self::VaryMiss,
        Self::Stale,
        Self::Request,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }

    /// Whether nothing was looked for.
    fn bypasses(self) -> bool {
        matches!(self, Self::Bypass | Self::Method)
    }
}

impl Fate {
    const COUNT: usize = Unstorable::ALL.len() + 2;

    fn all() -> impl Iterator<Item = Self> {
        let left = Unstorable::ALL.into_iter().map(Self::Left);
        [Self::Stored, Self::Unsaid].into_iter().chain(left)
    }

    fn index(self) -> usize {
        match self {
            Self::Stored => 0,
            Self::Unsaid => 1,
            Self::Left(reason) => 2 + reason as usize,
        }
    }
}

impl Labels {
    pub(super) fn new() -> Self {
        let all = Why::ALL
            .into_iter()
            .flat_map(|why| Fate::all().map(move |fate| (why, fate)));
        let status = |(why, fate): (Why, Fate)| {
            let fwd = why.as_str();
            value(match fate {
                Fate::Stored => format!("Thrust; fwd={fwd}; stored"),
                Fate::Unsaid => format!("Thrust; fwd={fwd}"),
                Fate::Left(reason) => format!("Thrust; fwd={fwd}; detail={}", reason.as_str()),
            })
        };
        Self {
            forwarded: all.map(status).collect(),
            ages: Numbers::default(),
            hits: Numbers::default(),
        }
    }

    /// Labels an answer of the app's.
    pub(super) fn forwarded(&self, headers: &mut HeaderMap, why: Why, fate: Fate) {
        let word = if why.bypasses() { "bypass" } else { "miss" };
        let status = &self.forwarded[why as usize * Fate::COUNT + fate.index()];
        label(headers, word, status.clone());
    }

    /// Labels an answer of ours that needs none of the app's: 504.
    pub(super) fn refused(headers: &mut HeaderMap) {
        label(
            headers,
            "miss",
            HeaderValue::from_static("Thrust; detail=only-if-cached"),
        );
    }

    /// Labels a stored response.
    pub(super) fn used(&self, headers: &mut HeaderMap, stored: &Stored, how: Use, now: Instant) {
        let (age, ttl) = stored.terms.age_and_ttl(now);
        headers.insert(header::AGE, self.ages.get(age, ""));
        let (word, status) = match how {
            Use::Hit => ("hit", self.hits.get(ttl, "Thrust; hit; ttl=")),
            Use::Collapsed => ("hit", value(format!("Thrust; hit; ttl={ttl}; collapsed"))),
            Use::Stale(why) => ("stale", value(stale(why, ttl))),
            Use::Revalidated(why) => {
                let fwd = why.as_str();
                let status = format!("Thrust; fwd={fwd}; fwd-status=304; ttl={ttl}");
                ("revalidated", value(status))
            }
        };
        label(headers, word, status);
    }
}

/// A stale response that answers is a hit; where the app was asked in vain, it was forwarded.
fn stale(why: Why, ttl: i64) -> String {
    match why {
        Why::Bypass => format!("Thrust; hit; ttl={ttl}; detail=stale"),
        why => format!("Thrust; fwd={}; ttl={ttl}; detail=stale", why.as_str()),
    }
}

/// The app's own `X-Cache` would be taken for ours; its `Cache-Status` stands before ours (RFC 9211 section 2).
fn label(headers: &mut HeaderMap, word: &'static str, status: HeaderValue) {
    if has(headers, &X_CACHE) {
        headers.remove(X_CACHE);
    }
    headers.append(X_CACHE, HeaderValue::from_static(word));
    headers.append(CACHE_STATUS, status);
}

fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
        .expect("letters, digits and punctuation make a value")
}

/// Numbers as text: the same few are asked for within a second.
#[derive(Debug)]
struct Numbers(RefCell<Vec<Option<(i64, HeaderValue)>>>);

impl Default for Numbers {
    fn default() -> Self {
        Self(RefCell::new(vec![None; NUMBERS]))
    }
}

impl Numbers {
    fn get(&self, number: i64, before: &'static str) -> HeaderValue {
        let place = &mut self.0.borrow_mut()[number as usize % NUMBERS];
        if let Some((known, value)) = place
            && *known == number
        {
            return value.clone();
        }
        let mut text = String::with_capacity(before.len() + 20);
        text.push_str(before);
        // Writing to a string cannot fail.
        let _ = write!(text, "{number}");
        let made = value(text);
        *place = Some((number, made.clone()));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_value() {
        let labels = Labels::new();
        for (why, fate, word, status) in [
            (Why::Bypass, Fate::Unsaid, "bypass", "Thrust; fwd=bypass"),
            (Why::Method, Fate::Unsaid, "bypass", "Thrust; fwd=method"),
            (
                Why::UriMiss,
                Fate::Stored,
                "miss",
                "Thrust; fwd=uri-miss; stored",
            ),
            (
                Why::Request,
                Fate::Left(Unstorable::Unprepared),
                "miss",
                "Thrust; fwd=request; detail=unprepared",
            ),
            (
                Why::Stale,
                Fate::Left(Unstorable::SetCookie),
                "miss",
                "Thrust; fwd=stale; detail=set-cookie",
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(X_CACHE, HeaderValue::from_static("theirs"));
            headers.insert(CACHE_STATUS, HeaderValue::from_static("Theirs; hit"));
            labels.forwarded(&mut headers, why, fate);
            assert_eq!(headers[X_CACHE], word);
            let all: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
            assert_eq!(all, ["Theirs; hit", status]);
        }
    }

    #[test]
    fn numbers_are_what_they_say() {
        let numbers = Numbers::default();
        for number in [0, 1, 256, 0, -1, 255, -257, i64::MAX, i64::MIN] {
            assert_eq!(numbers.get(number, "n="), format!("n={number}"));
        }
    }
}

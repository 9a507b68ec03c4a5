//! How long a stored response may be used, and how old it is (RFC 9111 section 4.2).

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::{Control, directive::seconds};

/// Heuristics find nothing fresh for longer than this.
const LONGEST_GUESS: Duration = Duration::from_secs(24 * 60 * 60);

/// When a response was asked for and when its head came.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When the request went out.
    pub asked: Instant,
    /// When the head was in.
    pub answered: Instant,
    /// The same by the clock on the wall.
    pub date: SystemTime,
}

/// What was settled about a response when it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    lifetime: Duration,
    initial_age: Duration,
    answered: Instant,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    /// It is validated each time.
    pub no_cache: bool,
    /// It may not be used stale, whatever happens (section 4.2.4).
    pub forbids_stale: bool,
}

impl Terms {
    /// The terms of a response that is fresh for `lifetime`.
    pub fn new(control: &Control, headers: &HeaderMap, lifetime: Duration, times: &Times) -> Self {
        let within = |seconds: Option<u32>| Duration::from_secs(seconds.unwrap_or(0).into());
        Self {
            lifetime,
            initial_age: initial_age(headers, times),
            answered: times.answered,
            stale_while_revalidate: within(control.stale_while_revalidate),
            stale_if_error: within(control.stale_if_error),
            no_cache: control.no_cache,
            forbids_stale: control.forbids_stale(),
        }
    }

    /// How old it is (section 4.2.3).
    pub fn age(&self, now: Instant) -> Duration {
        self.initial_age + now.saturating_duration_since(self.answered)
    }

    /// How long it is fresh, counted from when it was made.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// For how long it has been stale; none while it is fresh.
    pub fn staleness(&self, now: Instant) -> Option<Duration> {
        self.age(now).checked_sub(self.lifetime)
    }

    /// Its age in seconds, and how many it stays fresh: below zero once it is stale.
    pub fn age_and_ttl(&self, now: Instant) -> (i64, i64) {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let age = seconds(self.age(now));
        (age, seconds(self.lifetime) - age)
    }

    /// Whether others may be answered with it at all without a validation: what nobody can share is not waited for.
    pub fn may_be_shared(&self) -> bool {
        !self.no_cache && self.lifetime > self.initial_age
    }

    /// Whether it may be used while it is refreshed, after so long (RFC 5861 section 3).
    pub fn while_revalidating(&self, stale_for: Duration) -> bool {
        !self.forbids_stale
            && stale_for <= self.stale_while_revalidate
            && !self.stale_while_revalidate.is_zero()
    }

    /// Whether it may be used where the app fails, after so long (RFC 5861 section 4).
    pub fn if_error(&self, stale_for: Duration) -> bool {
        !self.forbids_stale && stale_for <= self.stale_if_error && !self.stale_if_error.is_zero()
    }

    /// Whether it is of any use once it is stale, but for being validated.
    pub fn outlives_itself(&self) -> bool {
        let stale = self.stale_while_revalidate.max(self.stale_if_error);
        !self.forbids_stale && !stale.is_zero()
    }
}

/// How long a response is fresh by what it says (section 4.2.1), in place of Expires what is malformed being the past.
pub(super) fn explicit_lifetime(
    control: &Control,
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<Duration> {
    if let Some(seconds) = control.lifetime() {
        return Some(Duration::from_secs(seconds.into()));
    }
    if control.is_targeted {
        return None;
    }
    let mut values = headers.get_all(header::EXPIRES).iter();
    let first = values.next()?;
    let expires = values
        .next()
        .is_none()
        .then(|| parse_date(first.as_bytes()));
    let lifetime = expires
        .flatten()
        .and_then(|expires| expires.duration_since(date(headers, now)).ok());
    Some(lifetime.unwrap_or(Duration::ZERO))
}

/// A tenth of the time since it was last changed (section 4.2.2), for what may be kept without being told so.
pub(super) fn guessed_lifetime(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let modified = parse_date(headers.get(header::LAST_MODIFIED)?.as_bytes())?;
    let unchanged = date(headers, now).duration_since(modified).ok()?;
    Some((unchanged / 10).min(LONGEST_GUESS))
}

/// The statuses that may be kept without being told so (RFC 9110 section 15.1), those that we never keep left out.
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// The corrected initial age (section 4.2.3). Of several values of Age the first counts, and what is no number does not
/// (section 5.1).
fn initial_age(headers: &HeaderMap, times: &Times) -> Duration {
    let age = headers.get(header::AGE).and_then(|age| {
        let first = age.as_bytes().split(|byte| *byte == b',').next()?;
        seconds(first.trim_ascii())
    });
    let delay = times.answered.saturating_duration_since(times.asked);
    let corrected = Duration::from_secs(age.unwrap_or(0).into()) + delay;
    let apparent = whole_seconds(times.date)
        .checked_sub(whole_seconds(date(headers, times.date)))
        .unwrap_or(Duration::ZERO);
    corrected.max(apparent)
}

fn whole_seconds(time: SystemTime) -> Duration {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    Duration::from_secs(since.unwrap_or_default().as_secs())
}

/// When it was made: what Date says, or else now (RFC 9110 section 6.6.1).
fn date(headers: &HeaderMap, now: SystemTime) -> SystemTime {
    let date = headers.get(header::DATE);
    date.and_then(|date| parse_date(date.as_bytes()))
        .unwrap_or(now)
}

pub(super) fn parse_date(text: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(text).ok()?.trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn now() -> SystemTime {
        parse_date(NOW.as_bytes()).unwrap()
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn explicit(fields: &[(&'static str, &str)]) -> Option<u64> {
        let headers = headers(fields);
        explicit_lifetime(&Control::of(&headers), &headers, now())
            .map(|lifetime| lifetime.as_secs())
    }

    const LATER: (&str, &str) = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");

    #[test]
    fn what_is_said_of_freshness_and_in_which_order() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
        for (fields, expected) in [
            (&[][..], None),
            (&[("cache-control", "max-age=5"), LATER], Some(5)),
            (
                &[("cache-control", "max-age=5, s-maxage=7"), LATER],
                Some(7),
            ),
            (&[("cache-control", "public"), LATER], Some(60)),
            (&[LATER, date], Some(70)),
            (&[LATER, LATER], Some(0)),
            (&[("expires", "0")], Some(0)),
            (&[("expires", NOW)], Some(0)),
            (&[("expires", "Sun, 06 Nov 1994 08:49:00 GMT")], Some(0)),
            (&[("expires", "Sunday, 06-Nov-94 08:49:47 GMT")], Some(10)),
            (&[("cdn-cache-control", "public"), LATER], None),
            (
                &[
                    ("cdn-cache-control", "max-age=3"),
                    ("cache-control", "max-age=9"),
                    LATER,
                ],
                Some(3),
            ),
        ] {
            assert_eq!(explicit(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_tenth_is_guessed_and_never_more_than_a_day() {
        let guess =
            |modified: &str| guessed_lifetime(&headers(&[("last-modified", modified)]), now());
        assert_eq!(
            guess("Sun, 06 Nov 1994 08:47:57 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(guess("Sun, 06 Nov 1983 08:49:37 GMT"), Some(LONGEST_GUESS));
        assert_eq!(guess("Sun, 06 Nov 1994 08:49:38 GMT"), None);
        assert_eq!(guess("once"), None);
    }

    fn terms(fields: &[(&'static str, &str)], delay: u64) -> Terms {
        let (headers, asked) = (headers(fields), Instant::now());
        let times = Times {
            asked,
            answered: asked + Duration::from_secs(delay),
            date: now(),
        };
        let control = Control::of(&headers);
        let lifetime = explicit_lifetime(&control, &headers, now()).unwrap_or_default();
        Terms::new(&control, &headers, lifetime, &times)
    }

    #[test]
    fn the_age_is_the_largest_that_anything_tells() {
        let early = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
        let late = ("date", "Sun, 06 Nov 1994 08:59:27 GMT");
        for (fields, delay, expected) in [
            (&[][..], 0, 0),
            (&[], 3, 3),
            (&[("age", "4")], 3, 7),
            (&[("age", "4, 9")], 0, 4),
            (&[("age", "x")], 0, 0),
            (&[("age", "-1")], 0, 0),
            (&[early], 3, 10),
            (&[early, ("age", "30")], 0, 30),
            (&[late], 2, 2),
            (&[("date", "x")], 2, 2),
        ] {
            let terms = terms(fields, delay);
            let at = terms.answered + Duration::from_secs(5);
            assert_eq!(terms.age(at).as_secs(), expected + 5, "{fields:?} {delay}");
        }
    }

    #[test]
    fn freshness_ends_when_the_lifetime_does() {
        let terms = terms(
            &[
                (
                    "cache-control",
                    "max-age=10, stale-while-revalidate=5, stale-if-error=7",
                ),
                ("age", "4"),
            ],
            0,
        );
        let after = |seconds| terms.answered + Duration::from_secs(seconds);
        assert_eq!(
            (terms.age_and_ttl(after(0)), terms.staleness(after(5))),
            ((4, 6), None)
        );
        assert_eq!(terms.staleness(after(6)), Some(Duration::ZERO));
        assert_eq!(terms.age_and_ttl(after(8)), (12, -2));
        for (stale_for, revalidating, error) in
            [(5, true, true), (6, false, true), (8, false, false)]
        {
            let stale_for = Duration::from_secs(stale_for);
            assert_eq!(
                terms.while_revalidating(stale_for),
                revalidating,
                "{stale_for:?}"
            );
            assert_eq!(terms.if_error(stale_for), error, "{stale_for:?}");
        }
    }

    #[test]
    fn what_may_not_be_stale_has_no_grace() {
        for value in [
            "must-revalidate",
            "proxy-revalidate",
            "s-maxage=0",
            "no-cache",
        ] {
            let value = format!("max-age=0, stale-while-revalidate=9, stale-if-error=9, {value}");
            let terms = terms(&[("cache-control", &value)], 0);
            assert!(!terms.while_revalidating(Duration::ZERO) && !terms.if_error(Duration::ZERO));
            assert!(
                !terms.outlives_itself() && !terms.may_be_shared(),
                "{value}"
            );
        }
    }
}

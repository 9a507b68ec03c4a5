//! Whether a stored response may answer a request (RFC 9111 sections 4 and 5.2.1).

use std::time::{Duration, Instant};

use super::{Asked, Terms};

/// What is to be done with a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It answers.
    Fresh,
    /// It answers although it is stale, and is refreshed meanwhile (RFC 5861 section 3).
    Refresh,
    /// It answers although it is stale: the client said that this is enough.
    Stale,
    /// The app is asked whether it still holds, since it is stale,
    Expired,
    /// or since the client wants that.
    Refused,
}

impl Reuse {
    /// Whether the app need not be waited for.
    pub fn answers(self) -> bool {
        matches!(self, Self::Fresh | Self::Refresh | Self::Stale)
    }
}

/// What a response with these terms is to a request that asks so.
pub fn decide(terms: &Terms, asked: &Asked, now: Instant) -> Reuse {
    if asked.no_cache {
        return Reuse::Refused;
    }
    if terms.no_cache {
        return Reuse::Expired;
    }
    let age = terms.age(now);
    if asked.max_age.is_some_and(|limit| age > seconds(limit)) {
        return Reuse::Refused;
    }
    match age.checked_sub(terms.lifetime()) {
        None => {
            let left = terms.lifetime() - age;
            match asked.min_fresh {
                Some(wanted) if left < seconds(wanted) => Reuse::Refused,
                _ => Reuse::Fresh,
            }
        }
        Some(_) if asked.min_fresh.is_some() => Reuse::Refused,
        Some(_) if terms.forbids_stale => Reuse::Expired,
        Some(stale_for) if terms.while_revalidating(stale_for) => Reuse::Refresh,
        Some(stale_for)
            if asked
                .max_stale
                .is_some_and(|most| stale_for <= seconds(most)) =>
        {
            Reuse::Stale
        }
        Some(_) => Reuse::Expired,
    }
}

/// Whether it may answer where the app fails with a status of its own (RFC 5861 section 4).
pub fn serves_error(terms: &Terms, asked: &Asked, now: Instant) -> bool {
    terms.staleness(now).is_some_and(|stale_for| {
        let asks = asked
            .stale_if_error
            .is_some_and(|most| stale_for <= seconds(most));
        terms.if_error(stale_for) || (asks && !terms.forbids_stale)
    })
}

/// Whether it may answer where there is no app to ask (RFC 9111 section 4.2.4): whatever may be used stale at all, and what is
/// fresh, since what a client asks for is advice.
pub fn serves_outage(terms: &Terms, now: Instant) -> bool {
    !terms.no_cache && (!terms.forbids_stale || terms.staleness(now).is_none())
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, header};

    use super::*;
    use crate::cache::{Control, Times};

    fn terms(value: &str, lifetime: u64) -> (Terms, Instant) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, value.parse().unwrap());
        let answered = Instant::now();
        let times = Times {
            asked: answered,
            answered,
            date: SystemTime::now(),
        };
        let lifetime = Duration::from_secs(lifetime);
        (
            Terms::new(&Control::of(&headers), &headers, lifetime, &times),
            answered,
        )
    }

    /// Of what is fresh for ten seconds.
    fn decided(response: &str, age: u64, request: &str) -> Reuse {
        let (terms, answered) = terms(response, 10);
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, request.parse().unwrap());
        decide(
            &terms,
            &Asked::by(&headers),
            answered + Duration::from_secs(age),
        )
    }

    #[test]
    fn age_directives_and_grace_decide() {
        use Reuse::{Expired, Fresh, Refresh, Refused, Stale};
        for (response, age, request, expected) in [
            ("", 0, "", Fresh),
            ("", 9, "", Fresh),
            ("", 10, "", Expired),
            ("no-cache", 0, "", Expired),
            ("", 0, "no-cache", Refused),
            ("", 5, "max-age=5", Fresh),
            ("", 5, "max-age=4", Refused),
            ("", 0, "max-age=0", Fresh),
            ("", 1, "max-age=0", Refused),
            ("", 5, "min-fresh=5", Fresh),
            ("", 5, "min-fresh=6", Refused),
            ("", 15, "max-stale", Stale),
            ("", 15, "max-stale=5", Stale),
            ("", 16, "max-stale=5", Expired),
            ("", 15, "max-stale, max-age=20", Stale),
            ("", 15, "max-stale, max-age=10", Refused),
            ("", 15, "max-stale, min-fresh=1", Refused),
            ("must-revalidate", 15, "max-stale", Expired),
            ("proxy-revalidate", 15, "max-stale", Expired),
            ("s-maxage=10", 15, "max-stale", Expired),
            ("stale-while-revalidate=5", 15, "", Refresh),
            ("stale-while-revalidate=5", 16, "", Expired),
            ("stale-while-revalidate=5, must-revalidate", 15, "", Expired),
            ("stale-while-revalidate=5", 15, "no-cache", Refused),
            ("stale-if-error=5", 15, "", Expired),
        ] {
            assert_eq!(
                decided(response, age, request),
                expected,
                "{response:?} {age} {request:?}"
            );
        }
    }

    #[test]
    fn errors_and_outages() {
        for (response, age, request, error, outage) in [
            ("", 5, "", false, true),
            ("", 15, "", false, true),
            ("", 15, "stale-if-error=5", true, true),
            ("", 16, "stale-if-error=5", false, true),
            ("stale-if-error=5", 15, "", true, true),
            ("stale-if-error=5", 16, "", false, true),
            (
                "stale-if-error=5, must-revalidate",
                15,
                "stale-if-error=9",
                false,
                false,
            ),
            ("must-revalidate", 5, "", false, true),
            ("s-maxage=10", 15, "", false, false),
            ("proxy-revalidate", 15, "", false, false),
            ("no-cache", 5, "", false, false),
        ] {
            let (terms, answered) = terms(response, 10);
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, request.parse().unwrap());
            let (asked, now) = (Asked::by(&headers), answered + Duration::from_secs(age));
            assert_eq!(
                serves_error(&terms, &asked, now),
                error,
                "{response} {age} {request}"
            );
            assert_eq!(
                serves_outage(&terms, now),
                outage,
                "{response} {age} {request}"
            );
        }
    }
}

//! Which responses may be stored (RFC 9111 section 3), and for those that may not the word that says why.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::{
    Control, Settings, Terms, Times, has,
    terms::{explicit_lifetime, guessed_lifetime, is_heuristically_cacheable},
    vary,
};

/// What is to be known of the request that a response answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Question {
    /// It had `Authorization`.
    pub authorized: bool,
    /// It had `Cache-Control: no-store`.
    pub no_store: bool,
    /// It asked for a part.
    pub range: bool,
    /// Its target has a query.
    pub query: bool,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstorable {
    /// The method is not GET.
    Method,
    /// The request said `no-store`.
    RequestNoStore,
    /// The request asked for a part.
    Range,
    /// The request was authorized, and nothing says that others may see its answer.
    Authorization,
    /// The status is not one that may be stored, or not one that we know.
    Status,
    /// It sets a cookie.
    SetCookie,
    /// It says `no-store`.
    NoStore,
    /// It says `private`.
    Private,
    /// `CACHE_REQUIRE_PUBLIC`: it does not say `public`.
    NotPublic,
    /// It varies with everything, or with what is never the same twice.
    Vary,
    /// It has no freshness and nothing to be validated by.
    NotFresh,
    /// It is longer than `MAX_CACHE_ITEM_SIZE`.
    TooLarge,
    /// Only the end of the connection ends it, and that may come too early.
    Unframed,
    /// An event stream, or another protocol.
    Stream,
    /// Nobody expected it to be storable; the next one will be.
    Unprepared,
}

impl Unstorable {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Method,
        Self::RequestNoStore,
        Self::Range,
        Self::Authorization,
        Self::Status,
        Self::SetCookie,
        Self::NoStore,
        Self::Private,
        Self::NotPublic,
        Self::Vary,
        Self::NotFresh,
        Self::TooLarge,
        Self::Unframed,
        Self::Stream,
        Self::Unprepared,
    ];

    /// The word in Cache-Status (RFC 9211 section 2.8).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestNoStore => "request-no-store",
            Self::Range => "range",
            Self::Authorization => "authorization",
            Self::Status => "status",
            Self::SetCookie => "set-cookie",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NotPublic => "not-public",
            Self::Vary => "vary",
            Self::NotFresh => "not-fresh",
            Self::TooLarge => "too-large",
            Self::Unframed => "unframed",
            Self::Stream => "stream",
            Self::Unprepared => "unprepared",
        }
    }
}

/// What may be stored and until when, from the head of a response to GET.
///
/// # Errors
/// Why it may not.
pub fn judge(
    settings: &Settings,
    question: &Question,
    status: StatusCode,
    headers: &HeaderMap,
    times: impl FnOnce() -> Times,
) -> Result<(Control, Terms), Unstorable> {
    let control = permit(settings, question, status, headers)?;
    let times = times();
    let lifetime = lifetime(settings, question, &control, status, headers, times.date)?;
    let terms = Terms::new(&control, headers, lifetime, &times);
    let validators =
        headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
    let fresh = lifetime > terms.age(times.answered) && !terms.no_cache;
    if fresh || validators || terms.outlives_itself() {
        Ok((control, terms))
    } else {
        Err(Unstorable::NotFresh)
    }
}

/// Everything but how long it is fresh; what is most often said of a page comes first.
fn permit(
    settings: &Settings,
    question: &Question,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Control, Unstorable> {
    if question.no_store {
        return Err(Unstorable::RequestNoStore);
    }
    if question.range {
        return Err(Unstorable::Range);
    }
    if has(headers, &header::SET_COOKIE) {
        return Err(Unstorable::SetCookie);
    }
    if !may_be_stored(status) {
        return Err(Unstorable::Status);
    }
    let control = Control::of(headers);
    let understood = control.must_understand && is_understood(status);
    if control.must_understand && !understood {
        return Err(Unstorable::Status);
    }
    if control.no_store && !understood {
        return Err(Unstorable::NoStore);
    }
    if control.private {
        return Err(Unstorable::Private);
    }
    if settings.require_public && !says_shared(&control) {
        return Err(Unstorable::NotPublic);
    }
    if question.authorized && !control.allows_authorized() {
        return Err(Unstorable::Authorization);
    }
    if !vary::is_storable(headers) {
        return Err(Unstorable::Vary);
    }
    Ok(control)
}

/// Whether it asks to be shared. A lifetime in the field that only shared caches read is as clear as `s-maxage`.
fn says_shared(control: &Control) -> bool {
    control.public
        || control.s_maxage.is_some()
        || (control.is_targeted && control.max_age.is_some())
}

/// How long it is fresh: what it says, or a guess where that is allowed (section 4.2.2).
fn lifetime(
    settings: &Settings,
    question: &Question,
    control: &Control,
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> Result<Duration, Unstorable> {
    if let Some(lifetime) = explicit_lifetime(control, headers, now) {
        return Ok(lifetime);
    }
    if settings.require_public || !(control.public || is_heuristically_cacheable(status)) {
        return Err(Unstorable::NotFresh);
    }
    let guess = (!question.query).then(|| guessed_lifetime(headers, now));
    Ok(guess.flatten().unwrap_or(Duration::ZERO))
}

/// Final, whole (section 3), and not about what is in no key: how the request was framed, conditioned or paced. Of those RFC
/// 6585 forbids 428, 429, 431 and 511; one client's malformed request must not become everybody's answer.
fn may_be_stored(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(
            status.as_u16(),
            206 | 304
                | 400
                | 408
                | 411
                | 412
                | 413
                | 416
                | 417
                | 421
                | 425
                | 426
                | 428
                | 429
                | 431
                | 511
        )
}

/// The statuses whose caching we know (section 5.2.2.3).
fn is_understood(status: StatusCode) -> bool {
    is_heuristically_cacheable(status)
        || matches!(
            status.as_u16(),
            201 | 202
                | 205
                | 302
                | 303
                | 307
                | 401
                | 402
                | 403
                | 406
                | 407
                | 409
                | 415
                | 422
                | 451
                | 500
                | 502..=505
        )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const ONLY_PUBLIC: Settings = Settings {
        size: 1 << 20,
        max_item_size: 1 << 10,
        require_public: true,
    };
    const ALL: Settings = Settings {
        require_public: false,
        ..ONLY_PUBLIC
    };

    const OLD: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    const LATER: (&str, &str) = ("expires", "Sat, 06 Nov 2094 08:49:37 GMT");

    fn judged(
        settings: &Settings,
        question: Question,
        status: u16,
        fields: &[(&'static str, &str)],
    ) -> Result<u64, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let times = || Times {
            asked: Instant::now(),
            answered: Instant::now(),
            date: SystemTime::now(),
        };
        let status = StatusCode::from_u16(status).unwrap();
        match judge(settings, &question, status, &headers, times) {
            Ok((_, terms)) => Ok(terms.lifetime().as_secs()),
            Err(reason) => Err(reason.as_str()),
        }
    }

    fn control(settings: &Settings, value: &str) -> Result<u64, &'static str> {
        judged(
            settings,
            Question::default(),
            200,
            &[("cache-control", value)],
        )
    }

    #[test]
    fn the_gate_of_thruster_lets_through_what_says_public() {
        for (value, expected) in [
            ("public, max-age=60", Ok(60)),
            ("s-maxage=60", Ok(60)),
            ("public, max-age=0, s-maxage=60", Ok(60)),
            ("max-age=60", Err("not-public")),
            ("", Err("not-public")),
            ("public", Err("not-fresh")),
            ("public, max-age=0", Err("not-fresh")),
            ("public, max-age=60, private", Err("private")),
            ("public, no-store, max-age=60", Err("no-store")),
            ("public, no-cache, max-age=60", Err("not-fresh")),
            ("public, max-age=60, private=\"x-a\"", Ok(60)),
            ("public, max-age=60, must-understand, no-store", Ok(60)),
        ] {
            assert_eq!(control(&ONLY_PUBLIC, value), expected, "{value:?}");
        }
        let question = Question::default();
        let public = ("cache-control", "public");
        assert!(judged(&ONLY_PUBLIC, question, 200, &[public, LATER]).is_ok());
        assert_eq!(
            judged(&ONLY_PUBLIC, question, 200, &[public, OLD]),
            Err("not-fresh")
        );
        assert_eq!(
            judged(&ONLY_PUBLIC, question, 200, &[OLD, LATER]),
            Err("not-public")
        );
        let targeted = [
            ("cdn-cache-control", "max-age=9"),
            ("cache-control", "private"),
        ];
        assert_eq!(judged(&ONLY_PUBLIC, question, 200, &targeted), Ok(9));
    }

    #[test]
    fn without_the_gate_the_rfc_decides() {
        for (value, expected) in [
            ("max-age=60", Ok(60)),
            ("", Err("not-fresh")),
            ("max-age=0", Err("not-fresh")),
            ("max-age=0, stale-if-error=5", Ok(0)),
            ("no-store", Err("no-store")),
            ("max-age=60, private", Err("private")),
        ] {
            assert_eq!(control(&ALL, value), expected, "{value:?}");
        }
        let day = 24 * 60 * 60;
        let with = |status, fields: &[_]| judged(&ALL, Question::default(), status, fields);
        assert_eq!(with(200, &[OLD]), Ok(day));
        assert_eq!(with(404, &[OLD]), Ok(day));
        assert_eq!(with(302, &[OLD]), Err("not-fresh"));
        assert_eq!(with(302, &[OLD, ("cache-control", "public")]), Ok(day));
        assert_eq!(with(200, &[("etag", "\"a\"")]), Ok(0));
        assert_eq!(
            with(200, &[("cache-control", "no-cache"), ("etag", "\"a\"")]),
            Ok(0)
        );
        let query = Question {
            query: true,
            ..Question::default()
        };
        assert_eq!(judged(&ALL, query, 200, &[OLD]), Ok(0));
        assert_eq!(
            judged(&ALL, query, 200, &[("cache-control", "max-age=9")]),
            Ok(9)
        );
    }

    #[test]
    fn what_the_request_forbids() {
        let default = Question::default();
        let authorized = Question {
            authorized: true,
            ..default
        };
        for (question, value, expected) in [
            (
                Question {
                    no_store: true,
                    ..default
                },
                "public, max-age=9",
                Err("request-no-store"),
            ),
            (
                Question {
                    range: true,
                    ..default
                },
                "public, max-age=9",
                Err("range"),
            ),
            (authorized, "max-age=9", Err("authorization")),
            (
                authorized,
                "max-age=9, proxy-revalidate",
                Err("authorization"),
            ),
            (authorized, "max-age=9, must-revalidate", Ok(9)),
            (authorized, "max-age=9, public", Ok(9)),
            (authorized, "s-maxage=9", Ok(9)),
        ] {
            let found = judged(&ALL, question, 200, &[("cache-control", value)]);
            assert_eq!(found, expected, "{question:?} {value}");
        }
    }

    #[test]
    fn statuses_cookies_and_vary() {
        let max_age = ("cache-control", "public, max-age=9");
        let with =
            |status, field| judged(&ONLY_PUBLIC, Question::default(), status, &[max_age, field]);
        for status in [
            200, 203, 204, 301, 302, 307, 308, 404, 410, 500, 503, 299, 599,
        ] {
            assert_eq!(with(status, OLD), Ok(9), "{status}");
        }
        for status in [206, 304, 400, 408, 412, 416, 429, 431] {
            assert_eq!(with(status, OLD), Err("status"), "{status}");
        }
        let must = ("cache-control", "must-understand");
        assert_eq!(with(200, must), Ok(9));
        assert_eq!(with(299, must), Err("status"));
        assert_eq!(with(200, ("set-cookie", "a=b")), Err("set-cookie"));
        assert_eq!(with(200, ("vary", "*")), Err("vary"));
        assert_eq!(with(200, ("vary", "accept, *")), Err("vary"));
        assert_eq!(with(200, ("vary", "accept")), Ok(9));
    }
}

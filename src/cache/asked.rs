//! What a request says of the responses that it takes from a cache (RFC 9111 section 5.2.1).

use http::{HeaderMap, header};

use super::directive::directives;

/// The directives of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Nothing that was not validated just now.
    pub no_cache: bool,
    /// Nothing of it may be kept.
    pub no_store: bool,
    /// Only what is stored; else 504.
    pub only_if_cached: bool,
    /// Nothing older than this, in seconds.
    pub max_age: Option<u32>,
    /// Only what stays fresh for so long, in seconds.
    pub min_fresh: Option<u32>,
    /// What has been stale for at most so long, in seconds.
    pub max_stale: Option<u32>,
    /// What has been stale for at most so long, in seconds, where the app fails (RFC 5861 section 4).
    pub stale_if_error: Option<u32>,
}

impl Asked {
    /// What these headers ask for. Of duplicates the most demanding counts, and what is no number is not there.
    pub fn by(headers: &HeaderMap) -> Self {
        let mut asked = Self::default();
        if !headers.contains_key(header::CACHE_CONTROL) {
            asked.no_cache = is_pragma_no_cache(headers);
            return asked;
        }
        for directive in directives(headers, header::CACHE_CONTROL) {
            let least = |known: Option<u32>| known.into_iter().chain(directive.seconds()).min();
            if directive.is("no-cache") {
                asked.no_cache = true;
            } else if directive.is("no-store") {
                asked.no_store = true;
            } else if directive.is("only-if-cached") {
                asked.only_if_cached = true;
            } else if directive.is("max-age") {
                asked.max_age = least(asked.max_age);
            } else if directive.is("min-fresh") {
                asked.min_fresh = asked.min_fresh.into_iter().chain(directive.seconds()).max();
            } else if directive.is("max-stale") && directive.value().is_none() {
                asked.max_stale = asked.max_stale.or(Some(u32::MAX));
            } else if directive.is("max-stale") {
                asked.max_stale = least(asked.max_stale);
            } else if directive.is("stale-if-error") {
                asked.stale_if_error = least(asked.stale_if_error);
            }
        }
        asked
    }
}

/// `Pragma: no-cache`, which counts where there is no Cache-Control (RFC 9111 section 5.4).
pub(super) fn is_pragma_no_cache(headers: &HeaderMap) -> bool {
    directives(headers, header::PRAGMA).any(|directive| directive.is("no-cache"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &[(&'static str, &str)]) -> Asked {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Asked::by(&headers)
    }

    #[test]
    fn each_directive() {
        let none = Asked::default();
        for (value, expected) in [
            ("", none),
            (
                "no-cache",
                Asked {
                    no_cache: true,
                    ..none
                },
            ),
            (
                "No-Store",
                Asked {
                    no_store: true,
                    ..none
                },
            ),
            (
                "only-if-cached",
                Asked {
                    only_if_cached: true,
                    ..none
                },
            ),
            (
                "max-age=5",
                Asked {
                    max_age: Some(5),
                    ..none
                },
            ),
            (
                "max-age=5, max-age=3",
                Asked {
                    max_age: Some(3),
                    ..none
                },
            ),
            ("max-age=x", none),
            (
                "min-fresh=5, min-fresh=9",
                Asked {
                    min_fresh: Some(9),
                    ..none
                },
            ),
            (
                "max-stale",
                Asked {
                    max_stale: Some(u32::MAX),
                    ..none
                },
            ),
            (
                "max-stale=9, max-stale",
                Asked {
                    max_stale: Some(9),
                    ..none
                },
            ),
            (
                "max-stale, max-stale=9",
                Asked {
                    max_stale: Some(9),
                    ..none
                },
            ),
            ("max-stale=x", none),
            (
                "stale-if-error=4",
                Asked {
                    stale_if_error: Some(4),
                    ..none
                },
            ),
        ] {
            assert_eq!(asked(&[("cache-control", value)]), expected, "{value:?}");
        }
    }

    #[test]
    fn pragma_counts_only_alone() {
        assert!(asked(&[("pragma", "no-cache")]).no_cache);
        assert!(asked(&[("pragma", "x, No-Cache")]).no_cache);
        assert!(!asked(&[("pragma", "x")]).no_cache);
        assert!(!asked(&[("pragma", "no-cache"), ("cache-control", "max-age=9")]).no_cache);
    }
}

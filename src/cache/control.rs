//! What a response says of caches (RFC 9111 section 5.2.2), to whichever of them: `CDN-Cache-Control` speaks to us alone and
//! replaces everything else (RFC 9213 section 2.2).

use http::{HeaderMap, HeaderName, header};

use super::{
    asked::is_pragma_no_cache,
    directive::{self, FOREVER, directives, has},
    targeted::{self, CDN_CACHE_CONTROL, Value},
};

/// The directives of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Shared caches are welcome.
    pub public: bool,
    /// No part of it may be kept.
    pub no_store: bool,
    /// It is for one client.
    pub private: bool,
    /// It is validated each time.
    pub no_cache: bool,
    /// It is validated once it is stale, whatever happens.
    pub must_revalidate: bool,
    /// The same for shared caches.
    pub proxy_revalidate: bool,
    /// Only caches that know what its status means may keep it.
    pub must_understand: bool,
    /// How long it is fresh, in seconds; what is no number is 0 (section 4.2.1).
    pub max_age: Option<u32>,
    /// The same for shared caches, and stronger.
    pub s_maxage: Option<u32>,
    /// How long it may be used stale while it is refreshed, in seconds (RFC 5861 section 3).
    pub stale_while_revalidate: Option<u32>,
    /// How long it may be used stale where the app fails, in seconds (RFC 5861 section 4).
    pub stale_if_error: Option<u32>,
    /// The fields that `private` and `no-cache` name: the rest may be kept without them.
    pub left_out: Vec<HeaderName>,
    /// Whether it came in the targeted field, so that Expires does not count.
    pub is_targeted: bool,
}

impl Control {
    /// What these headers say. Of duplicates and of what contradicts itself the most restrictive counts.
    pub fn of(headers: &HeaderMap) -> Self {
        let targeted = has(headers, &CDN_CACHE_CONTROL)
            .then(|| targeted::directives(headers))
            .flatten();
        match targeted {
            Some(directives) => Self::targeted(&directives),
            None => Self::common(headers),
        }
    }

    /// Whether it may not be used stale, whatever happens (section 4.2.4).
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some() || self.no_cache
    }

    /// Whether it may answer others although its request was authorized (section 3.5).
    pub fn allows_authorized(&self) -> bool {
        self.public || self.s_maxage.is_some() || self.must_revalidate
    }

    /// How long it is said to be fresh here, in seconds.
    pub fn lifetime(&self) -> Option<u32> {
        self.s_maxage.or(self.max_age)
    }

    fn common(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        if !has(headers, &header::CACHE_CONTROL) {
            control.no_cache = has(headers, &header::PRAGMA) && is_pragma_no_cache(headers);
            return control;
        }
        for directive in directives(headers, header::CACHE_CONTROL) {
            for flag in FLAGS {
                if directive.is(flag) {
                    control.flag(flag, directive.value());
                }
            }
            for number in NUMBERS {
                if directive.is(number) {
                    control.number(number, directive.seconds());
                }
            }
        }
        control
    }

    /// What is of another type than the directive has is not consumed (RFC 9213 section 2.1).
    fn targeted(directives: &[(&str, Value<'_>)]) -> Self {
        let mut control = Self {
            is_targeted: true,
            ..Self::default()
        };
        for (name, value) in directives {
            match value {
                Value::Boolean(true) => control.flag(name, None),
                Value::Text(names) => control.flag(name, Some(names.as_bytes())),
                Value::Integer(seconds) => {
                    let seconds = u32::try_from(*seconds).unwrap_or(match seconds {
                        ..0 => 0,
                        0.. => FOREVER,
                    });
                    control.number(name, Some(seconds.min(FOREVER)));
                }
                Value::Boolean(false) | Value::Other => {}
            }
        }
        control
    }

    fn flag(&mut self, name: &str, argument: Option<&[u8]>) {
        match name {
            "public" => self.public = true,
            "no-store" => self.no_store = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "private" => self.private |= !self.leave_out(argument),
            "no-cache" => self.no_cache |= !self.leave_out(argument),
            _ => {}
        }
    }

    /// Leaves out the fields that an argument names; false if it is none, or names what the rest cannot do without.
    fn leave_out(&mut self, argument: Option<&[u8]>) -> bool {
        let names = argument.map(|list| directive::names(list).map(HeaderName::from_bytes));
        let names: Option<Result<Vec<_>, _>> = names.map(Iterator::collect);
        match names {
            Some(Ok(names)) if !names.is_empty() && names.iter().all(may_be_left_out) => {
                self.left_out.extend(names);
                true
            }
            _ => false,
        }
    }

    fn number(&mut self, name: &str, seconds: Option<u32>) {
        let least = |known: Option<u32>| {
            let seconds = seconds.unwrap_or(0);
            Some(known.map_or(seconds, |known| known.min(seconds)))
        };
        match name {
            "max-age" => self.max_age = least(self.max_age),
            "s-maxage" => self.s_maxage = least(self.s_maxage),
            "stale-while-revalidate" => {
                self.stale_while_revalidate = least(self.stale_while_revalidate);
            }
            "stale-if-error" => self.stale_if_error = least(self.stale_if_error),
            _ => {}
        }
    }
}

const FLAGS: [&str; 7] = [
    "public",
    "private",
    "no-store",
    "no-cache",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
];

const NUMBERS: [&str; 4] = [
    "max-age",
    "s-maxage",
    "stale-while-revalidate",
    "stale-if-error",
];

/// Not what the content is, nor what decides who may have it for how long.
fn may_be_left_out(name: &HeaderName) -> bool {
    !name.as_str().starts_with("content-")
        && !name.as_str().starts_with("x-accel-")
        && !matches!(
            *name,
            header::VARY
                | header::ETAG
                | header::LAST_MODIFIED
                | header::DATE
                | header::AGE
                | header::EXPIRES
                | header::CACHE_CONTROL
                | header::LOCATION
        )
        && name != "x-sendfile"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn control(fields: &[(&'static str, &str)]) -> Control {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Control::of(&headers)
    }

    fn common(value: &str) -> Control {
        control(&[("cache-control", value)])
    }

    #[test]
    fn the_most_restrictive_of_duplicates_counts() {
        assert_eq!(common("max-age=5, max-age=3").max_age, Some(3));
        assert_eq!(common("max-age=3, max-age=5").max_age, Some(3));
        assert_eq!(common("max-age=3, max-age=x").max_age, Some(0));
        assert_eq!(common("s-maxage=\"7\"").s_maxage, Some(7));
        assert_eq!(common("s-maxage=7, max-age=9").lifetime(), Some(7));
        assert_eq!(common("max-age").max_age, Some(0));
        assert_eq!(common("max-age=-1").max_age, Some(0));
        assert_eq!(common("max-age=1.5").max_age, Some(0));
        assert_eq!(common("max-age=99999999999").max_age, Some(FOREVER));
        assert_eq!(
            common("stale-if-error=5, stale-if-error=2").stale_if_error,
            Some(2)
        );
        assert_eq!(
            common("stale-if-error=x, stale-if-error=2").stale_if_error,
            Some(0)
        );
        let several = control(&[("cache-control", "public"), ("cache-control", "No-Store")]);
        assert!(several.public && several.no_store);
    }

    #[test]
    fn fields_named_by_private_and_no_cache_are_left_out() {
        let named = common("private=\"X-A, x-b\", max-age=5");
        assert!(!named.private);
        assert_eq!(named.left_out, ["x-a", "x-b"]);
        assert!(!common("no-cache=x-a").no_cache);
        for whole in [
            "private",
            "private=",
            "private=\"\"",
            "private=\", ,\"",
            "private=\"a b\"",
            "private=\"x-a, content-type\"",
            "private=\"x-a\", private",
        ] {
            assert!(common(whole).private, "{whole}");
        }
    }

    #[test]
    fn the_targeted_field_replaces_all_others() {
        let both = |targeted| {
            control(&[
                ("cache-control", "no-store, private"),
                ("cdn-cache-control", targeted),
            ])
        };
        let ours = both("max-age=60, public");
        assert!(!ours.no_store && !ours.private && ours.public && ours.is_targeted);
        assert_eq!(ours.max_age, Some(60));
        assert!(both("").no_store, "an empty one does not count");
        assert!(both("Max-Age=60").no_store, "nor does a malformed one");
        assert!(
            both("foo").is_targeted,
            "one without a known directive does"
        );
        assert_eq!(both("max-age=1.5").max_age, None);
        assert_eq!(both("max-age=-5").max_age, Some(0));
        assert_eq!(both("max-age=99999999999").max_age, Some(FOREVER));
        assert!(!both("no-store=?0").no_store);
    }

    #[test]
    fn what_forbids_stale_and_what_allows_authorized() {
        for (value, forbids, allows) in [
            ("max-age=1", false, false),
            ("public", false, true),
            ("must-revalidate", true, true),
            ("proxy-revalidate", true, false),
            ("s-maxage=1", true, true),
            ("no-cache", true, false),
        ] {
            let control = common(value);
            assert_eq!(control.forbids_stale(), forbids, "{value}");
            assert_eq!(control.allows_authorized(), allows, "{value}");
        }
    }

    #[test]
    fn pragma_in_a_response_counts_only_alone() {
        assert!(control(&[("pragma", "no-cache")]).no_cache);
        assert!(!control(&[("pragma", "no-cache"), ("cache-control", "max-age=1")]).no_cache);
    }

    proptest! {
        /// Whatever else is said: it cannot make anything more permissive.
        #[test]
        fn more_directives_never_permit_more(
            first in "((no-store|private|no-cache|must-revalidate|max-age=[0-9]{1,3}|s-maxage=[0-9]), ?){0,4}",
            second in "((no-store|private|no-cache|must-revalidate|max-age=[0-9]{1,3}|s-maxage=[0-9]), ?){0,4}",
        ) {
            let (one, both) = (common(&first), common(&format!("{first}{second}")));
            prop_assert!(both.no_store >= one.no_store);
            prop_assert!(both.private >= one.private);
            prop_assert!(both.forbids_stale() >= one.forbids_stale());
            if let (Some(one), Some(both)) = (one.s_maxage, both.s_maxage) {
                prop_assert!(both <= one);
            }
            if let (Some(one), Some(both)) = (one.max_age, both.max_age) {
                prop_assert!(both <= one);
            }
        }
    }
}

//! GZIP_COMPRESSION_DISABLE_ON_AUTH: what belongs to one user, by Thruster's rules.

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE, SET_COOKIE, VARY},
};

use super::directives::Directives;

const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// Whether a request comes from somebody in particular.
pub(super) fn asks(headers: &HeaderMap) -> bool {
    [COOKIE, AUTHORIZATION, X_CSRF_TOKEN]
        .iter()
        .any(|field| headers.contains_key(field))
}

/// Whether a response is meant for somebody in particular.
pub(super) fn answers(headers: &HeaderMap, directives: Directives) -> bool {
    headers.contains_key(SET_COOKIE)
        || directives.malformed
        || directives.private
        || directives.no_store
        || names_cookie(headers)
}

fn names_cookie(headers: &HeaderMap) -> bool {
    headers.get_all(VARY).iter().any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"cookie"))
    })
}

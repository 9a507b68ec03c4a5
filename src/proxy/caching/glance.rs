//! What of a request matters to a cache, in one look at its headers.

use http::{Method, header, request::Parts};

use crate::cache::{Question, Steering};

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance {
    /// What there is to do.
    pub(super) way: Way,
    /// What its answer is judged by.
    pub(super) question: Question,
    /// Whether it says anything to caches.
    pub(super) directs: bool,
    /// Whether it has conditions that a cache may hold against what is stored.
    pub(super) conditional: bool,
    /// Whether some of its headers belong to its key.
    pub(super) links: bool,
    /// Whether there is any `X-Forwarded-*`.
    pub(super) forwarded: bool,
}

/// What a cache does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It looks for a stored response.
    Reads,
    /// It lets it pass: another method, a body, another protocol, or headers that ask for something else than its target.
    Passes,
    /// It lets it pass: its conditions are for the app alone (RFC 9111 section 4.3.2).
    Asks,
    /// It lets it pass, and forgets what it may have changed (RFC 9111 section 4.4).
    Changes,
}

impl Glance {
    pub(super) fn at(head: &Parts, has_body: bool, upgrades: bool) -> Self {
        let mut glance = Self {
            way: way(&head.method),
            question: Question {
                query: head.uri.query().is_some(),
                ..Question::default()
            },
            directs: false,
            conditional: false,
            links: false,
            forwarded: false,
        };
        if glance.way == Way::Reads && (has_body || upgrades) {
            glance.way = Way::Passes;
        }
        for name in head.headers.keys() {
            match *name {
                header::CACHE_CONTROL | header::PRAGMA => glance.directs = true,
                header::AUTHORIZATION => glance.question.authorized = true,
                header::RANGE => glance.question.range = true,
                header::IF_NONE_MATCH | header::IF_MODIFIED_SINCE => glance.conditional = true,
                header::IF_MATCH | header::IF_UNMODIFIED_SINCE if glance.way == Way::Reads => {
                    glance.way = Way::Asks;
                }
                _ => match Steering::of(name) {
                    Steering::None => {
                        glance.forwarded |= name.as_str().starts_with("x-forwarded-");
                    }
                    Steering::Links => glance.links = true,
                    Steering::Elsewhere if glance.way == Way::Changes => {}
                    Steering::Elsewhere => glance.way = Way::Passes,
                },
            }
        }
        glance
    }
}

fn way(method: &Method) -> Way {
    match *method {
        Method::GET | Method::HEAD => Way::Reads,
        Method::OPTIONS | Method::TRACE => Way::Passes,
        _ => Way::Changes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way_of(method: &str, has_body: bool, field: (&str, &str)) -> Way {
        let head = http::Request::builder()
            .method(method)
            .uri("/")
            .header(field.0, field.1)
            .body(())
            .unwrap();
        Glance::at(&head.into_parts().0, has_body, false).way
    }

    #[test]
    fn each_request_has_its_way() {
        let plain = ("accept", "*/*");
        for (method, has_body, field, expected) in [
            ("GET", false, plain, Way::Reads),
            ("HEAD", false, plain, Way::Reads),
            ("GET", true, plain, Way::Passes),
            ("OPTIONS", false, plain, Way::Passes),
            ("POST", true, plain, Way::Changes),
            ("PURGE", false, plain, Way::Changes),
            ("GET", false, ("if-match", "*"), Way::Asks),
            ("GET", false, ("if-none-match", "*"), Way::Reads),
            ("GET", false, ("x-original-url", "/"), Way::Passes),
            (
                "GET",
                false,
                ("x_http_method_override", "DELETE"),
                Way::Passes,
            ),
            (
                "POST",
                false,
                ("x-http-method-override", "DELETE"),
                Way::Changes,
            ),
        ] {
            assert_eq!(
                way_of(method, has_body, field),
                expected,
                "{method} {field:?}"
            );
        }
    }
}

//! What a request that changes something makes us forget (RFC 9111 section 4.4).

use http::{HeaderMap, HeaderName, Uri, header};

use crate::{
    cache::{Cache, Keys, Target},
    handler::{Cause, Response},
};

/// What is to be known of a request after it has gone.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) scheme: Vec<u8>,
    pub(super) host: Vec<u8>,
    pub(super) forwarded_host: Option<Vec<u8>>,
    pub(super) path: String,
    /// Those that belong to a key, if there are any.
    pub(super) links: Option<HeaderMap>,
}

impl Change {
    /// Forgets the target, and what `Location` and `Content-Location` name of the same origin, if the answer is no error.
    pub(super) fn settle(&self, response: &Response, cache: &Cache, keys: &mut Keys) {
        let status = response.status();
        let failed = response.extensions().get::<Cause>().is_some();
        if failed || !(status.is_success() || status.is_redirection()) {
            return;
        }
        self.forget(&self.path, cache, keys);
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            if let Some(path) = self.same_origin(response.headers(), &name) {
                self.forget(&path, cache, keys);
            }
        }
    }

    fn forget(&self, path: &str, cache: &Cache, keys: &mut Keys) {
        let target = Target {
            scheme: &self.scheme,
            host: &self.host,
            forwarded_host: self.forwarded_host.as_deref(),
            path,
        };
        let none = HeaderMap::new();
        let links = self.links.as_ref();
        cache.write_keys(&target, links.unwrap_or(&none), links.is_some(), keys);
        cache.invalidate(keys);
    }

    /// Path and query of the URI in a field, if it is of the target's origin (RFC 6454 section 4).
    fn same_origin(&self, headers: &HeaderMap, name: &HeaderName) -> Option<String> {
        let text = headers.get(name)?.to_str().ok()?;
        let text = text.split('#').next()?;
        if let Some(rest) = text.strip_prefix("//") {
            return self.of_authority(&self.scheme, rest);
        }
        if let Some((scheme, rest)) = text.split_once("://")
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return self.of_authority(scheme.as_bytes(), rest);
        }
        Some(resolve(&self.path, text))
    }

    fn of_authority(&self, scheme: &[u8], rest: &str) -> Option<String> {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let mine = self.forwarded_host.as_deref().unwrap_or(&self.host);
        let same = |one: &[u8], other: &[u8]| {
            let plain = |host: &[u8]| {
                let default: &[u8] = if scheme.eq_ignore_ascii_case(b"https") {
                    b":443"
                } else {
                    b":80"
                };
                host.strip_suffix(default)
                    .unwrap_or(host)
                    .to_ascii_lowercase()
            };
            plain(one) == plain(other)
        };
        let authority = authority.as_bytes();
        let here = scheme.eq_ignore_ascii_case(&self.scheme)
            && (same(authority, mine) || same(authority, &self.host));
        here.then(|| {
            if path.is_empty() {
                "/".to_owned()
            } else {
                path.to_owned()
            }
        })
    }
}

/// A reference without scheme and authority, relative to the path of a target (RFC 3986 section 5.2).
fn resolve(base: &str, reference: &str) -> String {
    let base_path = base.split('?').next().unwrap_or(base);
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let path = if path.is_empty() {
        if query.is_none() {
            return base.to_owned();
        }
        base_path.to_owned()
    } else if path.starts_with('/') {
        without_dots(path)
    } else {
        let directory = base_path.rfind('/').map_or("/", |end| &base_path[..=end]);
        without_dots(&format!("{directory}{path}"))
    };
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let ends_in_directory = path.ends_with("/.") || path.ends_with("/..");
    let end = if ends_in_directory && !kept.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", kept.join("/"))
}

/// Path and query of a target.
pub(super) fn path_of(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn references_are_resolved_against_the_target() {
        for (base, reference, expected) in [
            ("/a/b?c", "/d", "/d"),
            ("/a/b?c", "d", "/a/d"),
            ("/a/b?c", "../d?e", "/d?e"),
            ("/a/b?c", "?d", "/a/b?d"),
            ("/a/b?c", "", "/a/b?c"),
            ("/a/b", "./c/../d", "/a/d"),
            ("/a/b", "..", "/"),
            ("/a/b/c", "..", "/a/"),
            ("/", "../../x", "/x"),
        ] {
            assert_eq!(resolve(base, reference), expected, "{base} {reference}");
        }
    }

    #[test]
    fn only_the_own_origin_is_forgotten() {
        let change = Change {
            scheme: b"http".to_vec(),
            host: b"a.example".to_vec(),
            forwarded_host: None,
            path: "/x/y".to_owned(),
            links: None,
        };
        for (location, expected) in [
            ("/z", Some("/z")),
            ("z#part", Some("/x/z")),
            ("http://a.example/z", Some("/z")),
            ("http://A.example:80", Some("/")),
            ("//a.example/z?q", Some("/z?q")),
            ("https://a.example/z", None),
            ("http://b.example/z", None),
            ("http://a.example.evil/z", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(location));
            let found = change.same_origin(&headers, &header::LOCATION);
            assert_eq!(found.as_deref(), expected, "{location}");
        }
    }
}

//! What a response is stored under: whatever makes it another one at the app, but for what `Vary` names.

use http::{HeaderMap, HeaderName};

/// Where a request goes, as the app is told it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `http` or `https`, or what the client's proxy says.
    pub scheme: &'a [u8],
    /// The Host.
    pub host: &'a [u8],
    /// `X-Forwarded-Host`, where the client's own is passed on.
    pub forwarded_host: Option<&'a [u8]>,
    /// Path and query, as they are.
    pub path: &'a str,
}

/// What a request's header does to its answer beyond what everybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// Nothing.
    None,
    /// Apps make links of it: it belongs to the key.
    Links,
    /// It asks for something else than the request line does.
    Elsewhere,
}

impl Steering {
    /// What a header of this name does. Apps that read headers as CGI does take `_` for `-`.
    pub fn of(name: &HeaderName) -> Self {
        let name = name.as_str();
        if name.contains('_') {
            return Self::of_dashed(&name.replace('_', "-"));
        }
        Self::of_dashed(name)
    }

    fn of_dashed(name: &str) -> Self {
        if !name.starts_with("x-") && !name.starts_with("front-") {
            return Self::None;
        }
        match name {
            "x-original-url"
            | "x-original-uri"
            | "x-original-host"
            | "x-rewrite-url"
            | "x-http-method"
            | "x-http-method-override"
            | "x-method-override"
            | "x-override-url" => Self::Elsewhere,
            "x-forwarded-port"
            | "x-forwarded-ssl"
            | "x-forwarded-scheme"
            | "x-forwarded-server"
            | "x-forwarded-prefix"
            | "x-forwarded-path"
            | "x-forwarded-protocol"
            | "x-forwarded-by"
            | "x-host"
            | "x-script-name"
            | "x-url-scheme"
            | "x-scheme"
            | "front-end-https" => Self::Links,
            _ => Self::None,
        }
    }
}

/// Writes the key of `target`; `links` are the headers that belong to it. No part can run into the next: none has a zero byte.
pub(super) fn write(target: &Target<'_>, links: &HeaderMap, any_link: bool, out: &mut Vec<u8>) {
    out.clear();
    lower(out, target.scheme);
    out.push(0);
    write_host(target.scheme, target.host, out);
    out.push(0);
    if !target.path.starts_with('/') {
        // Of `http://host?query`, which has no path.
        out.push(b'/');
    }
    out.extend_from_slice(target.path.as_bytes());
    if let Some(host) = target.forwarded_host {
        out.extend_from_slice(b"\0x-forwarded-host:");
        lower(out, host);
    }
    if any_link {
        write_links(links, out);
    }
}

/// A host in lower case, without the port that goes without saying (RFC 9110 section 4.2.3).
fn write_host(scheme: &[u8], host: &[u8], out: &mut Vec<u8>) {
    let default: &[u8] = if scheme.eq_ignore_ascii_case(b"https") {
        b":443"
    } else {
        b":80"
    };
    let host = host.strip_suffix(default).unwrap_or(host);
    lower(out, host.strip_suffix(b":").unwrap_or(host));
}

fn lower(out: &mut Vec<u8>, text: &[u8]) {
    let from = out.len();
    out.extend_from_slice(text);
    out[from..].make_ascii_lowercase();
}

fn write_links(headers: &HeaderMap, out: &mut Vec<u8>) {
    let links = headers
        .iter()
        .filter(|(name, _)| Steering::of(name) == Steering::Links);
    let mut links: Vec<_> = links
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    // Of one name they stay in their order.
    links.sort_by_key(|(name, _)| *name);
    for (name, value) in links {
        out.push(0);
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(target: &Target<'_>, fields: &[(&'static str, &str)]) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let mut out = b"rest".to_vec();
        write(target, &headers, !fields.is_empty(), &mut out);
        out
    }

    fn target<'a>(scheme: &'a str, host: &'a str, path: &'a str) -> Target<'a> {
        Target {
            scheme: scheme.as_bytes(),
            host: host.as_bytes(),
            forwarded_host: None,
            path,
        }
    }

    #[test]
    fn hosts_are_compared_as_hosts() {
        for (one, other, same) in [
            (("http", "a.b"), ("http", "A.B"), true),
            (("http", "a"), ("http", "a:80"), true),
            (("https", "a"), ("https", "a:443"), true),
            (("http", "a:"), ("http", "a"), true),
            (("http", "a"), ("http", "a:443"), false),
            (("https", "a"), ("https", "a:80"), false),
            (("http", "a"), ("https", "a"), false),
            (("http", "a"), ("http", "b"), false),
            (("http", "a"), ("http", "a:8080"), false),
        ] {
            let (one, other) = (target(one.0, one.1, "/"), target(other.0, other.1, "/"));
            assert_eq!(
                key(&one, &[]) == key(&other, &[]),
                same,
                "{one:?} {other:?}"
            );
        }
    }

    #[test]
    fn paths_are_compared_as_they_are() {
        let of = |path| key(&target("http", "a", path), &[]);
        assert_ne!(of("/a"), of("/A"));
        assert_ne!(of("/a"), of("/%61"));
        assert_ne!(of("/a?b&c"), of("/a?c&b"));
        assert_eq!(of("?a"), of("/?a"));
    }

    #[test]
    fn what_makes_links_is_in_the_key() {
        let target = target("http", "a", "/");
        let plain = key(&target, &[]);
        for name in [
            "x-forwarded-port",
            "x-forwarded-ssl",
            "x-forwarded-scheme",
            "x-host",
            "x_host",
        ] {
            assert_ne!(key(&target, &[(name, "1")]), plain, "{name}");
        }
        assert_eq!(key(&target, &[("x-mine", "1"), ("accept", "x")]), plain);
        let both = [("x-forwarded-port", "1"), ("x-forwarded-ssl", "on")];
        assert_eq!(key(&target, &both), key(&target, &[both[1], both[0]]));
        let forwarded = Target {
            forwarded_host: Some(b"b"),
            ..target
        };
        assert_ne!(key(&forwarded, &[]), plain);
    }

    #[test]
    fn what_asks_for_something_else_is_found_however_it_is_spelled() {
        for name in [
            "X-Original-URL",
            "x-rewrite-url",
            "x_http_method_override",
            "X-HTTP_Method-Override",
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(Steering::of(&name), Steering::Elsewhere, "{name}");
        }
    }

    proptest! {
        #[test]
        fn different_requests_have_different_keys(
            one in ("http|https", "[a-c:80]{1,6}", "/[a-c?]{0,4}", "[a-c]{0,3}"),
            other in ("http|https", "[a-c:80]{1,6}", "/[a-c?]{0,4}", "[a-c]{0,3}"),
        ) {
            let of = |parts: &(String, String, String, String)| {
                key(&target(&parts.0, &parts.1, &parts.2), &[("x-host", &parts.3)])
            };
            if one.0 != other.0 || one.2 != other.2 || one.3 != other.3 {
                prop_assert_ne!(of(&one), of(&other));
            }
        }
    }
}

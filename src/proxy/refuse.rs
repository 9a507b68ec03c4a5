//! What is no request that may be passed on: hyper lets these through, RFC 9112 does not, or the app would read them
//! differently from us.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request::Parts};

use crate::handler::{Cause, Handler, Request, Response, answer};

/// Refuses before anything else looks at the request.
#[derive(Debug)]
pub(super) struct Refuse<H> {
    next: H,
}

impl<H> Refuse<H> {
    pub(super) fn new(next: H) -> Self {
        Self { next }
    }
}

impl<H: Handler> Handler for Refuse<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        match check(&request.head) {
            Ok(()) => self.next.handle(request).await,
            Err((status, text)) => {
                let mut response = answer(status, Cause::BadRequest, text);
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
                response
            }
        }
    }
}

type Refused = (StatusCode, &'static str);

const BAD: StatusCode = StatusCode::BAD_REQUEST;

fn check(head: &Parts) -> Result<(), Refused> {
    method(&head.method)?;
    target(head)?;
    let seen = Seen::of(&head.headers);
    seen.host(head.version)?;
    seen.transfer_encoding()
}

/// Methods are case-sensitive (RFC 9110 section 9.1): `get` is not GET, but some apps take it for one.
fn method(method: &Method) -> Result<(), Refused> {
    if *method == Method::CONNECT {
        return Err((
            StatusCode::METHOD_NOT_ALLOWED,
            "CONNECT: this server is no forward proxy\n",
        ));
    }
    if method
        .as_str()
        .bytes()
        .any(|byte| byte.is_ascii_lowercase())
    {
        return Err((
            StatusCode::NOT_IMPLEMENTED,
            "the method is not one of HTTP's: methods are upper-case\n",
        ));
    }
    Ok(())
}

/// Origin-form, absolute-form for http and https, or `*` with OPTIONS (RFC 9112 section 3.2).
fn target(head: &Parts) -> Result<(), Refused> {
    let uri = &head.uri;
    if uri.path() == "*" {
        return match head.method {
            Method::OPTIONS => Ok(()),
            _ => Err((BAD, "the request target * is for OPTIONS only\n")),
        };
    }
    match (uri.scheme_str(), uri.authority()) {
        (None, None) if uri.path().starts_with('/') => Ok(()),
        (Some("http" | "https"), Some(authority)) if is_host(authority.as_str()) => Ok(()),
        _ => Err((
            BAD,
            "the request target is neither a path nor an http URL\n",
        )),
    }
}

/// `Host` and `Transfer-Encoding`, found in one pass: to look for each would hash its name, and this is asked of each request.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a HeaderValue>,
    more_hosts: bool,
    coding: Option<&'a HeaderValue>,
    more_codings: bool,
}

impl<'a> Seen<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers {
            match *name {
                header::HOST => seen.more_hosts |= seen.host.replace(value).is_some(),
                header::TRANSFER_ENCODING => {
                    seen.more_codings |= seen.coding.replace(value).is_some();
                }
                _ => {}
            }
        }
        seen
    }

    /// Exactly one valid Host (RFC 9112 section 3.2); HTTP/1.0 may have none. In HTTP/2 it may contradict `:authority`, which
    /// the connection shows as a second one.
    fn host(&self, version: Version) -> Result<(), Refused> {
        match self.host {
            None if version >= Version::HTTP_11 => Err((BAD, "the Host header is missing\n")),
            None => Ok(()),
            Some(_) if self.more_hosts => Err((BAD, "there is more than one Host header\n")),
            Some(host) if str::from_utf8(host.as_bytes()).is_ok_and(is_host) => Ok(()),
            Some(_) => Err((BAD, "the Host header is not a host name\n")),
        }
    }

    /// `chunked` and nothing else (RFC 9112 section 6.1): another coding would reach the app as if it were not there.
    fn transfer_encoding(&self) -> Result<(), Refused> {
        let is_chunked = |coding: &HeaderValue| {
            coding
                .as_bytes()
                .trim_ascii()
                .eq_ignore_ascii_case(b"chunked")
        };
        match self.coding {
            None => Ok(()),
            Some(coding) if !self.more_codings && is_chunked(coding) => Ok(()),
            Some(_) => Err((
                StatusCode::NOT_IMPLEMENTED,
                "the only transfer coding understood is chunked\n",
            )),
        }
    }
}

/// Which bytes a host's name is made of (`reg-name`, RFC 3986 section 3.2.2): a table, as each request's host is looked at.
const IN_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\''
                | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b'%'
        );
        byte += 1;
    }
    table
};

/// `uri-host [":" port]` (RFC 9110 section 7.2), the host being a name, an IPv4 or a bracketed IPv6 address.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            if rest.is_empty() {
                return true;
            }
            ("address", rest.strip_prefix(':').unwrap_or("none"))
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    !host.is_empty()
        && host.bytes().all(|byte| IN_NAMES[usize::from(byte)])
        && port.len() <= 5
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for good in [
            "a",
            "a.b:80",
            "127.0.0.1:3000",
            "[::1]",
            "[::1]:80",
            "a_b",
            "a:",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "", ":80", "a/b", "a@b", "a b", "a:b", "a:123456", "[::1", "[x]", "[::1]x", "[::1]80",
            "a#b", "a?b", "a\\b", "\u{e9}",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    fn status(request: http::Request<()>) -> u16 {
        check(&request.into_parts().0).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn each_rule_has_its_status() {
        let request = |method: &str, uri: &str| {
            http::Request::builder()
                .method(method)
                .uri(uri)
                .header("host", "a")
        };
        assert_eq!(status(request("GET", "/x?y").body(()).unwrap()), 200);
        assert_eq!(status(request("GET", "//evil/x").body(()).unwrap()), 200);
        assert_eq!(status(request("GET", "http://b/x").body(()).unwrap()), 200);
        assert_eq!(status(request("GET", "ftp://b/x").body(()).unwrap()), 400);
        assert_eq!(
            status(request("GET", "http://u@b/x").body(()).unwrap()),
            400
        );
        assert_eq!(status(request("OPTIONS", "*").body(()).unwrap()), 200);
        assert_eq!(status(request("GET", "*").body(()).unwrap()), 400);
        assert_eq!(status(request("CONNECT", "a:80").body(()).unwrap()), 405);
        assert_eq!(status(request("get", "/").body(()).unwrap()), 501);
        assert_eq!(status(request("PROPFIND", "/").body(()).unwrap()), 200);
        assert_eq!(
            status(request("GET", "/").header("host", "b").body(()).unwrap()),
            400
        );
        assert_eq!(status(http::Request::builder().body(()).unwrap()), 400);
        assert_eq!(
            status(
                http::Request::builder()
                    .version(Version::HTTP_10)
                    .body(())
                    .unwrap()
            ),
            200
        );
        for (coding, expected) in [
            ("chunked", 200),
            ("Chunked", 200),
            ("gzip, chunked", 501),
            ("chunked, chunked", 501),
            ("identity", 501),
        ] {
            let request = request("POST", "/").header("transfer-encoding", coding);
            assert_eq!(status(request.body(()).unwrap()), expected, "{coding}");
        }
    }

    proptest! {
        #[test]
        fn no_host_makes_it_panic(text in ".{0,40}") {
            let _ = is_host(&text);
        }
    }
}

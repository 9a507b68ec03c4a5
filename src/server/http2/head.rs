//! A request's head as HTTP/1.1 would say it: origin-form, with a Host and one Cookie (RFC 9113 section 8.3.1).

use std::hash::{BuildHasher, Hasher, RandomState};

use h2::ext::Protocol;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header, request::Parts};

/// Whether h2 was right to let it pass: a value neither begins nor ends with a space or a tab (RFC 9113 section 8.2.1), and a
/// scheme has a name (section 8.3.1). Without an authority h2 does not tell us the scheme; nothing depends on it then.
pub(super) fn is_well_formed<T>(request: &Request<T>) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let trimmed = |value: &HeaderValue| {
        let value = value.as_bytes();
        !is_blank(value.first()) && !is_blank(value.last())
    };
    request.headers().values().all(trimmed) && request.uri().scheme_str() != Some("")
}

/// Turns the pseudo-fields into what the path knows. A Host that contradicts `:authority` stays beside it, and so is refused
/// as any second Host.
pub(super) fn translate(head: &mut Parts) {
    join_cookies(head);
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str());
        if let Ok(host) = host
            && head.headers.get(header::HOST) != Some(&host)
        {
            head.headers.append(header::HOST, host);
        }
    }
    if let Some(target) = head.uri.path_and_query() {
        head.uri = Uri::from(target.clone());
    }
}

/// RFC 9113 section 8.2.3.
fn join_cookies(head: &mut Parts) {
    let mut cookies = head.headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    // Pieces of valid values make a valid one.
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        head.headers.insert(header::COOKIE, joined);
    }
}

/// Turns an extended CONNECT into the upgrade that the app knows (RFC 8441 section 5); false if that is no WebSocket.
pub(super) fn translate_connect(head: &mut Parts, protocol: &Protocol) -> bool {
    if protocol.as_str() != "websocket" {
        return false;
    }
    head.method = Method::GET;
    let headers = &mut head.headers;
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_KEY, key());
    headers
        .entry(header::SEC_WEBSOCKET_VERSION)
        .or_insert(HeaderValue::from_static("13"));
    translate(head);
    true
}

/// The app's 101, as the client is to see it.
pub(super) fn translate_switch(head: &mut http::response::Parts) {
    head.status = StatusCode::OK;
    for name in [
        header::UPGRADE,
        header::CONNECTION,
        header::SEC_WEBSOCKET_ACCEPT,
    ] {
        head.headers.remove(name);
    }
}

/// 16 random bytes in base64 (RFC 6455 section 4.1). They tell one handshake from another and are no secret.
fn key() -> HeaderValue {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let random = || RandomState::new().build_hasher().finish();
    let bits = u128::from(random()) << 64 | u128::from(random());
    let mut text = [b'='; 24];
    for (place, digit) in text.iter_mut().take(22).enumerate() {
        let shift = 122 - 6 * i32::try_from(place).unwrap_or(0);
        let six = if shift < 0 {
            bits << -shift
        } else {
            bits >> shift
        };
        *digit = DIGITS[(six & 0x3f) as usize];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        translate(&mut head);
        head
    }

    #[test]
    fn values_are_trimmed_by_the_client() {
        let is_good = |value: &str| {
            let request = Request::builder().header("a", value).header("b", "c");
            is_well_formed(&request.body(()).unwrap())
        };
        for good in ["", "a", "a b\tc"] {
            assert!(is_good(good), "{good:?}");
        }
        for bad in [" ", "\t", " a", "a ", "\ta", "a\t"] {
            assert!(!is_good(bad), "{bad:?}");
        }
    }

    fn hosts(head: &Parts) -> Vec<&str> {
        let hosts = head.headers.get_all(header::HOST).iter();
        hosts.map(|host| host.to_str().unwrap()).collect()
    }

    #[test]
    fn the_authority_becomes_the_host_and_a_contradiction_stays_visible() {
        let head = translated("https://a.example:8443/x?y", &[]);
        assert_eq!(head.uri, "/x?y");
        assert_eq!(hosts(&head), ["a.example:8443"]);
        let head = translated("https://a/", &[("host", "a")]);
        assert_eq!(hosts(&head), ["a"]);
        let head = translated("https://a/", &[("host", "b")]);
        assert_eq!(hosts(&head), ["b", "a"]);
        let head = translated("/", &[("host", "b")]);
        assert_eq!(hosts(&head), ["b"]);
        assert_eq!(hosts(&translated("/", &[])), [""; 0]);
    }

    #[test]
    fn cookies_become_one() {
        let head = translated(
            "/",
            &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c")],
        );
        let cookies: Vec<_> = head.headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c"]);
    }

    #[test]
    fn a_key_is_16_bytes_of_base64() {
        for _ in 0..100 {
            let key = key();
            let text = key.to_str().unwrap();
            assert_eq!(text.len(), 24, "{text}");
            assert!(text.ends_with("=="), "{text}");
            // The last digit has two bits that count.
            assert!("AQgw".contains(&text[21..22]), "{text}");
        }
        assert_ne!(key(), key());
    }
}

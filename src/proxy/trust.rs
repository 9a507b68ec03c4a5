//! Who the client is behind the proxies that we trust (`TRUSTED_PROXIES`, `CLIENT_IP_HEADER`).
//!
//! Settled before anybody asks: what a peer says of others and may not say is taken off here, and what is left may be
//! believed by whoever comes after, the app included.

use std::{future::Future, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers::X_FORWARDED_FOR;
use crate::{
    handler::{Client, Handler, Request, Response},
    networks::Networks,
};

/// Who may say who the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustSettings {
    /// `TRUSTED_PROXIES`.
    pub proxies: Networks,
    /// `CLIENT_IP_HEADER`, in place of X-Forwarded-For.
    pub header: Option<HeaderName>,
}

/// Finds out who the client is; without settings it costs nothing.
#[derive(Debug)]
pub(super) struct Trust<H> {
    settings: Option<TrustSettings>,
    next: H,
}

impl<H> Trust<H> {
    pub(super) fn new(settings: Option<TrustSettings>, next: H) -> Self {
        Self { settings, next }
    }
}

impl<H: Handler> Handler for Trust<H> {
    fn handle(&self, mut request: Box<Request>) -> impl Future<Output = Response> {
        if let Some(settings) = &self.settings {
            let Request { client, head, .. } = &mut *request;
            settings.settle(client, &mut head.headers);
        }
        self.next.handle(request)
    }
}

impl TrustSettings {
    fn settle(&self, client: &mut Client, headers: &mut HeaderMap) {
        let peer = client.address.ip();
        if !self.proxies.contain(peer) {
            return remove(headers, |name| self.is_claim(name));
        }
        remove(headers, |name| self.is_double(name));
        client.ip = match &self.header {
            Some(name) => {
                let ip = only_address(headers, name).unwrap_or(peer);
                tell(headers, &[ip][usize::from(ip == peer)..]);
                ip
            }
            None => self.walk(peer, headers),
        };
    }

    /// The client of a request that came from `peer`, who is trusted: the first from the right whom we do not trust, or the
    /// leftmost of those that we do. What stands left of it, or of a word that is no address, is nobody's word: it goes.
    fn walk(&self, peer: IpAddr, headers: &mut HeaderMap) -> IpAddr {
        let mut way = Vec::new();
        let mut is_whole = true;
        for hop in hops_from_the_right(headers) {
            let hop = address(hop).filter(|_| way.last().is_none_or(|last| self.trusts(*last)));
            is_whole = hop.is_some();
            match hop {
                Some(hop) => way.push(hop),
                None => break,
            }
        }
        way.reverse();
        if !is_whole {
            tell(headers, &way);
        }
        way.first().copied().unwrap_or(peer)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.contain(address)
    }

    /// Whether a field says of a request where it came from, in a way that apps believe.
    fn is_claim(&self, name: &HeaderName) -> bool {
        let dashed = name.as_str().replace('_', "-");
        dashed.starts_with("x-forwarded-")
            || matches!(
                &*dashed,
                "x-real-ip" | "x-client-ip" | "client-ip" | "true-client-ip"
            )
            || self
                .header
                .as_ref()
                .is_some_and(|header| *header == *dashed)
    }

    /// Whether a field is spelled so that a CGI-style app takes it for the one that we believe: the proxy may have passed it
    /// on without a look.
    fn is_double(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        let header = self.header.as_ref();
        name.contains('_') && header.is_some_and(|header| *header == *name.replace('_', "-"))
    }
}

fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| unwanted(name)).cloned() {
        headers.remove(name);
    }
}

/// Writes X-Forwarded-For anew, from the client on.
fn tell(headers: &mut HeaderMap, way: &[IpAddr]) {
    let way: Vec<_> = way.iter().map(IpAddr::to_string).collect();
    headers.remove(X_FORWARDED_FOR);
    if !way.is_empty()
        && let Ok(value) = HeaderValue::try_from(way.join(", "))
    {
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// The members of X-Forwarded-For, the nearest first.
fn hops_from_the_right(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let members = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    members
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// The address in the one field of that name.
fn only_address(headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
    let mut values = headers.get_all(name).iter();
    let (only, more) = (values.next()?, values.next());
    more.is_none().then(|| address(only.as_bytes()))?
}

/// An address, with or without a port, IPv6 in brackets or not; one that is IPv4 in disguise is IPv4.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    let address = bare.parse::<IpAddr>().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(header: Option<&'static str>) -> TrustSettings {
        TrustSettings {
            proxies: Networks::parse("10.0.0.0/8, 127.0.0.1, fd00::/8").unwrap(),
            header: header.map(HeaderName::from_static),
        }
    }

    /// Who sent a request with these fields through `peer`, and the fields that are left.
    fn settled(
        peer: &str,
        header: Option<&'static str>,
        fields: &[(&'static str, &str)],
    ) -> (String, HeaderMap) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let mut client = Client::nobody((peer.parse::<IpAddr>().unwrap(), 1).into());
        settings(header).settle(&mut client, &mut headers);
        (client.ip.to_string(), headers)
    }

    /// The client, and X-Forwarded-For as it goes on to the app, when a proxy of ours says this.
    fn forwarded(text: &str) -> (String, String) {
        let (client, headers) = settled("10.0.0.1", None, &[("x-forwarded-for", text)]);
        let left = headers.get(X_FORWARDED_FOR).map(HeaderValue::to_str);
        (client, left.map_or("", Result::unwrap).to_owned())
    }

    #[test]
    fn the_client_is_the_first_from_the_right_who_is_not_trusted() {
        for (said, client, left) in [
            ("203.0.113.9", "203.0.113.9", "203.0.113.9"),
            ("1.2.3.4, 203.0.113.9", "203.0.113.9", "203.0.113.9"),
            (
                "1.2.3.4, 203.0.113.9,10.9.9.9",
                "203.0.113.9",
                "203.0.113.9, 10.9.9.9",
            ),
            ("10.2.2.2, 10.9.9.9", "10.2.2.2", "10.2.2.2, 10.9.9.9"),
            ("203.0.113.9:1234", "203.0.113.9", "203.0.113.9:1234"),
            (
                "x, [2001:db8::1]:80, fd00::2",
                "2001:db8::1",
                "2001:db8::1, fd00::2",
            ),
            ("2001:db8::1", "2001:db8::1", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9", "::ffff:203.0.113.9"),
            ("203.0.113.9, unknown, 10.9.9.9", "10.9.9.9", "10.9.9.9"),
            ("203.0.113.9, ", "203.0.113.9", "203.0.113.9, "),
            ("unknown", "10.0.0.1", ""),
            ("", "10.0.0.1", ""),
        ] {
            assert_eq!(forwarded(said), (client.into(), left.into()), "{said}");
        }
        let two = [
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "203.0.113.9, 10.1.1.1"),
        ];
        let (client, headers) = settled("10.0.0.1", None, &two);
        assert_eq!(client, "203.0.113.9");
        assert_eq!(headers[X_FORWARDED_FOR], "203.0.113.9, 10.1.1.1");
    }

    #[test]
    fn a_header_of_its_own_counts_instead_and_once() {
        let header = Some("cf-connecting-ip");
        let both = [
            ("cf-connecting-ip", "203.0.113.9"),
            ("x-forwarded-for", "1.2.3.4"),
        ];
        let client = |fields| settled("10.0.0.1", header, fields);
        let (found, headers) = client(&both);
        assert_eq!(found, "203.0.113.9");
        assert_eq!(headers[X_FORWARDED_FOR], "203.0.113.9");
        for doubtful in [
            &both[1..],
            &[both[0], both[0]],
            &[("cf-connecting-ip", "me"), both[1]],
            &[("cf-connecting-ip", "1.2.3.4, 203.0.113.9"), both[1]],
            &[("cf_connecting_ip", "1.2.3.4"), both[1]],
        ] {
            let (found, headers) = client(doubtful);
            assert_eq!(found, "10.0.0.1", "{doubtful:?}");
            assert!(!headers.contains_key(X_FORWARDED_FOR), "{doubtful:?}");
            assert!(!headers.contains_key("cf_connecting_ip"), "{doubtful:?}");
        }
    }

    #[test]
    fn a_stranger_speaks_for_itself_alone() {
        let claims = [
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-port", "443"),
            ("x-real-ip", "1.2.3.4"),
            ("client_ip", "1.2.3.4"),
            ("cf-connecting-ip", "1.2.3.4"),
            ("x-mine", "kept"),
        ];
        let (client, headers) = settled("203.0.113.9", Some("cf-connecting-ip"), &claims);
        assert_eq!(client, "203.0.113.9");
        let left: Vec<_> = headers.keys().collect();
        assert_eq!(left, ["x-mine"]);
    }

    proptest! {
        #[test]
        fn what_a_client_claims_never_hides_it(claims in "[0-9a-f.:, \\[\\]x-]{0,60}") {
            let (client, left) = forwarded(&format!("{claims}, 203.0.113.9, 10.1.1.1"));
            prop_assert_eq!(client, "203.0.113.9");
            let own = claims.split(',').all(|claim| claim.trim().is_empty());
            prop_assert!(own || left == "203.0.113.9, 10.1.1.1", "{left}");
        }

        #[test]
        fn whoever_is_first_in_what_goes_on_is_the_client(said in "([0-9]{1,3}\\.[0-9]\\.[0-9]\\.[0-9]|x|)(,([0-9]{1,3}\\.[0-9]\\.[0-9]\\.[0-9]|x|)){0,6}") {
            let (client, left) = forwarded(&said);
            let mut hops = left.split(',').map(str::trim).filter(|hop| !hop.is_empty());
            prop_assert_eq!(hops.next().unwrap_or("10.0.0.1"), client);
        }
    }
}

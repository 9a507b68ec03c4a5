//! The certificates of this moment, by name: swapped under running handshakes, which take no lock.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{domain::Domain, pair::Pair};

/// All certificates that are served; a clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Certificates(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Current>,
    /// Whether a name that no certificate is for gets none at all.
    strict: bool,
}

#[derive(Debug, Default)]
struct Current {
    pairs: Vec<Option<Pair>>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    below: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    /// None yet. With `strict` a client that names somebody else is turned away, without it gets the first: whose
    /// certificate it is, is then for the client to judge.
    pub(super) fn new(strict: bool) -> Self {
        Self(Arc::new(Shared {
            current: ArcSwap::default(),
            strict,
        }))
    }

    /// Serves `pair` from the next handshake on, in the place of the one before it.
    pub(super) fn put(&self, place: usize, pair: &Pair) {
        self.0.current.rcu(|current| {
            let mut pairs = current.pairs.clone();
            if pairs.len() <= place {
                pairs.resize(place + 1, None);
            }
            pairs[place] = Some(pair.clone());
            Current::new(pairs)
        });
    }

    /// The certificate for a client that asks for `name`; without a name, as with an address, the first.
    pub(super) fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.current.load();
        let named = name.map(|name| current.named(name));
        match named {
            Some(None) if self.0.strict => None,
            Some(Some(certified)) => Some(certified.clone()),
            Some(None) | None => current.first(),
        }
    }

    /// For whom each certificate is, and until when it is good.
    pub(super) fn expiries(&self) -> Vec<(String, SystemTime)> {
        let current = self.0.current.load();
        let expiry = |pair: &Pair| {
            let name = pair.names.first().map(ToString::to_string);
            (name.unwrap_or_default(), pair.validity.until)
        };
        current.pairs.iter().flatten().map(expiry).collect()
    }

    /// Whether a certificate is for `host`.
    pub(super) fn cover(&self, host: &str) -> bool {
        let current = self.0.current.load();
        let mut pairs = current.pairs.iter().flatten();
        pairs.any(|pair| pair.names.iter().any(|name| name.covers(host)))
    }
}

impl Current {
    fn new(pairs: Vec<Option<Pair>>) -> Self {
        let (mut exact, mut below) = (HashMap::new(), HashMap::new());
        for pair in pairs.iter().flatten() {
            for name in &pair.names {
                // Of two for one name the first counts.
                match name {
                    Domain::Exact(name) => exact.entry(name.clone()),
                    Domain::Below(parent) => below.entry(parent.clone()),
                    Domain::Address(_) => continue,
                }
                .or_insert_with(|| pair.certified.clone());
            }
        }
        Self {
            pairs,
            exact,
            below,
        }
    }

    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let wildcard = || self.below.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(wildcard)
    }

    fn first(&self) -> Option<Arc<CertifiedKey>> {
        let first = self.pairs.iter().flatten().next();
        first.map(|pair| pair.certified.clone())
    }
}

impl ResolvesServerCert for Certificates {
    // rustls has the name in lower case.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    fn pair(names: &[&str]) -> Pair {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = generate_simple_self_signed(names).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Pair::new(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key)).unwrap()
    }

    fn is(found: Option<Arc<CertifiedKey>>, pair: &Pair) -> bool {
        found.is_some_and(|found| Arc::ptr_eq(&found, &pair.certified))
    }

    #[test]
    fn a_name_finds_its_certificate_exact_before_wildcard() {
        let (first, wild) = (pair(&["a.test"]), pair(&["*.a.test", "127.0.0.1"]));
        let exact = pair(&["b.a.test"]);
        let certificates = Certificates::new(true);
        assert!(certificates.find(Some("a.test")).is_none());
        assert!(certificates.find(None).is_none());
        certificates.put(2, &exact);
        certificates.put(1, &wild);
        certificates.put(0, &first);
        let find = |name| certificates.find(Some(name));
        assert!(is(find("a.test"), &first));
        assert!(is(find("c.a.test"), &wild));
        assert!(is(find("b.a.test"), &exact));
        assert!(is(certificates.find(None), &first));
        assert!(find("test").is_none() && find("x.b.a.test").is_none());
        assert!(certificates.cover("127.0.0.1") && !certificates.cover("127.0.0.2"));
        let renewed = pair(&["a.test"]);
        certificates.put(0, &renewed);
        assert!(is(find("a.test"), &renewed));
    }

    #[test]
    fn a_stranger_gets_the_first_where_nobody_is_strict() {
        let certificates = Certificates::new(false);
        let first = pair(&["a.test"]);
        certificates.put(0, &first);
        assert!(is(certificates.find(Some("b.test")), &first));
    }
}

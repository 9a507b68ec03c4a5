//! A certificate chain with its key.

use std::{sync::Arc, time::SystemTime};

use rustls::{
    InconsistentKeys,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{extensions::GeneralName, prelude::*};

use super::{domain::Domain, validity::Validity};

/// A chain and the key of its leaf, which belong together.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// When the leaf is good.
    pub(super) validity: Validity,
    /// Whom the leaf is for.
    pub(super) names: Vec<Domain>,
}

/// Why a chain and a key are of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// No PEM, or not a certificate in it.
    #[error("there is no certificate in PEM in it")]
    NoCertificate,
    /// DER that is no X.509.
    #[error("the certificate cannot be read")]
    BadCertificate,
    /// No PEM, or not a key in it; encrypted ones look like that too.
    #[error("there is no unencrypted private key in PEM in it")]
    NoKey,
    /// A key that we cannot sign with.
    #[error("the private key is of no known kind, or broken")]
    BadKey,
    /// One of them is another's.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

impl Pair {
    /// Reads a chain in PEM, leaf first, and its key in PEM: PKCS#8, SEC1 or PKCS#1. Both may stand in one text.
    pub(super) fn read(chain: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| PairError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| PairError::NoKey)?;
        Self::new(chain, key)
    }

    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PairError> {
        let leaf = chain.first().ok_or(PairError::NoCertificate)?;
        let (validity, names) = describe(leaf)?;
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_| PairError::BadKey)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(PairError::Mismatch),
            Err(_) => return Err(PairError::BadCertificate),
        }
        Ok(Self {
            certified: Arc::new(certified),
            validity,
            names,
        })
    }

    pub(super) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.certified.cert.first()
    }

    /// Whether it is for `domain`.
    pub(super) fn is_for(&self, domain: &Domain) -> bool {
        let host = domain.to_string();
        self.names.contains(domain) || self.names.iter().any(|name| name.covers(&host))
    }
}

/// The one provider of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn describe(leaf: &[u8]) -> Result<(Validity, Vec<Domain>), PairError> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| PairError::BadCertificate)?;
    let validity = Validity {
        from: instant(leaf.validity.not_before),
        until: instant(leaf.validity.not_after),
    };
    let names = match leaf.subject_alternative_name() {
        Ok(Some(extension)) => extension
            .value
            .general_names
            .iter()
            .filter_map(name)
            .collect(),
        _ => Vec::new(),
    };
    Ok((validity, names))
}

fn name(name: &GeneralName<'_>) -> Option<Domain> {
    match name {
        GeneralName::DNSName(name) => Domain::parse(name),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(bytes) => Some(Domain::Address(bytes.into())),
            Err(_) => Some(Domain::Address(<[u8; 16]>::try_from(*bytes).ok()?.into())),
        },
        _ => None,
    }
}

fn instant(time: ASN1Time) -> SystemTime {
    time.to_datetime().into()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, KeyPair, generate_simple_self_signed};

    use super::*;

    fn made() -> Made<KeyPair> {
        generate_simple_self_signed(["a.test".to_owned(), "::1".to_owned()]).unwrap()
    }

    #[test]
    fn what_does_not_belong_together_is_told_apart() {
        let (one, other) = (made(), made());
        let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let read = |chain: &str, key: &str| Pair::read(chain.as_bytes(), key.as_bytes());
        let pair = read(&chain, &key).unwrap();
        assert!(pair.is_for(&Domain::parse("a.test").unwrap()));
        assert!(pair.is_for(&Domain::parse("::1").unwrap()));
        assert!(!pair.is_for(&Domain::parse("b.test").unwrap()));
        let both = key.clone() + &chain;
        assert!(read(&both, &both).is_ok(), "as Thruster stores them");
        let error = |chain: &str, key: &str| read(chain, key).unwrap_err();
        assert_eq!(
            error(&chain, &other.signing_key.serialize_pem()),
            PairError::Mismatch
        );
        assert_eq!(error("", &key), PairError::NoCertificate);
        assert_eq!(error(&key, &key), PairError::NoCertificate);
        assert_eq!(error(&chain, ""), PairError::NoKey);
        assert_eq!(error(&chain, &chain), PairError::NoKey);
        let garbage = crate::tls::pem::encode("CERTIFICATE", b"garbage");
        assert_eq!(error(&garbage, &key), PairError::BadCertificate);
        let garbage = crate::tls::pem::encode("PRIVATE KEY", b"garbage");
        assert_eq!(error(&chain, &garbage), PairError::BadKey);
    }
}

//! TLS_LOCAL: a certificate authority of our own, for development.
//!
//! Whoever trusts its certificate once is not warned again: the authority is kept in STORAGE_PATH, and only the leaf is new
//! with every start.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

use super::{
    certificates::Certificates,
    domain::Domain,
    pair::{Pair, PairError},
    pem,
    schedule::{self, sleep_until},
    storage::{Lock, Readers, Storage},
};

/// The authority's certificate, which is to be trusted.
const CERTIFICATE: &str = "local_ca.pem";

/// And its key, which is nobody's business.
const KEY: &str = "local_ca+key";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the authority is good: as long as anybody develops something.
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);

/// How long a leaf is good; browsers refuse one of more than 398 days.
const LEAF_LIFETIME: Duration = DAY.saturating_mul(30);

/// How much another machine's clock may be behind ours.
const SKEW: Duration = Duration::from_secs(60 * 60);

/// How long another container may take to make the authority that we share, in steps.
const PATIENCE: (u32, Duration) = (40, Duration::from_millis(50));

/// Issues certificates for ourselves.
#[derive(Debug)]
pub(super) struct Local {
    names: Vec<String>,
    authority: Authority,
    certificates: Certificates,
}

/// A certificate that others may be signed with.
#[derive(Debug)]
struct Authority {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

/// Why there is no local certificate; both would be a mistake of ours.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Not even a key.
    #[error("cannot make a local certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// What was made is of no use.
    #[error("cannot use the local certificate: {0}")]
    Use(#[from] PairError),
}

impl Local {
    /// Takes up the authority, or makes it, and issues a certificate for `domains`, or for localhost when there are none.
    ///
    /// # Errors
    /// See [`LocalError`]; a directory that cannot be written to is none.
    pub(super) fn open(
        domains: &[Domain],
        storage: &Storage,
        certificates: Certificates,
    ) -> Result<Self, LocalError> {
        let names: Vec<_> = domains.iter().map(ToString::to_string).collect();
        let local = Self {
            names: if names.is_empty() {
                ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into()
            } else {
                names
            },
            authority: Authority::open(storage)?,
            certificates,
        };
        local.issue()?;
        let path = storage.path_of(CERTIFICATE);
        let path = std::path::absolute(&path).unwrap_or(path);
        tracing::info!(
            ca = %path.display(),
            "certificates are by a local CA; to trust it, import that file into the browser, \
             or copy it to /usr/local/share/ca-certificates/thrust.crt and run update-ca-certificates"
        );
        Ok(local)
    }

    /// Issues the next leaf before the one that is served ends, for ever.
    pub(super) async fn keep(self) {
        loop {
            let next = match self.issue() {
                Ok(pair) => schedule::renew_at(&pair.validity, None, 0.0),
                Err(error) => {
                    tracing::error!(%error, "the local certificate is not renewed");
                    SystemTime::now() + DAY
                }
            };
            sleep_until(next).await;
        }
    }

    fn issue(&self) -> Result<Pair, LocalError> {
        let pair = self.authority.sign(&self.names)?;
        self.certificates.put(0, &pair);
        Ok(pair)
    }
}

impl Authority {
    fn open(storage: &Storage) -> Result<Self, LocalError> {
        let mut lock = storage.lock(KEY);
        for _ in 0..PATIENCE.0 {
            if !matches!(lock, Lock::Busy) {
                break;
            }
            thread::sleep(PATIENCE.1);
            lock = storage.lock(KEY);
        }
        match Self::read(storage) {
            Some(authority) => Ok(authority),
            None => Self::make(storage),
        }
    }

    /// The one that is stored, as long as it outlives what it signs.
    fn read(storage: &Storage) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(&storage.read(CERTIFICATE)?).ok()?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(&storage.read(KEY)?).ok()?;
        let own = Pair::new(
            vec![certificate.clone()],
            PrivateKeyDer::Pkcs8(key.clone_key()),
        );
        let lives = own.ok()?.validity.holds(SystemTime::now() + LEAF_LIFETIME);
        lives.then_some(Self { certificate, key })
    }

    fn make(storage: &Storage) -> Result<Self, LocalError> {
        let key = KeyPair::generate()?;
        let mut params = params(Vec::new(), "Thrust local CA", AUTHORITY_LIFETIME)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.der().clone();
        // The certificate comes last: where it is, the key is.
        let secret = pem::encode("PRIVATE KEY", key.serialized_der());
        let public = pem::encode("CERTIFICATE", &certificate);
        let _ = storage.write(KEY, secret.as_bytes(), Readers::Owner)
            && storage.write(CERTIFICATE, public.as_bytes(), Readers::All);
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Self { certificate, key })
    }

    fn sign(&self, names: &[String]) -> Result<Pair, LocalError> {
        let own = KeyPair::from_pkcs8_der_and_sign_algo(&self.key, &PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, own)?;
        let mut params = params(names.to_vec(), "Thrust local certificate", LEAF_LIFETIME)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &issuer)?.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Pair::new(vec![leaf], key)?)
    }
}

fn params(
    names: Vec<String>,
    common_name: &str,
    lifetime: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + lifetime).into();
    Ok(params)
}

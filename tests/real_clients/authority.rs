//! A CA of the test's own, and the certificate with which it vouches for localhost.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Files for a server, and what a client trusts.
#[derive(Debug)]
pub(crate) struct Authority {
    directory: PathBuf,
    root: CertificateDer<'static>,
}

impl Authority {
    /// Writes its files below `directory`: ECDSA with P-256, the chain without the CA.
    pub(crate) fn new(directory: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "the test's CA");
        let root = params.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(params, key);

        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".into(), "test.example".into()];
        let mut params = CertificateParams::new(names).expect("names");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = rcgen::date_time_ymd(1970, 1, 1) + now.expect("it is later");
        params.not_before = now - DAY;
        params.not_after = now + 90 * DAY;
        let leaf = params.signed_by(&key, &issuer).expect("a certificate");
        let write = |name: &str, text: String| {
            fs::write(directory.join(name), text).expect("the directory is ours");
        };
        write("ca.pem", root.pem());
        write("certificate.pem", leaf.pem());
        write("key.pem", key.serialize_pem());
        Authority {
            directory: directory.to_owned(),
            root: root.der().clone(),
        }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    /// The CA alone.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a certificate of ours");
        roots
    }

    /// For a client that trusts the CA and offers this protocol.
    pub(crate) fn client(&self, protocol: &str) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        Arc::new(config)
    }
}

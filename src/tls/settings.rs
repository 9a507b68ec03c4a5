//! What the room was told.

use std::path::PathBuf;

use super::{domain::Domain, secret::Secret};

/// How HTTPS is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where certificates come from.
    pub source: Source,
    /// `TLS_DOMAIN`: who we are; without any the certificates say it.
    pub domains: Vec<Domain>,
    /// `STORAGE_PATH`.
    pub storage: PathBuf,
    /// `TLS_MIN_VERSION`.
    pub min_version: MinVersion,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An ACME directory, one certificate for each domain.
    Acme(AcmeSettings),
    /// Files of the user's own.
    Files {
        /// `TLS_CERTIFICATE_PATH`: a chain in PEM, the leaf first.
        certificate: PathBuf,
        /// `TLS_PRIVATE_KEY_PATH`: its key in PEM.
        key: PathBuf,
    },
    /// `TLS_LOCAL`: a certificate authority of our own.
    Local,
}

/// Which ACME directory, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// `ACME_DIRECTORY`.
    pub directory: String,
    /// `EAB_KID` and `EAB_HMAC_KEY`.
    pub eab: Option<Eab>,
    /// `ACME_CA_BUNDLE`: what to trust the directory by, instead of the public roots.
    pub ca_bundle: Option<PathBuf>,
}

/// An external account binding; RFC 8555 section 7.3.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eab {
    /// What the key is called there.
    pub kid: String,
    /// The key.
    pub key: Secret,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2, as RFC 9325 allows it.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

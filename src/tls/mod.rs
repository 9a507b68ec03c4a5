//! Certificates: where they come from, how long they are good, and the handshake with them.
//!
//! The Service comes in with [`Settings`] and gets a [`Tls`]; every core makes its handshakes with its [`Acceptor`]. The
//! certificates behind that are swapped by a thread of its own: what it does waits for disks and for other servers.

mod acceptor;
mod acme;
mod certificates;
mod challenges;
mod chance;
mod domain;
mod files;
mod keeper;
mod local;
mod names;
mod pair;
mod pem;
mod schedule;
mod secret;
mod server_config;
mod settings;
mod storage;
mod validity;

pub use self::{
    acceptor::{Acceptor, HandshakeError, Reason, Stream},
    acme::RootsError,
    challenges::Challenges,
    domain::Domain,
    files::FilesError,
    keeper::Keeper,
    local::LocalError,
    names::Names,
    pair::PairError,
    secret::Secret,
    settings::{AcmeSettings, Eab, MinVersion, Settings, Source},
};

use self::{acme::Acme, certificates::Certificates, files::Files, local::Local, storage::Storage};

/// HTTPS, before the first handshake.
#[derive(Debug)]
pub struct Tls {
    acceptor: Acceptor,
    names: Names,
    challenges: Option<Challenges>,
    keeping: Keeping,
}

/// What is done for the certificates, for ever.
#[derive(Debug)]
enum Keeping {
    Acme(Acme),
    Files(Files),
    Local(Local),
}

/// Why there is no HTTPS.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Own files of no use.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Nobody to trust the ACME directory by.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// No local certificate.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The provider of cryptography gives nothing.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

impl Tls {
    /// Gets ready to make handshakes with the certificates that there are.
    ///
    /// # Errors
    /// When own files are of no use. That there is no certificate yet is no error: by ACME there will be.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        let acme = matches!(settings.source, Source::Acme(_));
        let certificates = Certificates::new(acme);
        let challenges = Challenges::default();
        let acceptor = Acceptor::new(
            settings.min_version,
            certificates.clone(),
            challenges.clone(),
        )?;
        let storage = Storage::new(&settings.storage);
        let keeping = match &settings.source {
            Source::Files { certificate, key } => {
                Keeping::Files(Files::open(certificate, key, certificates.clone())?)
            }
            Source::Local => Keeping::Local(Local::open(
                &settings.domains,
                &storage,
                certificates.clone(),
            )?),
            Source::Acme(acme) => Keeping::Acme(Acme::open(
                acme,
                &settings.domains,
                storage,
                certificates.clone(),
                challenges.clone(),
            )?),
        };
        Ok(Self {
            acceptor,
            names: Names::new(settings.domains.clone(), certificates),
            challenges: acme.then_some(challenges),
            keeping,
        })
    }

    /// Makes the handshakes.
    pub fn acceptor(&self) -> Acceptor {
        self.acceptor.clone()
    }

    /// Who we are.
    pub fn names(&self) -> Names {
        self.names.clone()
    }

    /// The challenges to be answered on the plain port; none without ACME.
    pub fn challenges(&self) -> Option<Challenges> {
        self.challenges.clone()
    }

    /// Keeps the certificates good until the [`Keeper`] is told to stop.
    ///
    /// # Errors
    /// When the thread for it cannot be started.
    pub fn keep(self) -> std::io::Result<Keeper> {
        Keeper::start(self.keeping)
    }
}

impl Keeping {
    async fn keep(self) {
        match self {
            Self::Acme(acme) => acme.keep().await,
            Self::Files(files) => files.keep().await,
            Self::Local(local) => local.keep().await,
        }
    }
}

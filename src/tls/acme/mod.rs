//! ACME (RFC 8555): a certificate for each domain, from a directory that proves the name is ours by asking it.
//!
//! One order for each domain, so that one that leads elsewhere keeps no other from its certificate. What is done is a
//! future: dropped at any await it leaves a stored state from which the next start goes on.

mod account;
mod client;
mod order;
mod record;
mod stored;
mod subject;

use std::{rc::Rc, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

pub use self::client::RootsError;
use self::{account::Directory, client::Roots, record::Record, stored::Stored, subject::Subject};
use super::{
    certificates::Certificates, challenges::Challenges, domain::Domain, settings::AcmeSettings,
    storage::Storage,
};

/// How many orders are under way at once: a hundred domains are no reason to be turned away.
const ORDERS: usize = 4;

/// All domains, with what is stored for them.
#[derive(Debug)]
pub(super) struct Acme {
    settings: AcmeSettings,
    roots: Roots,
    domains: Vec<(String, Option<Stored>)>,
    storage: Storage,
    certificates: Certificates,
    challenges: Challenges,
}

impl Acme {
    /// Serves what is stored, ours or Thruster's.
    ///
    /// # Errors
    /// When `ACME_CA_BUNDLE` is of no use.
    pub(super) fn open(
        settings: &AcmeSettings,
        domains: &[Domain],
        storage: Storage,
        certificates: Certificates,
        challenges: Challenges,
    ) -> Result<Self, RootsError> {
        let roots = Roots::open(settings.ca_bundle.as_deref())?;
        let mut found = Vec::new();
        for (place, domain) in domains.iter().enumerate() {
            let stored = Stored::read(&storage, domain);
            if let Some(stored) = &stored {
                certificates.put(place, &stored.pair);
                let until = stored.pair.validity.end();
                tracing::info!(%domain, %until, "certificate loaded");
            }
            found.push((domain.to_string(), stored));
        }
        Ok(Self {
            settings: settings.clone(),
            roots,
            domains: found,
            storage,
            certificates,
            challenges,
        })
    }

    /// Gets what is missing and renews what ends, for ever.
    pub(super) async fn keep(self) {
        let directory = Rc::new(Directory::new(
            self.settings,
            self.roots,
            self.storage.clone(),
        ));
        let orders = Arc::new(Semaphore::new(ORDERS));
        let mut subjects = JoinSet::new();
        for (place, (domain, stored)) in self.domains.into_iter().enumerate() {
            let subject = Subject {
                place,
                domain,
                stored,
                record: Record::default(),
                is_recorded: true,
                silences: 0,
                directory: directory.clone(),
                orders: orders.clone(),
                storage: self.storage.clone(),
                certificates: self.certificates.clone(),
                challenges: self.challenges.clone(),
            };
            subjects.spawn_local(subject.keep());
        }
        while subjects.join_next().await.is_some() {}
    }
}

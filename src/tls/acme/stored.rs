//! The certificates in STORAGE_PATH, in the form that Thruster has them in: a file for each domain, the key first, then
//! the chain, all in PEM.

use std::time::SystemTime;

use crate::tls::{
    domain::Domain,
    pair::Pair,
    storage::{Readers, Storage},
};

/// A certificate that may be served.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) pair: Pair,
    /// As it stands in its file.
    text: Vec<u8>,
    /// Whether it does.
    pub(super) is_written: bool,
}

impl Stored {
    /// The one that is stored for `domain` and good; of Thruster's two the one with the shorter key.
    pub(super) fn read(storage: &Storage, domain: &Domain) -> Option<Self> {
        let name = domain.to_string();
        [name.clone(), format!("{name}+rsa")]
            .iter()
            .filter_map(|name| storage.read(name))
            .find_map(|text| Self::parse(text, domain))
    }

    fn parse(text: Vec<u8>, domain: &Domain) -> Option<Self> {
        let pair = Pair::read(&text, &text).ok()?;
        let good = pair.is_for(domain) && pair.validity.holds(SystemTime::now());
        good.then_some(Self {
            pair,
            text,
            is_written: true,
        })
    }

    /// One that was just issued.
    pub(super) fn issued(pair: Pair, key_and_chain: String) -> Self {
        Self {
            pair,
            text: key_and_chain.into_bytes(),
            is_written: false,
        }
    }

    /// Stores it, unless it is.
    pub(super) fn write(&mut self, storage: &Storage, domain: &str) {
        self.is_written = self.is_written || storage.write(domain, &self.text, Readers::Owner);
    }

    /// Whether this is to be served instead of `other`.
    pub(super) fn is_newer_than(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| self.pair.validity.until > other.pair.validity.until)
    }
}

//! Who we are.

use std::time::SystemTime;

use super::{certificates::Certificates, domain::Domain};

/// The names that we answer to; a clone is the same.
#[derive(Clone, Debug)]
pub struct Names {
    domains: Vec<Domain>,
    certificates: Certificates,
}

impl Names {
    pub(super) fn new(domains: Vec<Domain>, certificates: Certificates) -> Self {
        Self {
            domains,
            certificates,
        }
    }

    /// Each certificate of this moment, by the first name that it is for, and until when it is good.
    pub fn expiries(&self) -> Vec<(String, SystemTime)> {
        self.certificates.expiries()
    }

    /// Whether `host`, in lower case and without port or brackets, is one of us: of `TLS_DOMAIN`, or without that, whoever
    /// a certificate is for.
    pub fn include(&self, host: &str) -> bool {
        if self.domains.is_empty() {
            self.certificates.cover(host)
        } else {
            self.domains.iter().any(|domain| domain.covers(host))
        }
    }
}

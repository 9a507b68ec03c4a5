//! Answers to the questions by which a CA finds out whether a name is ours: HTTP-01 (RFC 8555 section 8.3) and
//! TLS-ALPN-01 (RFC 8737).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The protocol that a CA asks for; RFC 8737 section 4.
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The answers for challenges that are under way; a clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<Mutex<Answers>>);

#[derive(Debug, Default)]
struct Answers {
    /// By token.
    http: HashMap<String, String>,
    /// By name.
    alpn: HashMap<String, Arc<CertifiedKey>>,
}

/// Gives an answer until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Answering {
    challenges: Challenges,
    what: What,
}

#[derive(Debug)]
enum What {
    Token(String),
    Name(String),
}

impl Challenges {
    /// The key authorization to answer an HTTP-01 request for `token` with.
    pub fn key_authorization(&self, token: &str) -> Option<String> {
        self.lock().http.get(token).cloned()
    }

    pub(super) fn answer_http(&self, token: String, key_authorization: String) -> Answering {
        self.lock().http.insert(token.clone(), key_authorization);
        Answering {
            challenges: self.clone(),
            what: What::Token(token),
        }
    }

    pub(super) fn answer_alpn(&self, name: String, certificate: CertifiedKey) -> Answering {
        let certificate = Arc::new(certificate);
        self.lock().alpn.insert(name.clone(), certificate);
        Answering {
            challenges: self.clone(),
            what: What::Name(name),
        }
    }

    pub(super) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.lock().alpn.get(name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificate(hello.server_name()?)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut answers = self.challenges.lock();
        match &self.what {
            What::Token(token) => drop(answers.http.remove(token)),
            What::Name(name) => drop(answers.alpn.remove(name)),
        }
    }
}

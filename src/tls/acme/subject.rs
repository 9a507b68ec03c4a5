//! One domain, and the certificate that it has at all times.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use instant_acme::CertificateIdentifier;
use tokio::sync::Semaphore;

use super::{
    account::Directory,
    order::{self, OrderError, Proof},
    record::{Record, Renewal, seconds, time},
    stored::Stored,
};
use crate::tls::{
    certificates::Certificates,
    challenges::Challenges,
    chance,
    domain::Domain,
    schedule,
    storage::{Lock, Storage},
};

/// How often to look for what another container has stored, or whether the disk can be written to again.
const LOOK: Duration = Duration::from_secs(60);

/// How long to leave another container alone that is at the same order.
const POLITE: Duration = Duration::from_secs(5);

/// How long not to ask again for a word that the CA does not give.
const WITHOUT_WORD: Duration = Duration::from_secs(6 * 60 * 60);

/// A domain that is to have a certificate.
pub(super) struct Subject {
    /// Where its certificate stands among the others.
    pub(super) place: usize,
    pub(super) domain: String,
    pub(super) stored: Option<Stored>,
    pub(super) record: Record,
    /// Whether the record stands in STORAGE_PATH as well; where it does not, this is the only one.
    pub(super) is_recorded: bool,
    /// How often in a row the directory was of no use.
    pub(super) silences: u32,
    pub(super) directory: Rc<Directory>,
    pub(super) orders: Arc<Semaphore>,
    pub(super) storage: Storage,
    pub(super) certificates: Certificates,
    pub(super) challenges: Challenges,
}

impl Subject {
    /// Gets a certificate and renews it, for ever.
    pub(super) async fn keep(mut self) {
        let chance = chance::fraction();
        loop {
            self.look();
            self.ask_when_to_renew().await;
            let left = self.due(chance).duration_since(SystemTime::now());
            let wait = match left {
                Ok(left) if !left.is_zero() => left.min(LOOK),
                _ => self.attempt().await,
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes over what another container, or a start before, has stored, and stores what could not be stored before.
    fn look(&mut self) {
        if let Some(stored) = &mut self.stored {
            stored.write(&self.storage, &self.domain);
        }
        if self.is_recorded {
            let directory = self.directory.url();
            self.record = Record::read(&self.storage, &self.domain, directory);
        }
        let domain = Domain::Exact(self.domain.clone());
        let found = Stored::read(&self.storage, &domain);
        if let Some(found) = found.filter(|found| found.is_newer_than(self.stored.as_ref())) {
            let until = found.pair.validity.end();
            tracing::info!(domain = %self.domain, %until, "certificate loaded");
            self.certificates.put(self.place, &found.pair);
            self.stored = Some(found);
        }
    }

    fn write_record(&mut self) {
        self.is_recorded = self.record.write(&self.storage, &self.domain);
    }

    /// When to ask the CA for a certificate; not before a failure is forgiven.
    fn due(&self, chance: f64) -> SystemTime {
        let wanted = match &self.stored {
            // Another directory's is served until there is one of this.
            Some(stored) if !self.record.is_foreign => {
                schedule::renew_at(&stored.pair.validity, self.suggested(), chance)
            }
            Some(_) | None => UNIX_EPOCH,
        };
        wanted.max(self.record.not_before())
    }

    /// When the CA wants the certificate to be renewed.
    fn suggested(&self) -> Option<SystemTime> {
        let identifier = self.identifier()?.to_string();
        self.record.renewal_of(&identifier)?.at.map(time)
    }

    fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        let leaf = self.stored.as_ref()?.pair.leaf()?;
        let identifier = CertificateIdentifier::try_from(leaf).ok()?;
        Some(identifier.into_owned())
    }

    /// Asks the CA when it wants the certificate to be renewed, if it is time to; RFC 9773.
    async fn ask_when_to_renew(&mut self) {
        let Some(identifier) = self.identifier().filter(|_| !self.record.is_foreign) else {
            return;
        };
        let certificate = identifier.to_string();
        let known = self.record.renewal_of(&certificate);
        let now = SystemTime::now();
        if known.is_some_and(|known| time(known.ask_again) > now) {
            return;
        }
        let before = known.and_then(|known| known.at);
        let (at, ask_again) = match self.directory.suggestion(&identifier).await {
            Ok(Some((at, after))) => (Some(seconds(at)), now + after),
            Ok(None) => (None, now + WITHOUT_WORD),
            Err(error) => {
                tracing::debug!(domain = %self.domain, %error, "the CA does not say when to renew");
                // What it said before holds as long as it says nothing else.
                (before, now + WITHOUT_WORD)
            }
        };
        tracing::debug!(domain = %self.domain, at, "asked the CA when to renew");
        self.record.renewal = Some(Renewal {
            certificate,
            at,
            ask_again: seconds(ask_again),
        });
        self.write_record();
    }

    /// Asks for a certificate; how long to wait until anything else is done.
    async fn attempt(&mut self) -> Duration {
        let _permit = self.orders.clone().acquire_owned().await;
        let _lock = match self.storage.lock(&self.domain) {
            Lock::Busy => {
                tracing::debug!(domain = %self.domain, "another container is at it");
                return POLITE.mul_f64(1.0 + chance::fraction());
            }
            lock => lock,
        };
        // Whoever had the lock may have got one, or failed.
        let before = (self.record.clone(), self.stored.is_some());
        self.look();
        if before != (self.record.clone(), self.stored.is_some()) {
            return Duration::ZERO;
        }
        self.begin();
        let began = Instant::now();
        match self.order().await {
            Ok(stored) => self.succeed(stored, began),
            Err(error) if error.is_silence() => self.hear_nothing(&error),
            Err(error) => self.fail(&error).await,
        }
    }

    /// Writes down that there is an attempt, before the CA hears of it: one in the midst of which we end counts as well, or
    /// a container that is restarted again and again would ask again and again. The first such is forgiven.
    fn begin(&mut self) {
        let wait = schedule::after_refusals(self.record.failures, chance::fraction());
        self.record.failures += 1;
        self.record.not_before = seconds(SystemTime::now() + wait);
        self.write_record();
    }

    async fn order(&self) -> Result<Stored, OrderError> {
        let account = self.directory.account().await;
        let account = account.map_err(OrderError::before)?;
        let first = self.record.failures == 1;
        let mut outcome = Err(OrderError::NotOffered("any challenge of ours"));
        for proof in proofs(self.record.failures) {
            let replaces = self.replaces();
            let (domain, challenges) = (&self.domain, &self.challenges);
            outcome = order::place(&account, domain, proof, replaces, challenges).await;
            match &outcome {
                Err(error @ OrderError::NotValidated { .. }) if first => {
                    tracing::info!(%domain, %error, "validation failed");
                }
                Err(OrderError::NotOffered(_)) => {}
                _ => break,
            }
        }
        outcome
    }

    /// What the next one comes instead of, where the CA has a word for that; RFC 9773 section 5.
    fn replaces(&self) -> Option<CertificateIdentifier<'static>> {
        let has_word = self.suggested().is_some();
        self.identifier().filter(|_| has_word)
    }

    fn succeed(&mut self, mut stored: Stored, began: Instant) -> Duration {
        self.silences = 0;
        self.certificates.put(self.place, &stored.pair);
        stored.write(&self.storage, &self.domain);
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let until = stored.pair.validity.end();
        tracing::info!(domain = %self.domain, %until, took_ms, "certificate obtained");
        self.stored = Some(stored);
        self.record = Record {
            directory: self.record.directory.clone(),
            ..Record::default()
        };
        self.write_record();
        Duration::ZERO
    }

    async fn fail(&mut self, error: &OrderError) -> Duration {
        self.silences = 0;
        if error.is_about_account() {
            self.directory.forget_account().await;
        }
        let wait = schedule::after_refusals(self.record.failures, chance::fraction());
        let wait = wait.max(self.directory.told_to_wait());
        tracing::warn!(
            domain = %self.domain,
            %error,
            failures = self.record.failures,
            retry_in_s = wait.as_secs(),
            "no certificate"
        );
        self.record.not_before = seconds(SystemTime::now() + wait);
        self.record.error = Some(error.to_string());
        self.write_record();
        Duration::ZERO
    }

    /// What the directory has not counted we do not count either.
    fn hear_nothing(&mut self, error: &OrderError) -> Duration {
        self.silences += 1;
        let told = self.directory.told_to_wait();
        let wait = schedule::after_silences(self.silences, chance::fraction()).max(told);
        tracing::warn!(
            domain = %self.domain,
            %error,
            failures = self.silences,
            retry_in_s = wait.as_secs(),
            "the ACME directory does not answer as it should"
        );
        self.record.failures -= 1;
        self.record.not_before = seconds(SystemTime::now() + told);
        self.write_record();
        wait
    }
}

/// Both at first; after that one each time, in turn, since each failure counts.
fn proofs(attempt: u32) -> [Proof; 2] {
    if attempt % 2 == 1 {
        [Proof::Http, Proof::Alpn]
    } else {
        [Proof::Alpn, Proof::Http]
    }
}

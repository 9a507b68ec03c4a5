//! What is remembered of a domain beside its certificate, over restarts: who issued it, when to renew it, and how often a
//! CA has said no. A container that restarts in a loop goes on with its patience where it was.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::tls::storage::{Readers, Storage};

/// One domain's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// The directory that all of this is about.
    pub(super) directory: String,
    /// How often in a row it has said no, or an attempt came to no end.
    pub(super) failures: u32,
    /// Seconds since 1970 until which nothing is to be asked.
    pub(super) not_before: u64,
    /// What was wrong.
    pub(super) error: Option<String>,
    /// What the CA says about the renewal, once it was asked.
    pub(super) renewal: Option<Renewal>,
    /// Whether the certificate that is stored is another directory's: a test's, maybe.
    #[serde(skip)]
    pub(super) is_foreign: bool,
}

/// A CA's word on when a certificate is to be renewed; RFC 9773.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Renewal {
    /// Which certificate, by its identifier (section 4.1 there).
    pub(super) certificate: String,
    /// Seconds since 1970 at which to renew it; none when the CA does not say.
    pub(super) at: Option<u64>,
    /// Seconds since 1970 at which to ask again.
    pub(super) ask_again: u64,
}

impl Record {
    /// What is stored for `domain`; of another directory it says nothing about this one.
    pub(super) fn read(storage: &Storage, domain: &str, directory: &str) -> Self {
        let text = storage.read(&name(domain));
        let stored = text.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        match stored {
            Some(record) if record.directory == directory => record,
            other => Self {
                directory: directory.to_owned(),
                is_foreign: other.is_some_and(|other| other.renewal.is_some()),
                ..Self::default()
            },
        }
    }

    /// Stores it; whether that worked.
    pub(super) fn write(&self, storage: &Storage, domain: &str) -> bool {
        // There is nothing in it that JSON has no form for.
        let text = serde_json::to_vec_pretty(self);
        text.is_ok_and(|text| storage.write(&name(domain), &text, Readers::Owner))
    }

    pub(super) fn not_before(&self) -> SystemTime {
        time(self.not_before)
    }

    /// The CA's word on `certificate`.
    pub(super) fn renewal_of(&self, certificate: &str) -> Option<&Renewal> {
        let renewal = self.renewal.as_ref();
        renewal.filter(|renewal| renewal.certificate == certificate)
    }
}

/// Whole seconds since 1970.
pub(super) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The instant so many seconds after 1970; what a file says may be nonsense.
pub(super) fn time(seconds: u64) -> SystemTime {
    let sane = seconds.min(u32::MAX.into());
    UNIX_EPOCH + Duration::from_secs(sane)
}

/// A `+` stands in no domain; autocert makes the same use of it.
fn name(domain: &str) -> String {
    format!("{domain}+thrust")
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn failures_are_one_directorys_and_a_certificate_of_another_is_foreign() {
        let path = env::temp_dir().join(format!("thrust-record-{}", process::id()));
        let storage = Storage::new(&path);
        let mut record = Record::read(&storage, "a.test", "https://one");
        assert_eq!((record.failures, record.is_foreign), (0, false));
        record.failures = 3;
        record.not_before = 1 << 40;
        assert!(record.write(&storage, "a.test"));
        let read = |directory| Record::read(&storage, "a.test", directory);
        assert_eq!(read("https://one"), record);
        assert_eq!(
            (read("https://two").failures, read("https://two").is_foreign),
            (0, false)
        );
        record.renewal = Some(Renewal {
            certificate: "x.y".into(),
            at: None,
            ask_again: 0,
        });
        assert!(record.write(&storage, "a.test"));
        assert!(read("https://two").is_foreign && !read("https://one").is_foreign);
        assert!(record.renewal_of("x.y").is_some() && record.renewal_of("x.z").is_none());
        fs::write(path.join("a.test+thrust"), "{\"failures\": -1").unwrap();
        assert_eq!(read("https://one").failures, 0, "nonsense is nothing");
        let _ = fs::remove_dir_all(&path);
    }
}

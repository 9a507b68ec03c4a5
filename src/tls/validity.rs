//! How long a certificate is good; pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The beginning of the year 9999.
const YEAR_9999: Duration = Duration::from_secs(253_370_764_800);

/// From when until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

impl Validity {
    pub(super) fn holds(&self, now: SystemTime) -> bool {
        now <= self.until
    }

    /// Its end, for people; empty for a year that no HTTP date has.
    pub(super) fn end(&self) -> String {
        let since_1970 = self.until.duration_since(UNIX_EPOCH);
        let sane = since_1970.is_ok_and(|since| since < YEAR_9999);
        if sane {
            httpdate::fmt_http_date(self.until)
        } else {
            String::new()
        }
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.until.duration_since(self.from).unwrap_or_default()
    }
}

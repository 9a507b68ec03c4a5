//! The time of day as responses say it, written once a second.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;

#[derive(Debug, Default)]
pub(super) struct Date(RefCell<Option<(u64, HeaderValue)>>);

impl Date {
    /// `Date` for a response that is made now (RFC 9110 section 6.6.1).
    pub(super) fn now(&self) -> HeaderValue {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut written = self.0.borrow_mut();
        match &*written {
            Some((at, date)) if *at == second => date.clone(),
            _ => {
                let date = HeaderValue::from_str(&httpdate::fmt_http_date(now))
                    .unwrap_or(HeaderValue::from_static(""));
                *written = Some((second, date.clone()));
                date
            }
        }
    }
}

//! Dates, hosts and what else is not known beforehand.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, SystemTime},
};

/// What stands for a name in braces.
#[derive(Clone, Debug)]
pub(crate) struct Variables {
    now: SystemTime,
    named: HashMap<String, String>,
}

impl Variables {
    pub(crate) fn new(now: SystemTime, host: &str, directory: &Path) -> Self {
        let named = [
            ("host".to_owned(), host.to_owned()),
            ("dir".to_owned(), directory.to_str().unwrap().to_owned()),
        ];
        Self {
            now,
            named: named.into(),
        }
    }

    /// Remembers the fields of a response, each under its name.
    pub(crate) fn learn(&mut self, fields: &[(String, String)]) {
        let lower = fields
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        self.named.extend(lower);
    }

    /// The text, with each known name in braces replaced.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            match after
                .split_once('}')
                .and_then(|(name, after)| Some((self.value(name)?, after)))
            {
                Some((value, after)) => {
                    out.push_str(&value);
                    rest = after;
                }
                None => {
                    out.push('{');
                    rest = after;
                }
            }
        }
        out + rest
    }

    fn value(&self, name: &str) -> Option<String> {
        match name.strip_prefix("now") {
            Some(offset) => Some(httpdate::fmt_http_date(time(self.now, offset)?)),
            None => self.named.get(name).cloned(),
        }
    }
}

/// `+60` is in a minute.
pub(crate) fn time(now: SystemTime, offset: &str) -> Option<SystemTime> {
    let seconds = |digits: &str| digits.parse().ok().map(Duration::from_secs);
    match offset.split_at_checked(1) {
        Some(("+", digits)) => Some(now + seconds(digits)?),
        Some(("-", digits)) => Some(now - seconds(digits)?),
        _ => offset.is_empty().then_some(now),
    }
}

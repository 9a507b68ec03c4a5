//! /livez, /readyz and /startupz: a status for machines, a line for people, or JSON for both.

use http::StatusCode;
use serde::Serialize;

use super::Snapshot;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Whether we are alive: whoever answers is.
    Live,
    /// Whether new requests are welcome.
    Ready,
    /// Whether the app was ready once.
    Started,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Health<'a> {
    /// Whether it is yes.
    ok: bool,
    /// Why not, if not.
    reason: Option<&'a str>,
    state: &'static str,
    state_ms: u64,
    uptime_ms: u64,
    in_flight: u64,
    #[serde(skip)]
    word: &'static str,
}

impl Probe {
    pub(super) fn answer(self, now: &Snapshot) -> Health<'_> {
        let (word, ok) = match self {
            Self::Live => ("alive", true),
            Self::Ready => ("ready", now.ready),
            Self::Started => ("started", now.started),
        };
        let reason = now.reason.as_deref().filter(|_| !ok);
        Health {
            ok,
            reason,
            state: now.state.as_str(),
            state_ms: now.state_ms,
            uptime_ms: now.uptime_ms,
            in_flight: now.open.in_flight,
            word,
        }
    }
}

impl Health<'_> {
    pub(super) fn status(&self) -> StatusCode {
        match self.ok {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// In a line.
    pub(super) fn text(&self) -> String {
        let word = self.word;
        match self.reason {
            Some(reason) => format!("not {word}: {reason}\n"),
            None if self.ok => format!("{word}\n"),
            None => format!("not {word}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_probe_has_its_own_yes_and_no() {
        let booting = Snapshot {
            reason: Some("the app has not opened its port yet".to_owned()),
            ..Snapshot::default()
        };
        let stopping = Snapshot {
            started: true,
            reason: Some("requests in flight are awaited".to_owned()),
            ..Snapshot::default()
        };
        for (probe, now, status, text) in [
            (Probe::Live, &booting, 200, "alive\n"),
            (
                Probe::Started,
                &booting,
                503,
                "not started: the app has not opened its port yet\n",
            ),
            (
                Probe::Ready,
                &stopping,
                503,
                "not ready: requests in flight are awaited\n",
            ),
            (Probe::Started, &stopping, 200, "started\n"),
        ] {
            let health = probe.answer(now);
            assert_eq!((health.status().as_u16(), &*health.text()), (status, text));
        }
    }
}

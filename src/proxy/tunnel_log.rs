//! What the log says of a tunnel once it is closed: its request's line is written when it opens.

use std::{cell::Cell, time::Instant};

use super::AccessLogSettings;
use crate::handler::{ClosedBy, Request, RequestId};

/// A tunnel's account, told when it is dropped.
#[derive(Debug)]
pub(super) struct TunnelLog {
    /// None if requests for this are not logged.
    told: Option<Told>,
    began: Instant,
    from_client: Cell<u64>,
    from_app: Cell<u64>,
    closed_by: Cell<Option<ClosedBy>>,
}

#[derive(Debug)]
struct Told {
    id: RequestId,
    client: String,
}

impl TunnelLog {
    /// A tunnel that `request` has opened.
    pub(super) fn new(settings: Option<&AccessLogSettings>, request: &Request) -> Self {
        let is_told = settings.is_some_and(|settings| settings.wants(request));
        Self {
            told: is_told.then(|| Told {
                id: request.id.clone(),
                client: request.client.shown(),
            }),
            began: Instant::now(),
            from_client: Cell::new(0),
            from_app: Cell::new(0),
            closed_by: Cell::new(None),
        }
    }

    /// So many bytes of the client's have come.
    pub(super) fn client_sent(&self, bytes: usize) {
        self.from_client.update(|sum| sum + bytes as u64);
    }

    /// So many bytes of the app's have come.
    pub(super) fn app_sent(&self, bytes: usize) {
        self.from_app.update(|sum| sum + bytes as u64);
    }

    /// One half is closed; only the first counts.
    pub(super) fn closed_by(&self, who: ClosedBy) {
        self.closed_by.set(self.closed_by.get().or(Some(who)));
    }
}

impl Drop for TunnelLog {
    fn drop(&mut self) {
        let Some(Told { id, client }) = &self.told else {
            return;
        };
        let took = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            dur = took,
            remote_addr = client,
            request_id = &*String::from_utf8_lossy(id.as_bytes()),
            from_client = self.from_client.get(),
            from_app = self.from_app.get(),
            closed_by = self.closed_by.get().map_or("", ClosedBy::as_str),
            "tunnel closed"
        );
    }
}

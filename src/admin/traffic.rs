//! What has been counted, by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    handler::Cause,
    metrics::{CacheResult, Class, Handshake, Totals},
};

/// What has been counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficView {
    /// Requests that were answered, or given up.
    pub requests: u64,
    /// Those by the first digit of their status: `2xx`.
    pub classes: BTreeMap<String, u64>,
    /// Those by what the cache did, in the words of `X-Cache`; `none` never came to it.
    pub cache: BTreeMap<String, u64>,
    /// What went wrong, by cause, as the log has it; only what ever did.
    pub causes: BTreeMap<String, u64>,
    /// Bytes from clients.
    pub received_bytes: u64,
    /// Bytes to clients.
    pub sent_bytes: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// TLS handshakes that were done,
    pub handshakes: u64,
    /// and that were not.
    pub handshakes_failed: u64,
    /// How it has been lately.
    pub recent: Recent,
}

/// How it has been in the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// Requests per second.
    pub per_second: f64,
    /// Of those, how many had a 5xx, per second.
    pub errors_per_second: f64,
    /// How long half of them took at most, in milliseconds; none of none.
    pub p50_ms: Option<f64>,
    /// How long 95 of 100 took at most.
    pub p95_ms: Option<f64>,
    /// How long 99 of 100 took at most.
    pub p99_ms: Option<f64>,
    /// How long the app took for half of those that it was asked for.
    pub app_p50_ms: Option<f64>,
}

impl TrafficView {
    /// These totals by name.
    pub fn new(totals: &Totals, recent: Recent) -> Self {
        let class = |class: Class| (class.as_str().to_owned(), totals.of_class(class));
        let cache = |result: CacheResult| (result.as_str().to_owned(), totals.of_cache(result));
        let cause = |cause: Cause| {
            let count = totals.causes.get(cause as usize).copied()?;
            (count > 0).then(|| (cause.as_str().to_owned(), count))
        };
        let failed = [Handshake::Failed, Handshake::Timeout].map(|end| totals.handshakes(end));
        Self {
            requests: totals.requests(),
            classes: Class::ALL.into_iter().map(class).collect(),
            cache: CacheResult::ALL.into_iter().map(cache).collect(),
            causes: Cause::ALL.iter().copied().filter_map(cause).collect(),
            received_bytes: totals.received,
            sent_bytes: totals.sent,
            connections: totals.connections.iter().sum(),
            handshakes: totals.handshakes(Handshake::Done),
            handshakes_failed: failed.iter().sum(),
            recent,
        }
    }
}

//! The text of /metrics: Prometheus' text format 0.0.4.
//!
//! Counters end in `_total`, times are in seconds, sizes in bytes; what begins with `process_` is what all exporters call so.
//! There are few series: no label has a value that a client or the app chooses.

mod names;
mod writer;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text},
    registry::Registry,
};

use self::{names::*, writer::Writer};
use super::{Snapshot, State, process};
use crate::{
    content::Coding,
    handler::Cause,
    metrics::{CacheResult, Class, Coded, Handshake, Totals},
};

/// What it is called in HTTP.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The text that says all of this.
pub(super) fn text(snapshot: Snapshot, totals: Totals) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Moment { snapshot, totals }));
    let mut text = String::with_capacity(32 * 1024);
    // Writing to a string cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

/// What there is to say.
#[derive(Debug)]
struct Moment {
    snapshot: Snapshot,
    totals: Totals,
}

impl Collector for Moment {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Writer::new(encoder);
        self.life(&mut to);
        self.requests(&mut to);
        self.connections(&mut to);
        self.tls(&mut to);
        self.content(&mut to);
        self.child(&mut to);
        self.puma(&mut to);
        self.process(&mut to);
        to.finish()
    }
}

impl Moment {
    fn life(&self, to: &mut Writer<'_>) {
        let now = &self.snapshot;
        to.each(BUILD, [([("version", &*now.version)], 1.0)]);
        let state = |state: State| ([("state", state.as_str())], flag(state == now.state));
        to.each(STATE, State::ALL.map(state));
        to.one(READY, flag(now.ready));
        let stop = now.stop.clone().unwrap_or_default();
        to.one(DRAINS, flag(stop.drain_ms.is_some()));
        to.one(DRAIN_DURATION, float(stop.drain_ms.unwrap_or(0)) / 1e3);
        to.one(DRAINED, float(stop.drained));
        to.one(CUT, float(stop.cut));
    }

    fn requests(&self, to: &mut Writer<'_>) {
        let totals = &self.totals;
        let requests = |class: Class| {
            CacheResult::ALL.map(|cache| {
                let labels = [("class", class.as_str()), ("cache", cache.as_str())];
                (labels, float(totals.of(class, cache)))
            })
        };
        to.each(REQUESTS, Class::ALL.into_iter().flat_map(requests));
        to.times(REQUEST_DURATION, &totals.request_duration);
        to.times(FIRST_BYTE, &totals.first_byte);
        to.times(UPSTREAM_DURATION, &totals.upstream_duration);
        to.times(QUEUE_DURATION, &totals.queue_duration);
        let failures = |cause: &Cause| {
            let count = totals.causes.get(*cause as usize).copied();
            ([("cause", cause.as_str())], float(count.unwrap_or(0)))
        };
        to.each(FAILURES, Cause::ALL.iter().map(failures));
    }

    fn connections(&self, to: &mut Writer<'_>) {
        let (open, totals) = (&self.snapshot.open, &self.totals);
        let [http, https] = totals.connections.map(float);
        let accepted = [([("scheme", "http")], http), ([("scheme", "https")], https)];
        to.each(CONNECTIONS, accepted);
        to.one(OPEN, float(open.connections));
        to.one(IDLE, float(open.idle));
        to.one(IN_FLIGHT, float(open.in_flight));
        to.one(STREAMS, float(open.streams));
        to.one(TUNNELS, float(open.tunnels));
        to.one(RECEIVED, float(totals.received));
        to.one(SENT, float(totals.sent));
        to.one(UPSTREAM_CONNECTIONS, float(totals.upstream_connects));
        to.one(UPSTREAM_IDLE, float(open.pooled));
    }

    fn tls(&self, to: &mut Writer<'_>) {
        let totals = &self.totals;
        let ended = |end: Handshake| ([("result", end.as_str())], float(totals.handshakes(end)));
        to.each(HANDSHAKES, Handshake::ALL.map(ended));
        to.times(HANDSHAKE_DURATION, &totals.handshake_duration);
        let certificates = self.snapshot.certificates.iter();
        let expiry = certificates.map(|one| ([("name", &*one.name)], float(one.expires)));
        to.each(EXPIRY, expiry);
    }

    fn content(&self, to: &mut Writer<'_>) {
        let cache = self.snapshot.cache.unwrap_or_default();
        to.one(CACHE_SIZE, float(cache.bytes));
        to.one(CACHE_CAPACITY, float(cache.capacity_bytes));
        to.one(CACHE_ENTRIES, float(cache.entries));
        let coded = |count: fn(&Coded) -> u64| {
            Coding::ALL.map(|coding| {
                let coded = self.totals.coded.get(coding as usize);
                ([("coding", coding.as_str())], float(coded.map_or(0, count)))
            })
        };
        to.each(COMPRESSED, coded(|coded| coded.responses));
        to.each(COMPRESSION_INPUT, coded(|coded| coded.input));
        to.each(COMPRESSION_OUTPUT, coded(|coded| coded.output));
    }

    fn child(&self, to: &mut Writer<'_>) {
        let app = &self.snapshot.app;
        to.one(CHILD_UP, flag(app.pid.is_some()));
        to.one(CHILD_ACCEPTING, flag(app.accepting));
        to.one(CHILD_RESTARTS, float(app.restarts));
        let code = app.exit_code.map(|code| code.to_string());
        let exits = code.iter().map(|code| ([("code", &**code)], 1.0));
        to.each(CHILD_EXITS, exits);
    }

    fn puma(&self, to: &mut Writer<'_>) {
        let Some(puma) = self.snapshot.app.puma else {
            return;
        };
        to.one(PUMA_WORKERS, float(puma.workers.unwrap_or(1)));
        to.one(PUMA_BOOTED, float(puma.workers_booted.unwrap_or(1)));
        to.one(PUMA_THREADS, float(puma.threads));
        to.one(PUMA_MAX_THREADS, float(puma.max_threads));
        to.one(PUMA_BUSY, float(puma.busy));
        to.one(PUMA_BACKLOG, float(puma.backlog));
    }

    fn process(&self, to: &mut Writer<'_>) {
        let process = &self.snapshot.process;
        to.one(CPU, process.cpu_seconds);
        to.one(RESIDENT, float(process.resident_bytes));
        to.one(VIRTUAL, float(process.virtual_bytes));
        to.one(THREADS, float(process.threads));
        for (metric, value) in [
            (OPEN_FILES, process::open_files().map(float)),
            (MOST_FILES, process::most_files().map(float)),
            (START, process::started()),
        ] {
            value.into_iter().for_each(|value| to.one(metric, value));
        }
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn float(count: u64) -> f64 {
    count as f64
}

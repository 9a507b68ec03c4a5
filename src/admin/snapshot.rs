//! All that can be said of one moment: what the page and `thrustctl status` show.

use serde::{Deserialize, Serialize};

use super::{ProcessView, State, TrafficView};

/// The Service at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Our version.
    pub version: String,
    /// When this was, in milliseconds since 1970.
    pub at_ms: u64,
    /// How long we have been running, in milliseconds.
    pub uptime_ms: u64,
    /// Where we are in our life,
    pub state: State,
    /// and for how long, in milliseconds.
    pub state_ms: u64,
    /// Whether new requests are welcome.
    pub ready: bool,
    /// Why not, if not.
    pub reason: Option<String>,
    /// Whether the app was ready once: what a startup probe asks.
    pub started: bool,
    /// What we exit with, once that is known.
    pub exit_code: Option<u8>,
    /// The child.
    pub app: AppView,
    /// What is open at this moment.
    pub open: OpenView,
    /// Whether requests to the app are held back on purpose.
    pub paused: bool,
    /// How many requests wait, for the app's boot or the end of a pause.
    pub held: u64,
    /// Whether the service is closed to its users on purpose.
    pub maintenance: bool,
    /// The stop, once one has begun.
    pub stop: Option<StopView>,
    /// What has been counted, if anything is.
    pub traffic: Option<TrafficView>,
    /// The cache, if there is one.
    pub cache: Option<CacheView>,
    /// The certificates, if there is TLS.
    pub certificates: Vec<CertificateView>,
    /// Ourselves, as the kernel sees us.
    pub process: ProcessView,
}

/// The child.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppView {
    /// Its process id, while it has one.
    pub pid: Option<i32>,
    /// Whether it accepts connections, and does not say that it is not ready.
    pub accepting: bool,
    /// How often it has gone away and come back by itself.
    pub restarts: u64,
    /// How it ended, in words, once it has,
    pub exit: Option<String>,
    /// and as an exit code.
    pub exit_code: Option<u8>,
    /// What it last said of itself, if it ever did.
    pub status: Option<String>,
    /// Puma's threads, if it is Puma and says so.
    pub puma: Option<PumaView>,
}

/// Puma's threads, over all of its processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PumaView {
    /// Processes that have booted; none if it is a single one.
    pub workers_booted: Option<u64>,
    /// Processes that are wanted.
    pub workers: Option<u64>,
    /// Threads that exist.
    pub threads: u64,
    /// Threads that may exist.
    pub max_threads: u64,
    /// Threads at work.
    pub busy: u64,
    /// Requests that no thread works on yet.
    pub backlog: u64,
}

/// What is open, over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenView {
    /// Clients' connections.
    pub connections: u64,
    /// Those of them on which nothing is going on.
    pub idle: u64,
    /// Ordinary requests.
    pub in_flight: u64,
    /// Event streams.
    pub streams: u64,
    /// Upgraded connections.
    pub tunnels: u64,
    /// Idle connections to the app.
    pub pooled: u64,
}

/// A stop on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopView {
    /// The signal that began it; none if the app ended by itself.
    pub signal: Option<String>,
    /// For how long it has been going on, in milliseconds.
    pub elapsed_ms: u64,
    /// How long the drain has taken so far, or did, in milliseconds; none before it has begun.
    pub drain_ms: Option<u64>,
    /// How much time is left of the drain, in milliseconds; none before it has begun and once it has ended.
    pub drain_left_ms: Option<u64>,
    /// Requests that were answered to the last byte since it began.
    pub drained: u64,
    /// What was broken off.
    pub cut: u64,
    /// How long the oldest request in flight has been running, in milliseconds.
    pub oldest_ms: u64,
}

/// The cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheView {
    /// What is stored.
    pub entries: u64,
    /// How much that is.
    pub bytes: u64,
    /// How much it may be.
    pub capacity_bytes: u64,
}

/// A certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// The first name that it is for.
    pub name: String,
    /// Until when it is good, in seconds since 1970.
    pub expires: u64,
}

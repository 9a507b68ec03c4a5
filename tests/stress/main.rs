//! Restarts under load: nobody loses a request.
#![expect(
    clippy::unwrap_used,
    reason = "a test program: what cannot fail here fails the test"
)]

// The executable, its app, its log, a client: the toolbox of the end-to-end tests.
#[allow(
    dead_code,
    unused_imports,
    reason = "a toolbox; not every tool is in use here"
)]
#[path = "../e2e/support/mod.rs"]
mod support;

// Frames and fields.
#[allow(
    dead_code,
    unused_imports,
    reason = "a toolbox; not every tool is in use here"
)]
#[path = "../h2_cases/wire/mod.rs"]
mod wire;

// A certificate, and a CA that vouches for it.
#[allow(dead_code, reason = "a toolbox; not every tool is in use here")]
#[path = "../real_clients/authority.rs"]
mod authority;

// What became of every request.
mod account;

// TLS for clients that know only TCP.
mod bridge;

// Chance that can be had again.
mod chance;

// Clients that do the awkward thing at the very instant of the signal.
mod instant;

// The clients of one run.
mod load;

// Event streams and WebSockets.
mod long;

// A request, its one right answer, and what came instead.
mod request;

// One start, one stop, and what it cost whom.
mod run;

// The port that speaks TLS.
mod secure_front;

// Clients that speak HTTP/2.
mod streams;

use std::env;

use run::{Settings, restart};

/// The load that a stop must survive; for longer: `STRESS_RUNS=200 cargo test --test stress -- --nocapture`.
#[test]
fn twenty_restarts_under_load_lose_no_request() {
    restart(&Settings {
        runs: env::var("STRESS_RUNS").map_or(20, |runs| runs.parse().unwrap()),
        ..Settings::from_env()
    });
}

/// The same with everybody behind TLS: half of the clients speak HTTP/1.1, half HTTP/2.
#[test]
fn twenty_restarts_behind_tls_lose_no_request() {
    restart(&Settings {
        runs: env::var("STRESS_RUNS").map_or(20, |runs| runs.parse().unwrap()),
        is_secure: true,
        ..Settings::from_env()
    });
}

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

// What became of every request.
mod account;

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

//! End to end: the real executable, a real child, real sockets.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop there"
)]

// The executable, its app, its log, a client: what all others stand on.
#[allow(
    dead_code,
    unused_imports,
    reason = "a toolbox; not every tool is in use at all times"
)]
mod support;

// The order of a stop: front closed, drained, child signalled, child gone, exit (M1 to M12).
mod order;

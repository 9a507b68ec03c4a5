//! Clients that others wrote, and that Thrust will meet: curl, OpenSSL, nghttp2, testssl.sh, Chromium.
//!
//! Each of them is a package of Debian's (`tests/run` installs them); where one is missing its tests say so and skip, and
//! fail with CI set.
#![expect(
    clippy::unwrap_used,
    reason = "a test program: what cannot fail here fails the test"
)]

// The executable, its app, its log: the toolbox of the end-to-end tests.
#[allow(
    dead_code,
    unused_imports,
    reason = "a toolbox; not every tool is in use here"
)]
#[path = "../e2e/support/mod.rs"]
mod support;

// A certificate, and a CA that vouches for it.
#[allow(dead_code, reason = "a toolbox; not every tool is in use here")]
mod authority;

// A browser, a page and a WebSocket.
mod chromium;

// Versions, downloads, uploads, many at once.
mod curl;

// Chromium, remote-controlled.
mod devtools;

// What comes with the last of a handshake, and how keys are exchanged.
mod handshake;

// Many requests at once, and their statistics.
mod nghttp;

// Versions of TLS, tickets, alerts.
mod openssl;

// The app behind Chromium.
mod page;

// Thrust with a certificate.
mod site;

// The status page in Chromium.
mod status_page;

// What the Internet's best-known critic finds.
mod testssl;

// Programs that may be missing.
mod tool;

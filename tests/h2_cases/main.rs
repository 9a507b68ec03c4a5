//! HTTP/2 as RFC 9113 and RFC 7541 have it, case by case: what a client must not say and some do, and what comes of it.
//!
//! The client is a raw one (`wire`), the server the real executable with H2C_ENABLED. A case's name begins with the
//! section that it is about. `H2_CASES_PORT=8080` runs them against whatever listens there instead, with
//! `examples/upstream.rs` behind it: nginx (`listen 8080 http2`) and nghttpx have answered the same questions.
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

// Frames and fields, right and wrong.
#[allow(
    dead_code,
    unused_imports,
    reason = "a toolbox; not every tool is in use here"
)]
mod wire;

// What is said, and what must come of it.
mod case;

// What h2 does otherwise.
mod deviations;

// Who is asked.
mod server;

// RFC 9113 sections 3 and 4: the preface, and frames as such.
mod starting;

// Section 5: the life of a stream.
mod streams;

// Section 6: each type of frame. Section 7: codes.
mod frames;

// Section 8: requests and responses.
mod messages;

// RFC 7541: compression of fields.
mod compression;

// Another client, at the same time.
mod stranger;

// Section 10.5: what costs the server more than the client.
mod floods;

//! Thrust: a container's ENTRYPOINT that starts the app, fronts it, and stops it without losing a request.
//!
//! # Architecture
//!
//! **Service owns Server and Upstream; on a stop signal it drains, then relays, then waits.** [`service`] reads like that
//! sentence, and the order of a stop stands in no other room.
//!
//! ## The life
//!
//! ```text
//!  exec ──► signal handlers ──► bind ──► spawn ──► serve
//!
//!          app ready          TERM                        closed           drained             child exited
//! Starting ────────► Serving ──────► Delaying ──► Closing ─────► Draining ────────► Stopping ─────────────► exit
//!                                  HTTP_DRAIN_DELAY   │             │                  │     its status is ours
//!                                                 last call on   requests in     signal relayed
//!                                                 the listener   flight end      to the child
//! ```
//!
//! A signal's trip: kernel → [`service::signals`] → [`Phase::on`](service::lifecycle::Phase::on), the pure table →
//! [`Drain`](drain::Drain) → the connections let go → the table again → [`Upstream::signal`](upstream::Upstream::signal) →
//! the app → the reaper → the table → exit code. The child's exit is an event, decided in every phase.
//!
//! ## The request path
//!
//! ```text
//!                 server │ proxy                                                              │ http1
//!                        │                                                                    │
//! client ──► connection ─┼─► measure ─► request id ─► access log ─► refuse ─► health ─►       │
//!             on a core, │   maintenance ─► body limit ─► compression ─► public files ─►      │
//!             for life   │       sendfile ─► caching ─► hold ─► reverse proxy ─► pool ────────┼──► app
//!                        │                                                                    │
//!        ◄───────────────┼──── and back up the same stairs; a body streams, with back-pressure
//! ```
//!
//! One core is one thread with a runtime, a request path ([`proxy::stack`]) and a pool of its own: nothing on the way of a
//! request is sent to another thread, and nothing shared but the cache, whose locks are many and short. The control thread has
//! the Service, the signals and the child.
//!
//! ## The rooms
//!
//! From the top; an arrow never leads up, and `tests/architecture.rs` knows them all.
//!
//! | room | what lives there |
//! |---|---|
//! | `main.rs` | the street door: arguments and environment in, exit code out |
//! | `bin/thrustctl` | the side door: what is said to [`admin::control`] |
//! | [`service`] | the life: one loop over one table; the only room that sees both sides |
//! | [`config`] | what we were told: raw by name, meant by wing; pure |
//! | [`server`] | connections: listen, accept, clocks, the last call, the plain port under TLS; knows no requests of the app's |
//! | [`proxy`] | requests, layer by layer; knows neither sockets nor pids |
//! | [`admin`] | what we tell of ourselves, health, metrics, the status page; and what we are told on the control socket |
//! | [`upstream`] | the child: spawn, signal, reap, readiness; knows nothing of HTTP |
//! | [`cache`] | responses remembered, for all cores; knows no bodies |
//! | [`tls`] | certificates: where they come from, how long they are good, and the handshake with them |
//! | [`systemd`] | whoever supervises us: its sockets taken over, our state told to it |
//! | [`telemetry`] | lifecycle and errors as log lines |
//! | [`handler`] | the grammar of the path: what a layer is, what goes in and what comes out |
//! | [`files`] | files: opened inside of their directories, read without making a core wait, left to the kernel to send |
//! | [`content`] | what HTTP says about content: codings, validators, preconditions, ranges; pure |
//! | [`coding`] | content codings made: one encoder over zstd, brotli and gzip |
//! | [`http1`] | HTTP/1.1 as we speak it to the app |
//! | [`drain`] | what is still open, and how far the stop has come |
//! | [`metrics`] | what has happened, in numbers: counted by the cores, added up by who asks |
//! | [`journal`] | log lines and the one thread that writes them |
//! | [`target`] | where the app listens |

pub mod admin;
pub mod cache;
pub mod coding;
pub mod config;
pub mod content;
pub mod drain;
pub mod files;
pub mod handler;
pub mod http1;
pub mod journal;
pub mod metrics;
pub mod proxy;
pub mod server;
pub mod service;
pub mod systemd;
pub mod target;
pub mod telemetry;
pub mod tls;
pub mod upstream;

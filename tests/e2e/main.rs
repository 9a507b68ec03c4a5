//! End to end: the real executable, a real child, real sockets.

// The executable, its app, its log, a client: what all others stand on.
#[allow(
    dead_code,
    unused_imports,
    reason = "a toolbox; not every tool is in use at all times"
)]
mod support;

// The order of a stop: front closed, drained, child signalled, child gone, exit (M1 to M12).
mod order;

// Closing the front without a reset, as far as loopback shows it (M13 to M18).
mod last_call;

// Which signal does what, in which state, with and without a terminal (M20 to M25).
mod signals;

// What the child is given, how it ends, and what its end means (M26 to M34).
mod child;

// From exec to the first answer: binding, holding, waiting, readiness (M28, M35, S37 to S39).
mod start;

// How long a stop may take (M40, M42).
mod budget;

// The status port: probes through the whole life, events, and that it costs nobody anything (S36, S39).
mod status_port;

// /metrics: names, units, and numbers that are what happened.
mod metrics;

// What the log says at the end, and leaving although nobody reads it (M43 to M46).
mod exit;

// Connections to the app: kept, reused, aged out, found stale, asked once more, never leaked.
mod proxy_pool;

// When the app does not answer: 502 and 504, the page, and bodies that must never look whole.
mod proxy_failures;

// The clocks that watch the client: its head, its body, what it takes, and how long it says nothing.
mod proxy_clocks;

// What is no request that may be passed on, and what looks odd and is one.
mod proxy_refusals;

// Those beyond MAX_CONNECTIONS.
mod limit;

// What could be lost between two steps of a stop.
mod losses;

// The same stops as PID 1 (M25, M30, M31, M33).
mod pid_1;

// A real Puma.
mod puma;

// A real Rails app: assets, sessions, downloads, events.
mod rails;

// The cache under load: racing clients, little room, and never a wrong byte.
mod cache_load;

// Which fields pass, in which direction, and which are ours: hop-by-hop, X-Forwarded-*, ids and clocks.
mod proxy_headers;

// After a 101: bytes both ways, none lost, each half closed in its own time.
mod proxy_tunnel;

// Bodies both ways: framing, trailers, HEAD, HTTP/1.0, interim responses, early answers, flushing and back-pressure.
mod proxy_bodies;

// The client's connection: answers in their order, and no more connections than are allowed.
mod proxy_connections;

// Whom to believe about the client: TRUSTED_PROXIES, CLIENT_IP_HEADER, and what the app and the log are told.
mod trust;

// Connections that begin with a PROXY header, by hand and by HAProxy.
mod proxy_protocol;

// RATE_LIMIT: who asks too often, and who never does.
mod rate_limit;

// MAX_UPSTREAM_REQUESTS: who waits for a place at the app, for how long, and who is next.
mod queue;

// The access log: Thruster's fields and ours, one line of JSON a request, whatever the request.
mod proxy_log;

// HTTP/2: each stream a request like any other.
mod h2_requests;

// The same stops with HTTP/2: what arrived is answered, and nobody hangs (M4 to M12, M16, M29).
mod h2_lifecycle;

// What an HTTP/2 client may not do to us: floods, stalls, idleness.
mod h2_limits;

// HTTPS: the handshake and its clocks, and the same stops over TLS (M10, M12, M16, M17, M19).
mod tls_lifecycle;

// Certificates of the user's own, by the local CA, and what the plain port is for under TLS.
mod tls_files;
mod tls_local;
mod tls_plain;

// Certificates by ACME, from a real directory: Pebble.
mod tls_acme;

// Files that the app names: which are sent, and what of the answer is the app's and what the file's.
mod files_named;

// Conditions and ranges of files, by their sections of RFC 9110.
mod files_conditions;

// Files on their way: sendfile(2), many at once, cut off, replaced, and through a stop.
mod files_sent;

// Files that stay open for a moment: replaced, written, deleted or locked meanwhile, they are what they are now.
mod files_kept;

// PUBLIC_PATH: what is found there, in which form, and what goes on to the app; the pages for errors.
mod files_public;

// Which responses are compressed, in which coding, and what their heads say then.
mod compression;

// Compressed bodies: whole or not, flushed in time, blurred in length, and never in anybody's way.
mod compression_bodies;

// The cache: what is stored and what is not, for whom, and what its answers say.
mod cache;

// What is stale: validated, refreshed, or used all the same while there is no app.
mod cache_stale;

// One request at the app for many clients, and nobody who waits in vain.
mod cache_waiting;

// As a unit of systemd: its sockets, and what it is told.
mod systemd;

// CONTROL_SOCKET and thrustctl: what can be seen and steered, and by whom.
mod control;
mod control_purge;
mod control_socket;

//! What is told, under which name.

use prometheus_client::metrics::MetricType;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    /// Without the `_total` of counters, which comes by itself.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    let kind = MetricType::Counter;
    Metric { name, help, kind }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    let kind = MetricType::Gauge;
    Metric { name, help, kind }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    let kind = MetricType::Histogram;
    Metric { name, help, kind }
}

macro_rules! names {
    ($($id:ident = $metric:expr;)*) => { $(pub(super) const $id: Metric = $metric;)* };
}

#[rustfmt::skip]
names! {
    BUILD = gauge("thrust_build_info", "Our version");
    STATE = gauge("thrust_state", "Where we are in our life: one of them is 1");
    READY = gauge("thrust_ready", "Whether new requests are welcome");
    DRAINS = counter("thrust_drains", "Drains that have begun");
    DRAIN_DURATION = gauge("thrust_drain_duration_seconds", "How long the drain has taken so far, or did");
    DRAINED = counter("thrust_drained_requests", "Requests answered to the last byte since a stop began");
    CUT = counter("thrust_cut_requests", "Requests, streams and tunnels that a stop has broken off");

    REQUESTS = counter("thrust_requests", "Requests, by class of status and result of the cache");
    REQUEST_DURATION = histogram("thrust_request_duration_seconds", "From the first byte of a request to the last of its response, without event streams");
    FIRST_BYTE = histogram("thrust_first_byte_duration_seconds", "From the first byte of a request to the head of its response");
    UPSTREAM_DURATION = histogram("thrust_upstream_duration_seconds", "From asking the app to the last byte of its answer");
    QUEUE_DURATION = histogram("thrust_queue_duration_seconds", "How long requests waited until the app could take them");
    FAILURES = counter("thrust_failures", "Answers of our own in place of the app's, and responses that broke, by cause");
    IN_FLIGHT = gauge("thrust_requests_in_flight", "Ordinary requests in flight");
    STREAMS = gauge("thrust_open_streams", "Event streams");
    TUNNELS = gauge("thrust_open_tunnels", "Upgraded connections");

    CONNECTIONS = counter("thrust_connections", "Connections accepted");
    OPEN = gauge("thrust_open_connections", "Connections of clients");
    IDLE = gauge("thrust_idle_connections", "Connections of clients on which nothing is going on");
    RECEIVED = counter("thrust_received_bytes", "Bytes from clients, without what TLS adds");
    SENT = counter("thrust_sent_bytes", "Bytes to clients, without what TLS adds");
    HANDSHAKES = counter("thrust_tls_handshakes", "TLS handshakes, by how they ended");
    HANDSHAKE_DURATION = histogram("thrust_tls_handshake_duration_seconds", "How long those TLS handshakes took that were done");
    EXPIRY = gauge("thrust_certificate_expiry_timestamp_seconds", "Until when a certificate is good, in seconds since 1970");
    UPSTREAM_CONNECTIONS = counter("thrust_upstream_connections", "Connections made to the app");
    UPSTREAM_IDLE = gauge("thrust_upstream_idle_connections", "Idle connections to the app");

    CACHE_SIZE = gauge("thrust_cache_size_bytes", "What is in the cache");
    CACHE_CAPACITY = gauge("thrust_cache_capacity_bytes", "What may be in the cache");
    CACHE_ENTRIES = gauge("thrust_cache_entries", "How many entries are in the cache");
    COMPRESSED = counter("thrust_compressed_responses", "Responses that were compressed; those of the cache once");
    COMPRESSION_INPUT = counter("thrust_compression_input_bytes", "What they were before they were compressed");
    COMPRESSION_OUTPUT = counter("thrust_compression_output_bytes", "What they were afterwards");

    CHILD_UP = gauge("thrust_child_up", "Whether the process of the app lives");
    CHILD_ACCEPTING = gauge("thrust_child_accepting", "Whether the app accepts connections");
    CHILD_RESTARTS = counter("thrust_child_restarts", "How often the app went away and came back by itself");
    CHILD_EXITS = counter("thrust_child_exits", "How the app has exited");
    PUMA_WORKERS = gauge("thrust_puma_workers", "Processes that Puma wants to have");
    PUMA_BOOTED = gauge("thrust_puma_booted_workers", "Processes of Puma that have booted");
    PUMA_THREADS = gauge("thrust_puma_threads", "Threads of Puma");
    PUMA_MAX_THREADS = gauge("thrust_puma_max_threads", "Threads of Puma, at most");
    PUMA_BUSY = gauge("thrust_puma_busy_threads", "Threads of Puma at work");
    PUMA_BACKLOG = gauge("thrust_puma_backlog_requests", "Requests in Puma that no thread works on");

    CPU = counter("process_cpu_seconds", "CPU time of ours");
    RESIDENT = gauge("process_resident_memory_bytes", "Memory of ours");
    VIRTUAL = gauge("process_virtual_memory_bytes", "Address space of ours");
    THREADS = gauge("process_threads", "Threads of ours");
    OPEN_FILES = gauge("process_open_fds", "Open files of ours");
    MOST_FILES = gauge("process_max_fds", "Open files of ours, at most");
    START = gauge("process_start_time_seconds", "When we were started, in seconds since 1970");
}

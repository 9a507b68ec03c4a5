//! Requests: knows neither sockets nor pids.

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

/// What the request path was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `FORWARD_HEADERS`: keep the client's `X-Forwarded-*`.
    pub forward_headers: bool,
    /// `MAX_REQUEST_BODY` in bytes; none is no limit.
    pub max_request_body: Option<NonZeroU64>,
    /// `BAD_GATEWAY_PAGE`; none when set empty.
    pub bad_gateway_page: Option<PathBuf>,
    /// `LOG_REQUESTS`.
    pub log_requests: bool,
    /// `BOOT_HOLD_TIMEOUT`: how long a request waits for an app that boots; zero does not hold.
    pub boot_hold_timeout: Duration,
    /// `HTTP_HEALTH_PATH`.
    pub health_path: Option<String>,
    /// `HTTP_HEALTH_HOST`: the Host of our own readiness probe.
    pub health_host: Option<String>,
    /// `UPSTREAM_CONNECT_TIMEOUT`; none is no limit.
    pub connect_timeout: Option<Duration>,
    /// `UPSTREAM_RESPONSE_TIMEOUT`, to the first byte of the response; none is no limit.
    pub response_timeout: Option<Duration>,
    /// `UPSTREAM_IDLE_TIMEOUT`; zero keeps no connection.
    pub idle_timeout: Duration,
}

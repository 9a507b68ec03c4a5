//! Connections: knows sockets, not requests.

mod accept;
mod half_open;
pub mod last_call;
pub mod listener;
mod register;
mod shortage;

use std::{num::NonZeroUsize, time::Duration};

/// What the front server was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `HTTP_PORT`; 0 lets the kernel choose (the log says which).
    pub http_port: u16,
    /// `HTTP_IDLE_TIMEOUT`; none is no limit.
    pub idle_timeout: Option<Duration>,
    /// `HTTP_READ_TIMEOUT`; none is no limit.
    pub read_timeout: Option<Duration>,
    /// `HTTP_WRITE_TIMEOUT`; none is no limit.
    pub write_timeout: Option<Duration>,
    /// `MAX_CONNECTIONS`; none is no limit.
    pub max_connections: Option<NonZeroUsize>,
}

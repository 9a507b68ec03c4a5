//! What the room was told.

use std::net::IpAddr;

use serde::Serialize;

/// Where to answer, and what was told to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `STATUS_PORT`; 0 lets the kernel choose (the log says which).
    pub port: u16,
    /// `STATUS_BIND`; none is every address.
    pub bind: Option<IpAddr>,
    /// The effective configuration, without secrets.
    pub variables: Vec<Variable>,
}

/// A variable as `--print-config` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// The name to set.
    pub name: String,
    /// What it is, on one line; `(hidden)` for a secret.
    pub value: String,
    /// Where that comes from.
    pub origin: String,
}

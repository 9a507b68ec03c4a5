//! The process; knows nothing of HTTP.

use std::ffi::OsString;

use crate::target::Target;

/// What the child was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The program and its arguments, executed as given.
    pub command: Vec<OsString>,
    /// Where the app will listen; a port is handed to it as `PORT`.
    pub target: Target,
}

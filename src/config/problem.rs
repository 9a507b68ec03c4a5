//! What is wrong with a variable, in words that its owner can act on.

use std::ffi::OsString;

use super::shares::Shares;

/// One reason why the environment cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A value that does not parse, is out of range or is not UTF-8.
    #[error("{name}={value:?}: expected {expects}{}", hint(overridden_by))]
    Refused {
        /// The variable that was read, with the prefix where it had one.
        name: String,
        /// Its value.
        value: OsString,
        /// Completes the sentence "expected ...".
        expects: &'static str,
        /// The name to set instead, where this one may be the app's.
        overridden_by: Option<String>,
    },
    /// We would listen where the app does.
    #[error(
        "{http} and {target} are both {port}: expected two different ports{}",
        hint(overridden_by)
    )]
    SamePort {
        /// Where the port to listen on was read.
        http: String,
        /// Where the app's port was read.
        target: String,
        /// The port of both.
        port: u16,
        /// The name to set instead, where one of them may be the app's.
        overridden_by: Option<String>,
    },
    /// The time for a stop is shorter than what has to fit into it.
    #[error("{name}={}: too short: {shares}", shares.total.as_secs())]
    TooShort {
        /// The variable that was read.
        name: String,
        /// What was to fit.
        shares: Shares,
    },
    /// The table of variables and the type they are read into disagree, which is a mistake of ours.
    #[error(transparent)]
    Unread(#[from] envy::Error),
}

/// What the owner of a bare name needs to know when the app claims it too.
fn hint(overridden_by: &Option<String>) -> String {
    let hint = |name| format!(" ({name} overrides it)");
    overridden_by.as_ref().map(hint).unwrap_or_default()
}

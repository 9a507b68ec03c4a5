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
    /// Two would listen on one port.
    #[error(
        "{one} and {other} are both {port}: expected two different ports{}",
        hint(overridden_by)
    )]
    SamePort {
        /// Where the one port was read.
        one: String,
        /// Where the other was.
        other: String,
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
    /// A variable that means nothing without another.
    #[error("{name} is set, but {needs} is not")]
    Lacks {
        /// Where it was read.
        name: String,
        /// The name to set.
        needs: String,
    },
    /// Two variables of which each says where the certificates come from.
    #[error("{name} and {other} exclude each other: certificates come from one source")]
    Excludes {
        /// Where the one was read.
        name: String,
        /// Where the other was.
        other: String,
    },
    /// Two would listen on one unix socket.
    #[error("{name} and {other} name the same socket; each needs its own")]
    SameSocket {
        /// Where the one was read.
        name: String,
        /// Where the other was.
        other: String,
    },
    /// A wildcard or an address, which none of our challenges can prove.
    #[error(
        "{name} holds {domain}: by ACME, over HTTP-01 and TLS-ALPN-01, only single names can be certified; \
         set THRUSTER_TLS_CERTIFICATE_PATH for others"
    )]
    NotByAcme {
        /// Where the list was read.
        name: String,
        /// What is no name in it.
        domain: String,
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

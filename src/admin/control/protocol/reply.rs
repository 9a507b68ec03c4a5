//! What is answered.

use serde::{Deserialize, Serialize};

use crate::admin::Snapshot;

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// It was done.
    Done {
        /// What there is to say about it.
        text: String,
    },
    /// It was not.
    Refused {
        /// Why.
        why: String,
    },
    /// How it is.
    Status(Box<Snapshot>),
}

impl Reply {
    /// It was done.
    pub fn done(text: impl Into<String>) -> Self {
        Self::Done { text: text.into() }
    }

    /// It was not.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }
}

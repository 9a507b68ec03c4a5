//! What a case consists of.

use crate::expected::{Check, Expected};

/// A file of cases.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// Variables for Thrust.
    pub(crate) env: Vec<(String, String)>,
    /// Path, contents, and when it was modified.
    pub(crate) files: Vec<(String, Vec<u8>, String)>,
    /// Whether its cases run one after the other.
    pub(crate) alone: bool,
    pub(crate) cases: Vec<Case>,
}

/// A rule, and what shows that it is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    /// The section and the claim.
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// A request, and all that follows from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    /// Where it stands in its file.
    pub(crate) line: usize,
    /// Seconds before it.
    pub(crate) wait: f64,
    pub(crate) request: Request,
    pub(crate) asking: Asking,
    pub(crate) answers: Vec<Answer>,
    /// What the app must have been sent.
    pub(crate) sent: Vec<Check>,
    /// What the client may get: one of these.
    pub(crate) expected: Vec<Expected>,
}

/// Whether the app is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Asking {
    /// As often as there are answers, before the client gets its own.
    #[default]
    First,
    /// Or not.
    Perhaps,
    /// But the client does not wait for it.
    Behind,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    /// Repeated until it gets what is expected.
    pub(crate) soon: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            target: "/".into(),
            fields: Vec::new(),
            body: None,
            soon: false,
        }
    }
}

/// The app's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) interim: Vec<Answer>,
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) framing: Framing,
    /// What the request that is to be so answered has, in a table.
    pub(crate) request: Vec<(String, String)>,
}

/// How the app ends a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    #[default]
    Counted,
    Chunked,
    UntilClose,
    /// In the middle, and closes.
    Cut,
    /// The same in chunks.
    ChunkedCut,
    /// Before it began: the app closes without an answer.
    Closed,
    /// The app does not even listen.
    Refused,
}

impl Answer {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields
            .iter()
            .any(|(found, _)| found.eq_ignore_ascii_case(name))
    }
}

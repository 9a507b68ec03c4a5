//! Who ended an exchange before its end: one word for the log.

/// One of the three who take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The client went away.
    Client,
    /// The app did, or was not there.
    App,
    /// We gave up.
    Thrust,
}

impl ClosedBy {
    /// The word that stands in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::App => "app",
            Self::Thrust => "thrust",
        }
    }
}

//! Where the Service is in its life, in one word.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A state of the Service, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The app is not there yet.
    #[default]
    Starting,
    /// The app answers, or has.
    Serving,
    /// A stop was asked for; everything is still served.
    Delaying,
    /// The last call on the front ports.
    Closing,
    /// The front ports are closed, requests are awaited.
    Draining,
    /// The app was signalled and is awaited.
    Stopping,
    /// The app was killed and is awaited.
    Killing,
    /// The app is gone; what no longer needs it may end.
    Finishing,
    /// Over.
    Stopped,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Starting,
        Self::Serving,
        Self::Delaying,
        Self::Closing,
        Self::Draining,
        Self::Stopping,
        Self::Killing,
        Self::Finishing,
        Self::Stopped,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Delaying => "delaying",
            Self::Closing => "closing",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Killing => "killing",
            Self::Finishing => "finishing",
            Self::Stopped => "stopped",
        }
    }

    /// Whether a stop is on its way.
    pub fn is_leaving(self) -> bool {
        self > Self::Serving
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//! What we exit with.

use std::process::ExitCode;

/// How it went; the numbers are those of sysexits.h where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As asked.
    Done = 0,
    /// Thrust would not, is not healthy, or has broken requests off. Docker takes no other number for unhealthy.
    Failed = 1,
    /// A command line that asks for nothing we do.
    Usage = 64,
    /// There is no Thrust to talk to.
    Unreachable = 69,
    /// It took longer than we were to wait.
    TimedOut = 75,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        (outcome as u8).into()
    }
}

//! What can be asked for.

use serde::{Deserialize, Serialize};

/// One connection's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// How it is: one [`Status`](super::Reply::Status).
    Status,
    /// How it is, now and five times a second, until it is over.
    Watch,
    /// The same as a SIGTERM; then as [`Watch`](Self::Watch).
    Drain,
    /// Hold new requests back from the app.
    Pause {
        /// How many may wait; 503 beyond.
        limit: usize,
        /// How long each waits in seconds; 503 after.
        seconds: u32,
    },
    /// Let them go on.
    Resume,
    /// Close the service to its users, all but the health check.
    Maintenance {
        /// Or open it again.
        on: bool,
        /// After how many seconds they are asked to come back.
        retry_after: u32,
    },
    /// Forget responses.
    Purge {
        /// Which.
        what: Purge,
    },
    /// Log more or less of ourselves.
    LogLevel {
        /// This and what is more severe.
        level: LogLevel,
    },
}

/// Which responses the cache is to forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purge {
    /// All.
    All,
    /// Those of these absolute URLs.
    Urls(Vec<String>),
    /// Those that have one of these in `Surrogate-Key` or `Cache-Tag`.
    Tags(Vec<String>),
}

/// How severe a log line must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what is about to.
    Warn,
    /// And what happens.
    Info,
    /// And why.
    Debug,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_lines_that_a_person_can_type() {
        for (line, command) in [
            (r#"{"command":"status"}"#, Command::Status),
            (
                r#"{"command":"pause","limit":5,"seconds":30}"#,
                Command::Pause {
                    limit: 5,
                    seconds: 30,
                },
            ),
            (
                r#"{"command":"purge","what":"all"}"#,
                Command::Purge { what: Purge::All },
            ),
            (
                r#"{"command":"purge","what":{"tags":["a"]}}"#,
                Command::Purge {
                    what: Purge::Tags(vec!["a".into()]),
                },
            ),
            (
                r#"{"command":"log-level","level":"debug"}"#,
                Command::LogLevel {
                    level: LogLevel::Debug,
                },
            ),
        ] {
            assert_eq!(serde_json::from_str::<Command>(line).unwrap(), command);
            assert_eq!(serde_json::to_string(&command).unwrap(), line);
        }
    }
}

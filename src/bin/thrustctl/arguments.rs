//! The command line.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use thrust::admin::control::protocol::{LogLevel, Purge};

const AFTER: &str = "\
Exit codes:
  0   done as asked; healthy; drained
  1   refused; not healthy; drained, but requests were broken off
  64  bad usage
  69  no Thrust to talk to
  75  took longer than --timeout";

/// See and steer a running Thrust, over the socket that THRUSTER_CONTROL_SOCKET names.
#[derive(Debug, Parser)]
#[command(name = "thrustctl", version, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The control socket [default: THRUSTER_CONTROL_SOCKET].
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) asked: Asked,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Asked {
    /// Show how it is.
    Status {
        /// As a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stop it as a SIGTERM does, and show how far it is.
    Drain {
        /// Do not wait for the end.
        #[arg(long)]
        no_wait: bool,
        /// Stop waiting after so many seconds; the drain goes on.
        #[arg(long, value_name = "SECONDS", conflicts_with = "no_wait")]
        timeout: Option<Seconds>,
    },
    /// Hold new requests back from the app, for a migration; what needs no app is served on.
    Pause {
        /// How many may wait; 503 beyond.
        #[arg(long, default_value_t = 1000, value_name = "REQUESTS")]
        limit: usize,
        /// How many seconds each waits; 503 after.
        #[arg(long, default_value = "30", value_name = "SECONDS")]
        timeout: Seconds,
    },
    /// Let the requests of a pause go on.
    Resume,
    /// Close it to its users with a 503, all but HTTP_HEALTH_PATH.
    Maintenance {
        switch: Switch,
        /// After how many seconds users are asked to come back.
        #[arg(long, default_value = "60", value_name = "SECONDS")]
        retry_after: Seconds,
    },
    /// Make the cache forget responses.
    Purge {
        #[command(subcommand)]
        what: Forget,
    },
    /// Log so much of itself, until it is started anew.
    LogLevel { level: Level },
    /// Exit with 0 if it is healthy, else with 1: for HEALTHCHECK and exec probes.
    ///
    /// Asks the control socket; without one STATUS_PORT; without that the front, for HTTP_HEALTH_PATH if there is one.
    Healthcheck {
        #[arg(default_value = "ready")]
        probe: Probe,
        /// How many seconds the answer may take.
        #[arg(long, default_value = "5", value_name = "SECONDS")]
        timeout: Seconds,
    },
    /// Wait until a drain that others begin has ended: for the preStop hook of a sidecar that Thrust's app needs to the end.
    ///
    /// Where no Thrust answers, it has ended.
    WaitDrained {
        /// Until Thrust itself has ended, and its app with it.
        #[arg(long)]
        gone: bool,
        /// Stop waiting after so many seconds.
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<Seconds>,
    },
    /// Print a script that completes our commands in a shell.
    Completions { shell: Shell },
}

/// Which responses.
#[derive(Debug, Subcommand)]
pub(crate) enum Forget {
    /// Those of these URLs, as clients see them.
    Url {
        /// Absolute, with their query.
        #[arg(required = true, value_name = "URL")]
        urls: Vec<String>,
    },
    /// Those that the app has given one of these tags, in Surrogate-Key or Cache-Tag.
    Tag {
        #[arg(required = true, value_name = "TAG")]
        tags: Vec<String>,
    },
    /// All.
    All,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Probe {
    /// Whether new requests are welcome.
    Ready,
    /// Whether it runs.
    Live,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// A duration in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) u32);

impl Arguments {
    /// Where Thrust is, as far as we were told.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        let told = || super::variable(&["THRUSTER_CONTROL_SOCKET"]).map(PathBuf::from);
        self.socket.clone().or_else(told)
    }
}

impl Seconds {
    pub(crate) fn as_duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl Switch {
    pub(crate) fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

impl From<&Forget> for Purge {
    fn from(what: &Forget) -> Self {
        match what {
            Forget::Url { urls } => Self::Urls(urls.clone()),
            Forget::Tag { tags } => Self::Tags(tags.clone()),
            Forget::All => Self::All,
        }
    }
}

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| "expected whole seconds, from 0 to 4294967295")
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}

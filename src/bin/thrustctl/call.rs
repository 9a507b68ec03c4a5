//! A conversation over the control socket.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use thrust::admin::control::protocol::{Command, Reply};

use super::outcome::Outcome;

/// How long the next line may take. A purge of a large cache takes a while; a watch says something all the time.
const PATIENCE: Duration = Duration::from_secs(60);

/// One command and its answers.
#[derive(Debug)]
pub(crate) struct Call {
    answers: BufReader<UnixStream>,
}

/// Why it came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(
        "no control socket; set THRUSTER_CONTROL_SOCKET for Thrust and for thrustctl, or give --socket"
    )]
    NoSocket,
    #[error("no Thrust at {}: {source}", path.display())]
    Unreachable { path: PathBuf, source: io::Error },
    #[error("no answer: {0}")]
    Broken(io::Error),
    #[error("no answer: Thrust has ended")]
    Ended,
    #[error("an answer that is none: is it another version's?")]
    Strange,
    #[error("{0}")]
    Refused(String),
}

impl CallError {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::NoSocket => Outcome::Usage,
            Self::Unreachable { .. } | Self::Broken(_) | Self::Ended => Outcome::Unreachable,
            Self::Strange | Self::Refused(_) => Outcome::Failed,
        }
    }
}

impl Call {
    /// Says `command` to whoever listens at `socket`.
    pub(crate) fn make(socket: Option<PathBuf>, command: &Command) -> Result<Self, CallError> {
        let path = socket.ok_or(CallError::NoSocket)?;
        let stream =
            UnixStream::connect(&path).map_err(|source| CallError::Unreachable { path, source })?;
        let mut line = serde_json::to_vec(command).map_err(|_| CallError::Strange)?;
        line.push(b'\n');
        let mut call = Self {
            answers: BufReader::new(stream),
        };
        call.wait_at_most(PATIENCE)?;
        // One who is refused at the door may find it closed, and the reason before it.
        let _ = call.answers.get_mut().write_all(&line);
        Ok(call)
    }

    /// How long the next line may take.
    pub(crate) fn wait_at_most(&self, patience: Duration) -> Result<(), CallError> {
        let patience = patience.max(Duration::from_millis(1));
        let stream = self.answers.get_ref();
        let set = stream.set_read_timeout(Some(patience));
        set.map_err(CallError::Broken)
    }

    /// The next line, read and as it came; none after the last.
    pub(crate) fn next(&mut self) -> Result<Option<(Reply, String)>, CallError> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => {
                let reply = serde_json::from_str(&line).map_err(|_| CallError::Strange)?;
                Ok(Some((reply, line.trim_end().to_owned())))
            }
            Err(error) => Err(CallError::Broken(error)),
        }
    }
}

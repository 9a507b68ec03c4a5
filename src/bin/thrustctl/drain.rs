//! Following a stop to its end.

use std::{
    io::ErrorKind,
    path::PathBuf,
    time::{Duration, Instant},
};

use thrust::admin::{
    Snapshot, State,
    control::protocol::{Command, Reply},
};

use super::{
    bar::Bar,
    call::{Call, CallError},
    complain,
    outcome::Outcome,
    say,
};

/// How far it came before we stopped watching.
enum Seen {
    /// As far as we wanted.
    Enough(Box<Snapshot>),
    /// To its end, which may not have been the one that it should have.
    Ended,
    TimedOut,
}

/// Shows a drain that we have asked for, until Thrust has ended.
pub(crate) fn follow(call: Call, timeout: Option<Duration>) -> Result<Outcome, CallError> {
    let last = match watch(call, timeout, |snapshot| snapshot.state == State::Stopped)? {
        Seen::Enough(last) => last,
        Seen::Ended => {
            complain("Thrust has ended without a last word");
            return Ok(Outcome::Failed);
        }
        Seen::TimedOut => return Ok(timed_out()),
    };
    let (drained, cut) = last
        .stop
        .as_ref()
        .map_or((0, 0), |stop| (stop.drained, stop.cut));
    let code = last.exit_code.unwrap_or_default();
    say(&format!(
        "{drained} requests drained, {cut} cut; Thrust exits with {code}\n"
    ));
    Ok(if cut == 0 {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

/// Waits for a drain that somebody else asks for; where nobody answers there is nothing to wait for.
pub(crate) fn wait(
    socket: Option<PathBuf>,
    timeout: Option<Duration>,
    gone: bool,
) -> Result<Outcome, CallError> {
    let call = match Call::make(socket, &Command::Watch) {
        Err(error @ CallError::Unreachable { .. }) => {
            complain(&format!("{error}; taken for drained"));
            return Ok(Outcome::Done);
        }
        call => call?,
    };
    let enough = if gone {
        State::Stopped
    } else {
        State::Stopping
    };
    match watch(call, timeout, |snapshot| snapshot.state >= enough)? {
        Seen::Enough(_) | Seen::Ended => Ok(Outcome::Done),
        Seen::TimedOut => Ok(timed_out()),
    }
}

fn timed_out() -> Outcome {
    complain("not drained in time; it goes on");
    Outcome::TimedOut
}

fn watch(
    mut call: Call,
    timeout: Option<Duration>,
    enough: impl Fn(&Snapshot) -> bool,
) -> Result<Seen, CallError> {
    let end = timeout.map(|timeout| Instant::now() + timeout);
    let mut bar = Bar::new();
    let seen = loop {
        if let Some(end) = end {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Seen::TimedOut;
            }
            call.wait_at_most(left)?;
        }
        match call.next() {
            Ok(Some((Reply::Status(snapshot), _))) => {
                bar.show(&snapshot);
                if enough(&snapshot) {
                    break Seen::Enough(snapshot);
                }
            }
            Ok(Some((Reply::Done { .. }, _))) => {}
            Ok(Some((Reply::Refused { why }, _))) => return Err(CallError::Refused(why)),
            Err(CallError::Broken(error)) if error.kind() == ErrorKind::WouldBlock => {
                break Seen::TimedOut;
            }
            // Killed, it closes the socket in whatever way it may.
            Ok(None) | Err(CallError::Broken(_)) => break Seen::Ended,
            Err(error) => return Err(error),
        }
    };
    bar.finish();
    Ok(seen)
}

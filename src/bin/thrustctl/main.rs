//! `thrustctl`: sees and steers a running Thrust over its control socket.
//!
//! Of Thrust it links the protocol and nothing else.

mod arguments;
mod ask;
mod bar;
mod call;
mod drain;
mod front;
mod health;
mod outcome;
mod table;

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use thrust::admin::control::protocol::{Command, Reply};

use self::{
    arguments::{Arguments, Asked, Seconds},
    call::{Call, CallError},
    outcome::Outcome,
};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Without a stderr there is nobody to tell.
            let _ = error.print();
            let asked_for_help = !error.use_stderr();
            return if asked_for_help {
                Outcome::Done
            } else {
                Outcome::Usage
            }
            .into();
        }
    };
    match run(&arguments) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            complain(&error.to_string());
            error.outcome().into()
        }
    }
}

fn run(arguments: &Arguments) -> Result<Outcome, CallError> {
    let socket = arguments.socket();
    match &arguments.asked {
        Asked::Status { json } => status(socket, *json),
        Asked::Drain { no_wait: true, .. } => carry_out(socket, &Command::Drain),
        Asked::Drain { timeout, .. } => {
            let call = Call::make(socket, &Command::Drain)?;
            drain::follow(call, timeout.map(Seconds::as_duration))
        }
        Asked::WaitDrained { timeout, gone } => {
            drain::wait(socket, timeout.map(Seconds::as_duration), *gone)
        }
        Asked::Pause { limit, timeout } => {
            let (limit, seconds) = (*limit, timeout.0);
            carry_out(socket, &Command::Pause { limit, seconds })
        }
        Asked::Resume => carry_out(socket, &Command::Resume),
        Asked::Maintenance {
            switch,
            retry_after,
        } => {
            let (on, retry_after) = (switch.is_on(), retry_after.0);
            carry_out(socket, &Command::Maintenance { on, retry_after })
        }
        Asked::Purge { what } => carry_out(socket, &Command::Purge { what: what.into() }),
        Asked::LogLevel { level } => {
            let level = (*level).into();
            carry_out(socket, &Command::LogLevel { level })
        }
        Asked::Healthcheck { probe, timeout } => {
            Ok(health::check(socket, *probe, timeout.as_duration()))
        }
        Asked::Completions { shell } => {
            complete(*shell);
            Ok(Outcome::Done)
        }
    }
}

fn complete(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "thrustctl", &mut script);
    say(&String::from_utf8_lossy(&script));
}

/// What is asked for in one line, and answered in one.
fn carry_out(socket: Option<PathBuf>, command: &Command) -> Result<Outcome, CallError> {
    let mut call = Call::make(socket, command)?;
    let (reply, _) = call.next()?.ok_or(CallError::Ended)?;
    match reply {
        Reply::Done { text } if text.is_empty() => {}
        Reply::Done { text } => say(&format!("{text}\n")),
        Reply::Refused { why } => return Err(CallError::Refused(why)),
        Reply::Status(_) => return Err(CallError::Strange),
    }
    Ok(Outcome::Done)
}

fn status(socket: Option<PathBuf>, json: bool) -> Result<Outcome, CallError> {
    let mut call = Call::make(socket, &Command::Status)?;
    let (reply, line) = call.next()?.ok_or(CallError::Ended)?;
    match reply {
        // As it came: a newer Thrust may say more than we know of.
        Reply::Status(_) if json => say(&format!("{line}\n")),
        Reply::Status(snapshot) => say(&table::of(&snapshot)),
        Reply::Refused { why } => return Err(CallError::Refused(why)),
        Reply::Done { .. } => return Err(CallError::Strange),
    }
    Ok(Outcome::Done)
}

/// Whoever reads may have seen enough.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "thrustctl: {text}");
}

/// A variable, under the name with the prefix or, where that is read too, bare; an empty one counts as unset.
fn variable(names: &[&str]) -> Option<String> {
    let set = |name: &&str| env::var(name).ok().filter(|value| !value.is_empty());
    names.iter().find_map(set)
}

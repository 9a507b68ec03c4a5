//! The process; knows nothing of HTTP.
//!
//! [`Upstream`] is the child as a value: while it runs it has a pid and can be signalled, once reaped it has only an
//! [`Exit`]. Nobody but the reaper waits, and reaping and signalling need the same value, so no signal goes to a pid that
//! may belong to another by now. [`readiness`] tells when its port answers.
//!
//! Who comes in: the Service, from the main thread, in the order *signal handlers, bind, spawn, serve*.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::Path,
};

use nix::errno::Errno;

use crate::target::Target;

#[cfg(test)]
pub(crate) mod alone;
mod command;
mod exit;
mod limits;
pub mod notify;
mod probe;
mod puma;
pub mod readiness;
mod reaper;
mod signal;
mod sys;
#[cfg(test)]
mod tests;

pub use command::SpawnError;
pub use exit::Exit;
pub use limits::{Nofile, raise_nofile};
pub use puma::Puma;
pub use signal::Name;

use reaper::Reaper;

/// What the child was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The program and its arguments, executed as given.
    pub command: Vec<OsString>,
    /// Where the app will listen; a port is handed to it as `PORT`.
    pub target: Target,
}

/// The child.
#[derive(Debug)]
pub struct Upstream {
    state: State,
    own_group: bool,
    reaper: Reaper,
}

/// What can be said of the child: a pid is known only while it may be signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, or has ended and not been reaped yet.
    Running {
        /// Its process id, and that of its group if it has its own.
        pid: i32,
    },
    /// It has ended and been reaped.
    Exited(Exit),
}

impl Upstream {
    /// Starts the child: no shell, our stdin, stdout and stderr, `PORT` if the target is one, `NOTIFY_SOCKET` if there is one
    /// to `notify` and never the one that we were given, default signal dispositions, an empty signal mask, and the limit on open files that [`raise_nofile`] returned.
    ///
    /// With a terminal on stdin it stays in our process group and so keeps the terminal; otherwise it leads its own.
    /// To be called from the main thread, and with a handler for SIGCHLD in place: our death reaches the child (unless we
    /// are PID 1) through `PR_SET_PDEATHSIG`, which watches the *thread* that forked. Descriptors without close-on-exec,
    /// which are those that we were started with and never those that we open, are passed on.
    ///
    /// # Errors
    /// When there is no such command, it may not be executed, or no process can be made.
    pub fn spawn(
        settings: &Settings,
        notify: Option<&Path>,
        nofile: Option<Nofile>,
    ) -> Result<Self, SpawnError> {
        let own_group = !io::stdin().is_terminal();
        Self::spawn_in(settings, notify, nofile, own_group)
    }

    fn spawn_in(
        settings: &Settings,
        notify: Option<&Path>,
        nofile: Option<Nofile>,
        own_group: bool,
    ) -> Result<Self, SpawnError> {
        let pid = command::spawn(settings, notify, own_group, nofile)?.cast_signed();
        Ok(Self {
            state: State::Running { pid },
            own_group,
            reaper: Reaper::of_this_process(),
        })
    }

    /// Whether it runs, or how it ended.
    pub fn state(&self) -> State {
        self.state
    }

    /// Its process id, while it has not been reaped.
    pub fn pid(&self) -> Option<i32> {
        match self.state {
            State::Running { pid } => Some(pid),
            State::Exited(_) => None,
        }
    }

    /// Whether it leads a process group of its own. If not, what the terminal sends has reached it already.
    pub fn own_group(&self) -> bool {
        self.own_group
    }

    /// Sends it a signal by number, real-time ones included. Nothing happens if it has ended.
    ///
    /// # Errors
    /// `EPERM` when it has become another user's, `EINVAL` for a number that is no signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.pid().map_or(Ok(()), |pid| deliver(pid, signal))
    }

    /// Kills it, and with it the whole group if it leads its own. Nothing happens if it has been reaped.
    ///
    /// # Errors
    /// `EPERM` when it has become another user's.
    pub fn kill(&self) -> io::Result<()> {
        let Some(pid) = self.pid() else {
            return Ok(());
        };
        let group = if self.own_group {
            deliver(-pid, libc::SIGKILL)
        } else {
            Ok(())
        };
        // Also by itself, as it may have moved to another group.
        deliver(pid, libc::SIGKILL).and(group)
    }

    /// Waits, without blocking, for whoever has ended: to be called after each SIGCHLD and once after the spawn.
    ///
    /// Returns how the child ended, once, in the call that reaps it. Goes on reaping orphans after that.
    pub fn reap(&mut self) -> Option<Exit> {
        let sweep = self.reaper.sweep(self.pid());
        if sweep.orphans > 0 {
            tracing::debug!(orphans = sweep.orphans, "orphans reaped");
        }
        let exit = sweep.exit?;
        self.state = State::Exited(exit);
        Some(exit)
    }
}

/// Sends a signal to a process or, negative, a group; one that has just gone is no error.
fn deliver(pid: i32, signal: i32) -> io::Result<()> {
    match sys::kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

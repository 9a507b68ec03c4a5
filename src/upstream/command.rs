//! The command that becomes the child, and why it could not.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
};

use nix::{
    sys::signal::{SigSet, SigmaskHow},
    unistd::getpid,
};

use super::{Settings, limits::Nofile, sys::Preparation};
use crate::target::Target;

/// What a supervisor tells the one process that it starts (sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3)).
const OURS_ALONE: [&str; 7] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// Why there is no child; the message names the command and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No such file; 127, as shells say it.
    #[error("command not found: {}; {}", command.display(), advice_if_missing(command))]
    NotFound {
        /// What was to be started.
        command: OsString,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is there but may not or cannot be executed; 126, as shells say it.
    #[error("cannot execute {}: {source}; {}", command.display(), advice_if_refused(source))]
    NotExecutable {
        /// What was to be started.
        command: OsString,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else, such as a limit on processes or memory; 1.
    #[error("cannot start {}: {source}; check the limits on processes and memory", command.display())]
    Failed {
        /// What was to be started.
        command: OsString,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SpawnError {
    fn new(command: &OsStr, source: io::Error) -> Self {
        let command = command.to_os_string();
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Self::NotFound { command, source },
            Some(libc::EACCES | libc::EPERM | libc::ENOEXEC | libc::EISDIR | libc::ETXTBSY) => {
                Self::NotExecutable { command, source }
            }
            _ => Self::Failed { command, source },
        }
    }

    /// The code to exit with: 127, 126 or 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            Self::Failed { .. } => 1,
        }
    }
}

fn advice_if_missing(command: &OsStr) -> &'static str {
    let is_path = command.as_encoded_bytes().contains(&b'/');
    if is_path && Path::new(command).exists() {
        "the file is there, but not the interpreter that its first line names (Windows line endings?)"
    } else if is_path {
        "check the path, and the working directory that it starts from"
    } else {
        "check the spelling and PATH"
    }
}

fn advice_if_refused(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOEXEC) => "is it built for this machine, or a script without `#!`?",
        Some(libc::EISDIR) => "it is a directory",
        Some(libc::ETXTBSY) => "it is still being written",
        _ => "make it a file with `chmod +x`, on a file system not mounted `noexec`",
    }
}

/// Starts the child and returns its pid; it has been executed when this returns.
pub(super) fn spawn(
    settings: &Settings,
    notify: Option<&Path>,
    own_group: bool,
    nofile: Option<Nofile>,
) -> Result<u32, SpawnError> {
    let (program, arguments) = match settings.command.split_first() {
        Some((program, arguments)) => (program.as_os_str(), arguments),
        None => (OsStr::new(""), &[][..]),
    };
    let mut command = Command::new(program);
    command.args(arguments);
    if let Target::Port(port) = settings.target {
        command.env("PORT", port.to_string());
    }
    // Whoever started us listens to us, not to the app.
    for name in OURS_ALONE {
        command.env_remove(name);
    }
    if let Some(path) = notify {
        command.env("NOTIFY_SOCKET", path);
    }
    if own_group {
        command.process_group(0);
    }
    let bound_to = Some(getpid().as_raw()).filter(|&pid| pid != 1);
    Preparation { nofile, bound_to }.apply_to(&mut command);

    let _undisturbed = Blocked::all();
    let child = command.spawn();
    child
        .map(|child| child.id())
        .map_err(|source| SpawnError::new(program, source))
}

/// All signals blocked on this thread until it is dropped.
///
/// The child starts with a copy of our handlers: a Ctrl-C that reaches it before it has reset them would be lost on it.
/// Blocked, it waits until the reset.
struct Blocked {
    before: Option<SigSet>,
}

impl Blocked {
    fn all() -> Self {
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).ok();
        Self { before }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Fails only for a `how` that does not exist.
            let _ = before.thread_set_mask();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_went_wrong_as_shells_do() {
        for (errno, code) in [
            (libc::ENOENT, 127),
            (libc::ENOTDIR, 127),
            (libc::EACCES, 126),
            (libc::ENOEXEC, 126),
            (libc::EAGAIN, 1),
            (libc::ENOMEM, 1),
            (libc::E2BIG, 1),
        ] {
            let error = SpawnError::new(OsStr::new("bin/app"), io::Error::from_raw_os_error(errno));
            assert_eq!(error.exit_code(), code, "{error}");
            assert!(error.to_string().contains("bin/app"));
        }
    }
}

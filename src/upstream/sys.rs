//! The system calls that have no safe wrapper, and nothing else.
//!
//! nix knows no real-time signals: its `kill` cannot send one, its `waitpid` loses the status of a child that died of one.

use std::{os::unix::process::CommandExt, process::Command};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::getppid,
};

use super::limits::Nofile;

/// The kernel's own `sigset_t` holds 64 signals, the C library's more.
const KERNEL_SIGSET_BYTES: usize = 8;
/// The last of them, `SIGRTMAX`.
const LAST_SIGNAL: i32 = 64;

/// What the child changes about itself between fork and exec.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preparation {
    /// The limit that it goes back to.
    pub(super) nofile: Option<Nofile>,
    /// Our pid, where our death is to stop the child.
    pub(super) bound_to: Option<i32>,
}

impl Preparation {
    /// Has `command` prepare its process in this way.
    pub(super) fn apply_to(self, command: &mut Command) {
        // SAFETY: after a fork in a process with threads only async-signal-safe functions may be called. `carry_out`
        // makes direct system calls on values of its own; it neither allocates, locks, logs nor panics.
        unsafe {
            command.pre_exec(move || {
                self.carry_out();
                Ok(())
            });
        }
    }

    /// Best effort: no step can fail in a way that would make no child the better choice.
    fn carry_out(self) {
        (1..=LAST_SIGNAL).for_each(reset);
        if let Some(parent) = self.bound_to {
            die_with(parent);
        }
        if let Some(nofile) = self.nofile {
            nofile.restore();
        }
        // Last: whatever came in since the fork now meets the default and not a copy of our handler.
        let _ = SigSet::empty().thread_set_mask();
    }
}

/// Sets the default disposition, which exec does only for signals that have a handler, not for ignored ones.
///
/// By the bare system call ([rt_sigaction(2)]), since `signal` refuses the two signals that the C library keeps for itself
/// and that may have come to us ignored all the same. KILL and STOP are refused by the kernel, rightly.
///
/// [rt_sigaction(2)]: https://man7.org/linux/man-pages/man2/sigaction.2.html
fn reset(signal: i32) {
    // The kernel's `struct sigaction` is four words or fewer; zeros are SIG_DFL, no flags, nothing blocked.
    let default = [0_u64; 4];
    // SAFETY: the call reads `default`, which is as large as it expects or larger, writes nothing, and is async-signal-safe.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            default.as_ptr(),
            std::ptr::null_mut::<u64>(),
            KERNEL_SIGSET_BYTES,
        );
    }
}

/// Asks for a SIGTERM when `parent` dies, and ends at once where that has happened before we could ask ([prctl(2)]).
///
/// [prctl(2)]: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
fn die_with(parent: i32) {
    let _ = prctl::set_pdeathsig(Signal::SIGTERM);
    let now = getppid().as_raw();
    // 0 is a parent outside of our PID namespace, which says nothing about its life.
    if now != parent && now != 0 {
        // SAFETY: _exit(2) is async-signal-safe and does not return; nobody is left to read the code.
        unsafe { libc::_exit(128 + libc::SIGTERM) }
    }
}

/// Sends a signal to a process, or to the group `-pid` ([kill(2)]).
///
/// [kill(2)]: https://man7.org/linux/man-pages/man2/kill.2.html
pub(super) fn kill(pid: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: kill(2) takes two numbers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// The pid and status of a child that has changed, of those that `pid` means (-1 is any); none when none has ([waitpid(2)]).
///
/// [waitpid(2)]: https://man7.org/linux/man-pages/man2/wait.2.html
pub(super) fn wait(pid: i32) -> nix::Result<Option<(i32, i32)>> {
    let mut status = 0;
    // SAFETY: `status` is valid for writing an int while the call lasts.
    let changed = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
    Errno::result(changed).map(|pid| (pid != 0).then_some((pid, status)))
}

#[cfg(test)]
pub(super) mod tests {
    /// Ignores a signal in this process, as `nohup` does; those that cannot be ignored stay.
    pub(in crate::upstream) fn ignore(signal: i32) {
        // SAFETY: SIG_IGN is a valid disposition.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }

    /// Undoes [`ignore`].
    pub(in crate::upstream) fn heed(signal: i32) {
        super::reset(signal);
    }
}

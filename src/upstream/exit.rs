//! How the child ended.

use std::fmt;

use super::signal::Name;

/// The end of a process, as [wait(2)] tells it.
///
/// [wait(2)]: https://man7.org/linux/man-pages/man2/wait.2.html
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this status.
    Code(u8),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// Reads a status of `waitpid`; none when the process has only been stopped or continued.
    pub(super) fn from_status(status: i32) -> Option<Self> {
        if libc::WIFEXITED(status) {
            return u8::try_from(libc::WEXITSTATUS(status)).ok().map(Self::Code);
        }
        libc::WIFSIGNALED(status).then(|| Self::Signal(libc::WTERMSIG(status)))
    }

    /// The exit code that passes it on: its own, or 128 plus the signal, as shells do.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with {code}"),
            Self::Signal(signal) => write!(f, "killed by {}", Name(*signal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_waitpid_says() {
        let real_time = libc::SIGRTMIN() + 1;
        for (status, exit, code, text) in [
            (0, Exit::Code(0), 0, "exited with 0"),
            (3 << 8, Exit::Code(3), 3, "exited with 3"),
            (255 << 8, Exit::Code(255), 255, "exited with 255"),
            (9, Exit::Signal(9), 137, "killed by SIGKILL"),
            (15, Exit::Signal(15), 143, "killed by SIGTERM"),
            (11 | 0x80, Exit::Signal(11), 139, "killed by SIGSEGV"),
            (
                real_time,
                Exit::Signal(real_time),
                163,
                "killed by SIGRTMIN+1",
            ),
        ] {
            let read = Exit::from_status(status);
            assert_eq!(read, Some(exit), "status {status:#x}");
            assert_eq!((exit.code(), exit.to_string().as_str()), (code, text));
        }
    }

    #[test]
    fn neither_stopped_nor_continued_is_an_exit() {
        let (stopped, continued) = (libc::SIGSTOP << 8 | 0x7f, 0xffff);
        assert_eq!(Exit::from_status(stopped), None);
        assert_eq!(Exit::from_status(continued), None);
    }
}

//! The only place that waits for processes.
//!
//! Called after SIGCHLD, which coalesces: one signal may stand for many deaths, so a sweep goes on until nobody is left.
//! As PID 1 (or a subreaper) every orphan of the container becomes our child and stays a zombie until it is waited for.
//! Anywhere else we wait for our own child alone.

use nix::{errno::Errno, sys::prctl, unistd::getpid};

use super::{exit::Exit, sys};

/// What a sweep says of a child whose status somebody else took away: it is gone, and not well.
const LOST: Exit = Exit::Code(1);

/// Whom this process has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaper {
    /// The child, and every orphan that the kernel hands us.
    Everyone,
    /// The child.
    ChildAlone,
}

/// What one sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sweep {
    /// The end of the child.
    pub(super) exit: Option<Exit>,
    /// How many others were let go.
    pub(super) orphans: usize,
}

impl Reaper {
    /// The duty that the kernel has given this process: to be PID 1, or to be a subreaper, which we never ask for ourselves.
    pub(super) fn of_this_process() -> Self {
        let everyone = getpid().as_raw() == 1 || prctl::get_child_subreaper().unwrap_or(false);
        if everyone {
            Self::Everyone
        } else {
            Self::ChildAlone
        }
    }

    /// Waits for all who have ended, without blocking. `child` is its pid while it has not been reaped.
    pub(super) fn sweep(self, child: Option<i32>) -> Sweep {
        self.sweep_with(child, sys::wait)
    }

    fn sweep_with(
        self,
        child: Option<i32>,
        mut wait: impl FnMut(i32) -> nix::Result<Option<(i32, i32)>>,
    ) -> Sweep {
        let mut sweep = Sweep::default();
        loop {
            // A pid that has been reaped may belong to another by now: with nobody left of ours, we do not ask.
            let awaited = child.filter(|_| sweep.exit.is_none());
            let whom = match self {
                Self::Everyone => -1,
                Self::ChildAlone => match awaited {
                    Some(pid) => pid,
                    None => return sweep,
                },
            };
            match wait(whom) {
                Ok(Some((pid, status))) => sweep.note(awaited == Some(pid), status),
                Ok(None) => return sweep,
                Err(Errno::EINTR) => {}
                Err(error) => {
                    if let Some(pid) = awaited {
                        tracing::error!(pid, %error, "child's status lost");
                        sweep.exit = Some(LOST);
                    }
                    return sweep;
                }
            }
        }
    }
}

impl Sweep {
    fn note(&mut self, is_child: bool, status: i32) {
        match Exit::from_status(status) {
            Some(exit) if is_child => self.exit = Some(exit),
            Some(_) => self.orphans += 1,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHILD: i32 = 7;
    const STOPPED: i32 = libc::SIGSTOP << 8 | 0x7f;

    type Answer = nix::Result<Option<(i32, i32)>>;

    /// A sweep in which the kernel gives these answers; more questions than that fail the test.
    fn sweep(reaper: Reaper, child: Option<i32>, answers: &[Answer]) -> Sweep {
        let mut answers = answers.iter();
        let swept = reaper.sweep_with(child, |whom| {
            assert_eq!(
                whom,
                if reaper == Reaper::Everyone {
                    -1
                } else {
                    CHILD
                }
            );
            *answers.next().expect("one question too many")
        });
        assert_eq!(answers.next(), None, "a question too few");
        swept
    }

    #[test]
    fn finds_the_child_among_orphans() {
        let found = sweep(
            Reaper::Everyone,
            Some(CHILD),
            &[
                Ok(Some((100, 0))),
                Err(Errno::EINTR),
                Ok(Some((CHILD, 3 << 8))),
                Ok(Some((101, 9))),
                // The child's pid once more, now that of an orphan: its status must not stand in for the child's.
                Ok(Some((CHILD, 0))),
                Err(Errno::ECHILD),
            ],
        );
        let (exit, orphans) = (Some(Exit::Code(3)), 3);
        assert_eq!(found, Sweep { exit, orphans });
    }

    #[test]
    fn goes_on_reaping_orphans_without_a_child() {
        let found = sweep(Reaper::Everyone, None, &[Ok(Some((100, 0))), Ok(None)]);
        let (exit, orphans) = (None, 1);
        assert_eq!(found, Sweep { exit, orphans });
    }

    #[test]
    fn asks_for_the_child_alone_until_it_is_gone() {
        let alone = Reaper::ChildAlone;
        assert_eq!(sweep(alone, Some(CHILD), &[Ok(None)]), Sweep::default());
        assert_eq!(sweep(alone, None, &[]), Sweep::default());
        let gone = sweep(
            alone,
            Some(CHILD),
            &[Err(Errno::EINTR), Ok(Some((CHILD, 15)))],
        );
        assert_eq!(gone.exit, Some(Exit::Signal(15)));
    }

    #[test]
    fn a_stopped_child_has_not_ended() {
        for reaper in [Reaper::Everyone, Reaper::ChildAlone] {
            let found = sweep(reaper, Some(CHILD), &[Ok(Some((CHILD, STOPPED))), Ok(None)]);
            assert_eq!(found, Sweep::default());
        }
    }

    #[test]
    fn a_stolen_status_is_an_end_too() {
        for reaper in [Reaper::Everyone, Reaper::ChildAlone] {
            let found = sweep(reaper, Some(CHILD), &[Err(Errno::ECHILD)]);
            assert_eq!(found.exit, Some(LOST));
        }
    }
}

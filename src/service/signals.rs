//! The kernel's signals as values, with who sent them.
//!
//! To be installed before anything is bound or spawned: as PID 1 a signal without a handler is ignored, anywhere else it
//! ends us. The handlers of signal-hook only store and write a byte to a non-blocking socket pair. Signals coalesce (up to
//! five of a kind are kept while nobody listens), so never count them.
//!
//! Not handled: SIGTSTP and SIGCONT, so that Ctrl-Z stops us together with a child in our group; SIGPIPE, which Rust
//! ignores; and what a program does to itself (SEGV, ABRT, ..).

use std::{
    collections::VecDeque,
    future, io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use nix::{
    sys::signal::SigSet,
    unistd::{getpid, getsid},
};
use signal_hook::{
    iterator::exfiltrator::WithOrigin,
    low_level::siginfo::{Cause, Origin},
};
use signal_hook_tokio::SignalsInfo;

/// What a signal is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// SIGTERM, SIGINT or SIGQUIT: what [`Repeats`](super::repeats::Repeats) takes.
    Stop {
        /// Its number.
        signal: i32,
        /// Whether it came from the terminal, which sends it to the whole foreground group.
        terminal: bool,
    },
    /// Any other that the child is to have.
    Forward {
        /// Its number.
        signal: i32,
        /// Whether it came from the terminal, which sends it to the whole foreground group.
        terminal: bool,
    },
    /// A child has ended, stopped or gone on: time to reap.
    Child,
}

/// The signals that this process receives, from the moment it is installed.
///
/// Once dropped they are swallowed: the handlers stay and do nothing. Keep it until the process ends.
pub struct Signals {
    stream: SignalsInfo<WithOrigin>,
    heard: VecDeque<Heard>,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals")
            .field("heard", &self.heard)
            .finish_non_exhaustive()
    }
}

impl Signals {
    /// Installs a handler for each signal and unblocks all: who started us may have left some blocked.
    ///
    /// To be called within the control thread's runtime, before other threads exist (they inherit the mask).
    ///
    /// # Errors
    /// Without a file descriptor to spare, or a runtime with I/O.
    pub fn install() -> io::Result<Self> {
        // A signal that comes between a handler and its registration would be lost; blocked, it waits for both.
        SigSet::all().thread_block()?;
        let stream = SignalsInfo::new(handled())?;
        SigSet::empty().thread_set_mask()?;
        let heard = VecDeque::new();
        Ok(Self { stream, heard })
    }

    /// Waits for the next signal. Cancel safe.
    ///
    /// Of signals that arrived together, [`Heard::Child`] comes first (the child's own status wins over a stop) and the
    /// others by number: the kernel does not say in which order they came.
    pub async fn next(&mut self) -> Heard {
        future::poll_fn(|cx| {
            self.collect(cx);
            self.heard.pop_front().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The next signal, if one has arrived: tells, between two steps of starting, that a stop has come in.
    pub async fn arrived(&mut self) -> Option<Heard> {
        // The stream asks the runtime whether a handler has written; the runtime looks when a task yields.
        tokio::task::yield_now().await;
        self.collect(&mut Context::from_waker(Waker::noop()));
        self.heard.pop_front()
    }

    /// Takes in all that have arrived, so that the child's end can be put first.
    fn collect(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(origin)) = Pin::new(&mut self.stream).poll_next(cx) {
            match classify(&origin) {
                Heard::Child if self.heard.front() == Some(&Heard::Child) => {}
                Heard::Child => self.heard.push_front(Heard::Child),
                heard => self.heard.push_back(heard),
            }
        }
    }
}

/// Those that we listen for, [signal(7)]. The two real-time signals below `SIGRTMIN` belong to the C library.
///
/// [signal(7)]: https://man7.org/linux/man-pages/man7/signal.7.html
fn handled() -> impl Iterator<Item = i32> {
    use libc::{
        SIGCHLD, SIGHUP, SIGINT, SIGPWR, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGURG, SIGUSR1,
        SIGUSR2, SIGWINCH,
    };
    let named = [
        SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH,
        SIGPWR, SIGCHLD,
    ];
    named.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
}

fn classify(origin: &Origin) -> Heard {
    let signal = origin.signal;
    let terminal = origin.cause == Cause::Kernel && sent_by_terminals(signal);
    match signal {
        libc::SIGCHLD => Heard::Child,
        libc::SIGTERM | libc::SIGINT | libc::SIGQUIT => Heard::Stop { signal, terminal },
        _ => Heard::Forward { signal, terminal },
    }
}

/// Whether a terminal sends this signal to its whole foreground group. Of others the kernel is a sender like any other.
fn sent_by_terminals(signal: i32) -> bool {
    match signal {
        libc::SIGINT | libc::SIGQUIT | libc::SIGWINCH | libc::SIGTTIN | libc::SIGTTOU => true,
        // A hangup reaches the leader of the session alone (`docker run -t` makes us that); the group only if we are not.
        libc::SIGHUP => getsid(None).ok() != Some(getpid()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::{
        signal::{Signal, raise},
        wait::waitpid,
    };

    use super::*;
    use crate::upstream::alone::alone;

    fn is_send<T: Send>(value: T) -> T {
        value
    }

    async fn soon(signals: &mut Signals) -> Heard {
        let next = is_send(signals.next());
        tokio::time::timeout(Duration::from_secs(5), next)
            .await
            .unwrap()
    }

    #[test]
    fn listens_to_all_that_the_child_may_want() {
        let handled: Vec<_> = handled().collect();
        assert_eq!(handled.len(), 12 + 31);
        for unheard in [
            libc::SIGTSTP,
            libc::SIGCONT,
            libc::SIGPIPE,
            libc::SIGALRM,
            32,
            33,
        ] {
            assert!(!handled.contains(&unheard));
        }
    }

    #[tokio::test]
    async fn hears_who_sent_it_in_every_way() {
        if !alone(module_path!(), "hears_who_sent_it_in_every_way") {
            return;
        }
        // Blocked and sent before the handlers are there: still pending, and to be heard at the first look.
        let mut early = SigSet::empty();
        early.add(Signal::SIGTERM);
        early.thread_block().unwrap();
        raise(Signal::SIGTERM).unwrap();
        let mut signals = Signals::install().unwrap();
        let terminal = false;
        let signal = libc::SIGTERM;
        assert_eq!(
            signals.arrived().await,
            Some(Heard::Stop { signal, terminal })
        );
        assert_eq!(signals.arrived().await, None);

        for signal in handled().filter(|signal| ![libc::SIGCHLD, libc::SIGTERM].contains(signal)) {
            let script = format!("kill -{signal} $PPID");
            let mut sender = std::process::Command::new("sh");
            #[expect(
                clippy::zombie_processes,
                reason = "waited for by nix, as one does after SIGCHLD"
            )]
            let sender = sender.args(["-c", &script]).spawn().unwrap();
            let stop = [libc::SIGINT, libc::SIGQUIT].contains(&signal);
            let expected = match stop {
                true => Heard::Stop { signal, terminal },
                false => Heard::Forward { signal, terminal },
            };
            let mut heard = [soon(&mut signals).await, soon(&mut signals).await];
            heard.sort_by_key(|heard| *heard == Heard::Child);
            assert_eq!(heard, [expected, Heard::Child]);
            waitpid(nix::unistd::Pid::from_raw(sender.id().cast_signed()), None).unwrap();
        }
    }

    #[tokio::test]
    async fn the_childs_end_comes_before_a_stop_of_the_same_moment() {
        if !alone(
            module_path!(),
            "the_childs_end_comes_before_a_stop_of_the_same_moment",
        ) {
            return;
        }
        let mut signals = Signals::install().unwrap();
        // To this thread, so that each is handled when the call returns.
        for signal in [Signal::SIGINT, Signal::SIGCHLD, Signal::SIGCHLD] {
            raise(signal).unwrap();
        }
        assert_eq!(soon(&mut signals).await, Heard::Child);
        let (signal, terminal) = (libc::SIGINT, false);
        assert_eq!(soon(&mut signals).await, Heard::Stop { signal, terminal });
        assert_eq!(signals.arrived().await, None);
    }
}

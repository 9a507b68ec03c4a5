//! The life of the Service as one pure table: no I/O, no clock.
//!
//! ```text
//! Starting -> Serving -> Delaying -> Closing -> Draining -> Stopping -> Killing -> Finishing -> Exited
//! ```
//!
//! Only forward moves; states may be skipped. The child's exit is an event, decided in every state.

/// Where the Service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Handlers in, listeners bound, child spawned, the app not there yet.
    Starting,
    /// The app answers.
    Serving,
    /// A stop was asked for; everything is still served (`HTTP_DRAIN_DELAY`).
    Delaying,
    /// The last call on the listeners.
    Closing {
        /// Whether a second signal asked to skip the drain.
        forced: bool,
    },
    /// The listeners are closed, requests are awaited (`HTTP_DRAIN_TIMEOUT`).
    Draining,
    /// The child was signalled and is awaited.
    Stopping(Reason),
    /// The child was killed and is awaited.
    Killing(Reason),
    /// The child is gone; what no longer needs it may end.
    Finishing {
        /// What we will exit with.
        code: u8,
    },
    /// Over.
    Exited {
        /// What we exit with.
        code: u8,
    },
}

/// Why the child was stopped: it decides what its exit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A stop was asked for: its status is ours.
    Asked,
    /// The start failed: we exit with 1.
    StartFailed,
}

/// What happens to the Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The app accepts connections.
    AppReady,
    /// It did not in time, or our port was taken when we came to listen.
    StartFailed,
    /// The first stop signal; `delay` says whether there is a delay to wait for.
    Stop {
        /// Whether `HTTP_DRAIN_DELAY` applies.
        delay: bool,
    },
    /// A repeated stop signal.
    Repeat,
    /// A person lost patience: stop waiting for requests.
    Force,
    /// And again: kill.
    Kill,
    /// The delay is over.
    DelayOver,
    /// All listeners are closed.
    ListenersClosed,
    /// The drain has ended, done or not.
    Drained,
    /// The child did not stop in time.
    StopTimeout,
    /// The kernel did not even let it be killed.
    KillTimeout,
    /// The child is gone; its status as an exit code.
    ChildExited {
        /// 0 to 255; 128 + n for signal n.
        code: u8,
    },
    /// What did not need the child has ended.
    Finished,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Say that we are leaving and wait for the delay to pass.
    Delay,
    /// Make the last call and close the listeners.
    Close,
    /// Wait for requests.
    Drain,
    /// Stop waiting and relay the signal to the child.
    Relay,
    /// Ask a child that was never served to stop (TERM).
    Abandon,
    /// Kill the child.
    Kill,
    /// Close what is open, give up what needs the child, and wait for the rest.
    Finish,
    /// Leave.
    Exit,
}

/// `SIGKILL`'s exit code.
const KILLED: u8 = 128 + 9;

impl Phase {
    /// The next phase, and what to do on the way.
    #[must_use]
    pub fn on(self, event: Event) -> (Self, Action) {
        use Event as E;
        use Phase as P;
        match (self, event) {
            (P::Finishing { code }, E::Finished) => (P::Exited { code }, Action::Exit),
            (P::Finishing { .. } | P::Exited { .. }, _) => (self, Action::Nothing),

            (P::Stopping(reason) | P::Killing(reason), E::ChildExited { code }) => {
                let code = if reason == Reason::StartFailed {
                    1
                } else {
                    code
                };
                (P::Finishing { code }, Action::Finish)
            }
            (_, E::ChildExited { code }) => (P::Finishing { code }, Action::Finish),

            (P::Starting, E::AppReady) => (P::Serving, Action::Nothing),
            (P::Starting, E::StartFailed) => (P::Stopping(Reason::StartFailed), Action::Abandon),

            // Before the app is there nobody routes to us: there is nothing to delay for.
            (P::Starting, E::Stop { .. }) | (P::Serving, E::Stop { delay: false }) => {
                (P::Closing { forced: false }, Action::Close)
            }
            (P::Serving, E::Stop { delay: true }) => (P::Delaying, Action::Delay),
            (P::Delaying, E::DelayOver) => (P::Closing { forced: false }, Action::Close),
            (P::Closing { forced: false }, E::ListenersClosed) => (P::Draining, Action::Drain),
            (P::Closing { forced: true }, E::ListenersClosed)
            | (P::Draining, E::Drained | E::Force) => (P::Stopping(Reason::Asked), Action::Relay),

            // The listeners are closed before the relay even in a hurry.
            (P::Starting | P::Serving | P::Delaying, E::Force) => {
                (P::Closing { forced: true }, Action::Close)
            }
            (P::Closing { .. }, E::Force) => (P::Closing { forced: true }, Action::Nothing),
            (P::Starting | P::Serving | P::Delaying | P::Closing { .. } | P::Draining, E::Kill) => {
                (P::Killing(Reason::Asked), Action::Kill)
            }
            (P::Stopping(reason), E::Kill | E::StopTimeout) => (P::Killing(reason), Action::Kill),
            (P::Killing(reason), E::KillTimeout) => {
                let code = if reason == Reason::StartFailed {
                    1
                } else {
                    KILLED
                };
                (P::Finishing { code }, Action::Finish)
            }

            (
                P::Starting
                | P::Serving
                | P::Delaying
                | P::Closing { .. }
                | P::Draining
                | P::Stopping(_)
                | P::Killing(_),
                E::AppReady
                | E::StartFailed
                | E::Stop { .. }
                | E::Repeat
                | E::Force
                | E::Kill
                | E::DelayOver
                | E::ListenersClosed
                | E::Drained
                | E::StopTimeout
                | E::KillTimeout
                | E::Finished,
            ) => (self, Action::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(events: &[Event]) -> (Phase, Vec<Action>) {
        let mut phase = Phase::Starting;
        let mut actions = Vec::new();
        for event in events {
            let (next, action) = phase.on(*event);
            phase = next;
            actions.push(action);
        }
        (phase, actions)
    }

    const STOP: Event = Event::Stop { delay: true };

    #[test]
    fn an_ordinary_life_closes_drains_relays_and_finishes() {
        let (phase, actions) = after(&[
            Event::AppReady,
            STOP,
            Event::DelayOver,
            Event::ListenersClosed,
            Event::Drained,
            Event::ChildExited { code: 143 },
            Event::Finished,
        ]);
        assert_eq!(phase, Phase::Exited { code: 143 });
        use Action as A;
        assert_eq!(
            actions,
            [
                A::Nothing,
                A::Delay,
                A::Close,
                A::Drain,
                A::Relay,
                A::Finish,
                A::Exit
            ]
        );
    }

    #[test]
    fn a_stop_while_starting_skips_the_delay() {
        assert_eq!(after(&[STOP]).0, Phase::Closing { forced: false });
    }

    #[test]
    fn a_forced_stop_still_closes_before_it_relays() {
        let (phase, actions) =
            after(&[Event::AppReady, STOP, Event::Force, Event::ListenersClosed]);
        assert_eq!(phase, Phase::Stopping(Reason::Asked));
        assert_eq!(actions[2..], [Action::Close, Action::Relay]);
    }

    #[test]
    fn a_failed_start_exits_with_1_whatever_the_child_says() {
        let (phase, actions) = after(&[
            Event::StartFailed,
            Event::ChildExited { code: 143 },
            Event::Finished,
        ]);
        assert_eq!(phase, Phase::Exited { code: 1 });
        assert_eq!(actions[0], Action::Abandon);
    }

    #[test]
    fn a_child_that_cannot_be_killed_does_not_keep_us() {
        let (phase, _) = after(&[
            STOP,
            Event::ListenersClosed,
            Event::Drained,
            Event::StopTimeout,
            Event::KillTimeout,
            Event::Finished,
        ]);
        assert_eq!(phase, Phase::Exited { code: 137 });
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            Just(Event::AppReady),
            Just(Event::StartFailed),
            any::<bool>().prop_map(|delay| Event::Stop { delay }),
            Just(Event::Repeat),
            Just(Event::Force),
            Just(Event::Kill),
            Just(Event::DelayOver),
            Just(Event::ListenersClosed),
            Just(Event::Drained),
            Just(Event::StopTimeout),
            Just(Event::KillTimeout),
            any::<u8>().prop_map(|code| Event::ChildExited { code }),
            Just(Event::Finished),
        ];
        prop::collection::vec(event, 0..40)
    }

    proptest! {
        #[test]
        fn states_never_go_back(events in events()) {
            let mut phase = Phase::Starting;
            for event in events {
                let (next, _) = phase.on(event);
                prop_assert!(next >= phase, "{phase:?} -> {next:?} on {event:?}");
                phase = next;
            }
        }

        #[test]
        fn the_relay_comes_once_and_after_the_listeners_are_closed(events in events()) {
            let (mut phase, mut closing, mut closed, mut relays) = (Phase::Starting, false, false, 0);
            for event in events {
                closed |= closing && event == Event::ListenersClosed;
                let (next, action) = phase.on(event);
                closing |= action == Action::Close;
                if action == Action::Relay {
                    relays += 1;
                    prop_assert!(closed);
                }
                phase = next;
            }
            prop_assert!(relays <= 1);
        }

        #[test]
        fn the_exit_code_is_the_childs_unless_the_start_failed_or_it_would_not_die(events in events()) {
            let (mut phase, mut failed, mut stuck, mut status) = (Phase::Starting, false, false, None);
            for event in events {
                let before = phase;
                let (next, action) = phase.on(event);
                failed |= action == Action::Abandon;
                stuck |= matches!((before, event), (Phase::Killing(_), Event::KillTimeout));
                if let Event::ChildExited { code } = event && action == Action::Finish {
                    status = Some(code);
                }
                phase = next;
            }
            if let Phase::Exited { code } = phase {
                let expected = match (failed, stuck) {
                    (true, _) => Some(1),
                    (false, true) => Some(137),
                    (false, false) => status,
                };
                prop_assert_eq!(Some(code), expected);
            }
        }
    }
}

//! What a stop signal means, given those before it; pure.
//!
//! Some platforms send SIGTERM twice, so a repeated one changes nothing. A person at a terminal presses Ctrl-C again and
//! means it. In between lie the programs that pass on a Ctrl-C which we have had from the terminal already: hence 300 ms.

use std::time::{Duration, Instant};

/// A SIGINT sooner than this after the first stop signal may be the same Ctrl-C on a second path.
const SAME_KEYSTROKE: Duration = Duration::from_millis(300);

/// What a stop signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Drain, then relay this signal.
    Stop(i32),
    /// Nothing more than what has been asked for; a log line.
    Repeat,
    /// End the drain and signal the child now. A stop that begins so has no [`Stop`](Self::Stop) before it.
    Force,
    /// Kill the child.
    Kill,
}

/// The stop signals heard so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repeats {
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Fresh,
    Stopping {
        since: Instant,
    },
    Forced,
    Killed,
}

impl Repeats {
    /// Takes in SIGTERM, SIGINT or SIGQUIT, heard at `now`; `terminal` if a key press sent it.
    pub fn hear(&mut self, signal: i32, terminal: bool, now: Instant) -> Verdict {
        let verdict = self.verdict(signal, terminal, now);
        self.stage = match verdict {
            Verdict::Stop(_) => Stage::Stopping { since: now },
            Verdict::Repeat => self.stage,
            Verdict::Force => Stage::Forced,
            Verdict::Kill => Stage::Killed,
        };
        verdict
    }

    fn verdict(self, signal: i32, terminal: bool, now: Instant) -> Verdict {
        match (self.stage, signal) {
            // Ctrl-\ is the user's last word; one that was sent may be the image's STOPSIGNAL.
            (Stage::Fresh, libc::SIGQUIT) if terminal => Verdict::Force,
            (Stage::Fresh, signal) => Verdict::Stop(signal),
            (Stage::Stopping { .. }, libc::SIGQUIT) => Verdict::Force,
            (Stage::Stopping { since }, libc::SIGINT) if now - since >= SAME_KEYSTROKE => {
                Verdict::Force
            }
            (Stage::Forced, libc::SIGINT) => Verdict::Kill,
            (Stage::Stopping { .. } | Stage::Forced | Stage::Killed, _) => Verdict::Repeat,
        }
    }
}

#[cfg(test)]
mod tests {
    use libc::{SIGINT, SIGQUIT, SIGTERM};

    use super::*;

    const SENT: bool = false;
    const TYPED: bool = true;

    /// (signal, from the terminal, milliseconds since the first) and what it means.
    type Line = (i32, bool, u64, Verdict);

    fn check(story: &str, lines: &[Line]) {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        for (number, &(signal, terminal, after, verdict)) in lines.iter().enumerate() {
            let now = start + Duration::from_millis(after);
            let heard = repeats.hear(signal, terminal, now);
            assert_eq!(heard, verdict, "{story}, signal {}", number + 1);
        }
    }

    #[test]
    fn tells_a_repetition_from_impatience() {
        use Verdict::{Force, Kill, Repeat, Stop};
        let table: &[(&str, &[Line])] = &[
            (
                "a platform that sends SIGTERM twice, or ten seconds later again",
                &[
                    (SIGTERM, SENT, 0, Stop(SIGTERM)),
                    (SIGTERM, SENT, 1, Repeat),
                    (SIGTERM, SENT, 10_000, Repeat),
                ],
            ),
            (
                "Ctrl-C that a wrapper passes on too, then an impatient one, then another",
                &[
                    (SIGINT, TYPED, 0, Stop(SIGINT)),
                    (SIGINT, SENT, 299, Repeat),
                    (SIGINT, TYPED, 300, Force),
                    (SIGTERM, SENT, 301, Repeat),
                    (SIGINT, TYPED, 302, Kill),
                    (SIGINT, TYPED, 303, Repeat),
                ],
            ),
            (
                "Ctrl-C after a SIGTERM counts from the SIGTERM, and repeats do not move that",
                &[
                    (SIGTERM, SENT, 0, Stop(SIGTERM)),
                    (SIGTERM, SENT, 290, Repeat),
                    (SIGINT, TYPED, 310, Force),
                ],
            ),
            (
                "an image with STOPSIGNAL SIGQUIT",
                &[
                    (SIGQUIT, SENT, 0, Stop(SIGQUIT)),
                    (SIGTERM, SENT, 1000, Repeat),
                    (SIGINT, SENT, 1000, Force),
                ],
            ),
            (
                "SIGQUIT after a stop signal, however soon",
                &[
                    (SIGTERM, SENT, 0, Stop(SIGTERM)),
                    (SIGQUIT, SENT, 1, Force),
                    (SIGQUIT, SENT, 2, Repeat),
                    (SIGINT, SENT, 3, Kill),
                    (SIGQUIT, SENT, 4, Repeat),
                    (SIGTERM, SENT, 5, Repeat),
                ],
            ),
            (
                "Ctrl-\\ forces from the start",
                &[
                    (SIGQUIT, TYPED, 0, Force),
                    (SIGQUIT, TYPED, 1, Repeat),
                    (SIGTERM, SENT, 2, Repeat),
                    (SIGINT, TYPED, 3, Kill),
                ],
            ),
        ];
        for (story, lines) in table {
            check(story, lines);
        }
    }
}

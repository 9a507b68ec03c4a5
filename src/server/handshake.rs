//! How long a handshake may take: 10 s, and once the listeners are closed 5 s more, both within the drain.

use std::time::{Duration, Instant};

use super::state::HANDSHAKE;
use crate::drain::{Stage, Watch};

/// How long one under way holds the drain.
const HOLD: Duration = Duration::from_secs(5);

/// A handshake's clock.
#[derive(Debug)]
pub(super) struct Handshake {
    deadline: Instant,
    draining: bool,
}

impl Handshake {
    /// One of a connection that was accepted at `accepted`.
    pub(super) fn new(accepted: Instant) -> Self {
        Self {
            deadline: accepted + HANDSHAKE,
            draining: false,
        }
    }

    /// When it is given up.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the stop lets it go on.
    pub(super) fn goes_on(&mut self, watch: &Watch) -> bool {
        let stage = watch.stage();
        if stage >= Stage::Draining && !self.draining {
            self.draining = true;
            self.deadline = self.deadline.min(Instant::now() + HOLD);
        }
        stage <= Stage::Draining || (stage == Stage::Ending && !watch.overdue())
    }
}

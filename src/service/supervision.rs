//! What whoever supervises us is told of our life, and of the app's.

use std::time::Instant;

use super::{Phase, Service};
use crate::upstream::{notify::AppSays, readiness::Change};

impl Service {
    /// Tells of a phase that has begun, or goes on.
    pub(super) fn announce(&self, phase: Phase) {
        match phase {
            Phase::Starting | Phase::Exited { .. } => {}
            Phase::Serving => {
                self.supervisor.ready();
                self.supervisor.status("serving");
            }
            Phase::Delaying => self.announce_stop("serving until the delay is over", false),
            Phase::Closing { .. } => self.announce_stop("closing the listeners", false),
            Phase::Draining => {
                let requests = self.drain.tally().requests();
                self.announce_stop(&format!("{requests} requests in flight"), false);
            }
            Phase::Stopping(_) => self.announce_stop("waiting for the app", true),
            Phase::Killing(_) => self.announce_stop("killing the app", true),
            Phase::Finishing { .. } => self.announce_stop("the app is gone", true),
        }
    }

    fn announce_stop(&self, step: &str, relayed: bool) {
        self.supervisor.stopping();
        self.supervisor.status(format!("stopping: {step}"));
        if let Some(stop) = &self.stop {
            let left = self.budget.left(Instant::now(), &stop.plan, relayed);
            self.supervisor.extend(left);
        }
    }

    /// Passes on what the app says of itself, as far as it is said of us too.
    pub(super) fn pass_on(&self, change: &Change) {
        let serving = *self.phase.borrow() == Phase::Serving;
        match change {
            Change::Status(status) => self.supervisor.app_status(status),
            _ if !serving => {}
            Change::Ready(_) => self.announce(Phase::Serving),
            Change::NotAccepting => self.supervisor.status("serving, but not the app"),
            Change::Away(AppSays::Stopping) => {
                self.supervisor.stopping();
                self.supervisor.status("the app stops by itself");
            }
            Change::Away(_) => {
                self.supervisor.reloading();
                self.supervisor.status("the app reloads");
            }
        }
    }

    /// A sign of life, once each core has had its turn: one that hangs is worth a restart.
    pub(super) fn give_pulse(&mut self) {
        let pause = self.supervisor.pause();
        self.pulse = pause.map(|pause| Instant::now() + pause);
        if let Some(server) = &self.server {
            self.supervisor.alive_once(server.pulse());
        }
    }
}

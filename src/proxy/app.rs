//! What the request path knows of the app: told by the Service, read by every core.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering},
};

use tokio::sync::watch;

use super::Pause;
use crate::target::Address;

/// Why requests do not go straight to the app, bit by bit.
const BOOTING: u8 = 1;
const PAUSED: u8 = 2;

/// The app as requests find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppState {
    /// It has not opened its port yet: requests are held.
    Booting,
    /// It was last seen accepting here.
    Found(Address),
    /// It will not come: it exited, or did not boot in time.
    Absent,
}

/// A handle on the app's state, one for all cores.
#[derive(Clone, Debug)]
pub struct App(Arc<Shared>);

struct Shared {
    state: watch::Sender<AppState>,
    pause: watch::Sender<Option<Pause>>,
    /// The one question that every request to the app asks.
    holds: AtomicU8,
    /// The one question that every request asks: 0, or the seconds of `Retry-After` and one more.
    maintenance: AtomicU32,
    stopping: AtomicBool,
    failed: AtomicBool,
    held: AtomicUsize,
    refused: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

impl App {
    /// An app that boots; `refused` is told whenever it does not take a connection.
    pub fn new(refused: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            state: watch::Sender::new(AppState::Booting),
            pause: watch::Sender::new(None),
            holds: AtomicU8::new(BOOTING),
            maintenance: AtomicU32::new(0),
            stopping: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            refused: Box::new(refused),
        }))
    }

    /// Tells the cores.
    pub fn set(&self, state: AppState) {
        let booting = state == AppState::Booting;
        // First: a request that is not held any more looks here at once.
        self.0.state.send_replace(state);
        self.0.keep(BOOTING, booting);
    }

    /// Says that a stop has begun: whatever the app no longer answers is 503 from here on, not 502, and nothing waits for
    /// the end of a pause.
    pub fn stops(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.resume();
    }

    /// Holds requests back from here on, but for those on their way.
    pub fn pause(&self, pause: Pause) {
        self.0.pause.send_replace(Some(pause));
        self.0.keep(PAUSED, true);
    }

    /// Lets them go on, and returns whether they were held.
    pub fn resume(&self) -> bool {
        self.0.keep(PAUSED, false);
        self.0.pause.send_replace(None).is_some()
    }

    /// Whether requests are held back on purpose.
    pub fn is_paused(&self) -> bool {
        self.0.pause.borrow().is_some()
    }

    /// How many requests wait, for the app's boot or the end of a pause.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Closes the service to its users, who are asked to come back after so many seconds; none opens it again.
    pub fn maintain(&self, retry_after: Option<u32>) {
        let told = retry_after.map_or(0, |seconds| seconds.saturating_add(1));
        self.0.maintenance.store(told, Ordering::Relaxed);
    }

    /// After how many seconds users are to come back, if the service is closed to them.
    pub fn maintenance(&self) -> Option<u32> {
        self.0.maintenance.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Whether it left a request unanswered since a stop began.
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Acquire)
    }

    /// It left a request unanswered.
    pub(super) fn fails(&self) {
        self.0.failed.store(self.is_stopping(), Ordering::Release);
    }

    /// Whether requests are held.
    pub(super) fn holds(&self) -> bool {
        self.0.holds.load(Ordering::Acquire) != 0
    }

    pub(super) fn is_booting(&self) -> bool {
        self.0.holds.load(Ordering::Acquire) & BOOTING != 0
    }

    /// How requests are held back on purpose, if they are.
    pub(super) fn paused(&self) -> Option<Pause> {
        *self.0.pause.borrow()
    }

    /// Waits until they are not any more.
    pub(super) async fn resumed(&self) {
        let mut pause = self.0.pause.subscribe();
        // The sender is in our hands.
        let _ = pause.wait_for(Option::is_none).await;
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// Where it accepts, if it was ever found.
    pub(super) fn address(&self) -> Option<Address> {
        match &*self.0.state.borrow() {
            AppState::Found(address) => Some(address.clone()),
            AppState::Booting | AppState::Absent => None,
        }
    }

    /// It did not take a connection.
    pub(super) fn refused(&self) {
        (self.0.refused)();
    }

    /// Waits until it does not boot any more.
    pub(super) async fn booted(&self) {
        // The sender is in our hands.
        let _ = self
            .0
            .state
            .subscribe()
            .wait_for(|state| *state != AppState::Booting)
            .await;
    }

    /// Takes a place in the queue of held requests; none if it is full.
    pub(super) fn hold(&self, most: usize) -> Option<Held> {
        let held = self.0.held.fetch_add(1, Ordering::AcqRel);
        let place = Held(self.0.clone());
        (held < most).then_some(place)
    }
}

impl Shared {
    fn keep(&self, bit: u8, set: bool) {
        if set {
            self.holds.fetch_or(bit, Ordering::AcqRel);
        } else {
            self.holds.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

/// A place in the queue of held requests.
pub(super) struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn who_is_told_that_it_has_booted_finds_it() {
        for _ in 0..2_000 {
            let (app, start) = (App::new(|| {}), Barrier::new(2));
            thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    app.set(AppState::Found(Address::Tcp(([127, 0, 0, 1], 1).into())));
                });
                start.wait();
                while app.is_booting() {}
                assert!(app.address().is_some());
            });
        }
    }
}

//! What the streams of one connection share.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use super::meter::Meter;
use crate::{drain::Open, server::state::State};

pub(super) struct Shared {
    pub(super) state: Rc<State>,
    /// Requests whose last frame was given to h2, and may not be with the kernel yet.
    answered: RefCell<Vec<Open>>,
    /// When the client last made room for what waited for it.
    progress: Cell<Instant>,
    /// The window with which its streams begin, in bytes.
    initial_window: Cell<u32>,
}

impl Shared {
    pub(super) fn new(state: Rc<State>) -> Self {
        Self {
            state,
            answered: RefCell::default(),
            progress: Cell::new(Instant::now()),
            initial_window: Cell::new(0),
        }
    }

    /// What the client has said of its windows, as far as it was read.
    pub(super) fn learn_windows(&self, meter: &mut Meter) {
        self.initial_window.set(meter.initial_window());
        for (stream, bytes) in meter.opened() {
            self.state.streams.opens(stream, bytes);
        }
    }

    /// Whether stream `id`, of which `sent` bytes are sent, has used up its own window: then it does not wait for the
    /// connection's, which it shares.
    pub(super) fn is_shut(&self, id: u32, sent: u64) -> bool {
        u64::from(self.initial_window.get()) + self.state.streams.opened(id) <= sent
    }

    /// The last frame of a response is on its way.
    pub(super) fn answered(&self, request: Open) {
        self.answered.borrow_mut().push(request);
        // In case h2 had nothing new to be woken for.
        self.state.wake();
    }

    /// Whether a response is whole that may not be with the kernel.
    pub(super) fn is_owing(&self) -> bool {
        !self.answered.borrow().is_empty()
    }

    /// All that h2 had is with the kernel; how many responses it completed.
    pub(super) fn flushed(&self) -> usize {
        let answered = self.answered.take();
        let count = answered.len();
        answered.into_iter().for_each(Open::complete);
        count
    }

    pub(super) fn progressed(&self) {
        self.progress.set(Instant::now());
    }

    pub(super) fn progress(&self) -> Instant {
        self.progress.get()
    }
}

impl Drop for Shared {
    /// Nobody will know any more whether these arrived.
    fn drop(&mut self) {
        for request in self.answered.take() {
            if !self.state.ended.get() {
                request.cut();
            }
        }
    }
}

//! The requests of a connection that has several at once.

use std::{cell::RefCell, rc::Rc, task::Waker, time::Instant};

use tokio::task::AbortHandle;

use super::state::State;

/// Those that are open; few enough to look through.
#[derive(Debug, Default)]
pub(super) struct Streams(RefCell<Vec<Open>>);

#[derive(Debug)]
struct Open {
    id: u32,
    began: Instant,
    /// By how much the client has opened its window, in bytes.
    opened: u64,
    task: Option<AbortHandle>,
    waker: Option<Waker>,
}

/// A stream's place among the others of its connection; gives it up when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    state: Rc<State>,
    id: u32,
}

impl Seat {
    /// Stream `id` of `state` begins.
    pub(super) fn take(state: &Rc<State>, id: u32, began: Instant) -> Self {
        state.streams.0.borrow_mut().push(Open {
            id,
            began,
            opened: 0,
            task: None,
            waker: None,
        });
        state.stream_began();
        Self {
            state: state.clone(),
            id,
        }
    }

    /// What wakes the task that serves it, which is one for all its life.
    pub(super) fn remember(&self, waker: &Waker) {
        let waker = waker.clone();
        let streams = &self.state.streams;
        streams.with(self.id, |stream| stream.waker = Some(waker));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.state.streams.leave(self.id);
        self.state.stream_ended();
    }
}

impl Streams {
    /// Stream `id` is served by `task`.
    pub(super) fn served_by(&self, id: u32, task: AbortHandle) {
        self.with(id, |stream| stream.task = Some(task));
    }

    /// The client has opened the window of stream `id` by so many bytes.
    pub(super) fn opens(&self, id: u32, bytes: u32) {
        self.with(id, |stream| stream.opened += u64::from(bytes));
    }

    /// By how much the client has opened the window of stream `id` so far, in bytes.
    pub(super) fn opened(&self, id: u32) -> u64 {
        let mut opened = 0;
        self.with(id, |stream| opened = stream.opened);
        opened
    }

    /// Wakes all of them: the stop has moved on, which some bodies want to know.
    pub(super) fn wake(&self) {
        let open = self.0.borrow();
        let wakers = open.iter().filter_map(|stream| stream.waker.as_ref());
        wakers.for_each(Waker::wake_by_ref);
    }

    fn with(&self, id: u32, change: impl FnOnce(&mut Open)) {
        let mut open = self.0.borrow_mut();
        if let Some(stream) = open.iter_mut().rev().find(|stream| stream.id == id) {
            change(stream);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// When the oldest began.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.0.borrow().iter().map(|stream| stream.began).min()
    }

    /// Gives up on all of them; each leaves at its task's next turn.
    pub(super) fn abort(&self) {
        let open = self.0.borrow();
        open.iter()
            .filter_map(|stream| stream.task.as_ref())
            .for_each(AbortHandle::abort);
    }

    fn leave(&self, id: u32) {
        let mut open = self.0.borrow_mut();
        if let Some(place) = open.iter().position(|stream| stream.id == id) {
            open.swap_remove(place);
        }
    }
}

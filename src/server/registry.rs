//! The connections of one core: who must be woken when the stop moves on, and whether all have seen it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::state::State;
use crate::drain::{Stage, Watch};

#[derive(Debug)]
pub(super) struct Registry {
    watch: Watch,
    slots: RefCell<Vec<Option<Rc<State>>>>,
    free: RefCell<Vec<usize>>,
    stage: Cell<Stage>,
    unseen: Cell<usize>,
}

/// A connection's place; gives it up when dropped.
#[derive(Debug)]
pub(super) struct Place {
    registry: Rc<Registry>,
    slot: usize,
}

impl Registry {
    pub(super) fn new(watch: Watch) -> Rc<Self> {
        Rc::new(Self {
            watch,
            slots: RefCell::default(),
            free: RefCell::default(),
            stage: Cell::new(Stage::Serving),
            unseen: Cell::new(0),
        })
    }

    /// Enters a connection; it has seen the stage that this registry shows.
    pub(super) fn enter(self: &Rc<Self>, state: Rc<State>) -> Place {
        state.seen.set(self.stage.get());
        let mut slots = self.slots.borrow_mut();
        let slot = self.free.borrow_mut().pop().unwrap_or(slots.len());
        if slot == slots.len() {
            slots.push(Some(state));
        } else {
            slots[slot] = Some(state);
        }
        Place {
            registry: self.clone(),
            slot,
        }
    }

    /// Shows `stage` to every connection; the control thread is told once all have looked.
    pub(super) fn show(&self, stage: Stage) {
        self.stage.set(stage);
        let slots = self.slots.borrow();
        let connections = || slots.iter().flatten();
        self.unseen.set(connections().count());
        connections().for_each(|state| state.wake());
        drop(slots);
        self.tell_if_seen();
    }

    /// `state` has looked at the stage.
    pub(super) fn saw(&self, state: &State) {
        if state.seen.get() < self.stage.get() {
            state.seen.set(self.stage.get());
            self.one_less();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.borrow().iter().all(Option::is_none)
    }

    fn leave(&self, slot: usize) {
        let state = self.slots.borrow_mut()[slot].take();
        self.free.borrow_mut().push(slot);
        if state.is_some_and(|state| state.seen.get() < self.stage.get()) {
            self.one_less();
        }
    }

    fn one_less(&self) {
        self.unseen.set(self.unseen.get() - 1);
        self.tell_if_seen();
    }

    fn tell_if_seen(&self) {
        if self.unseen.get() == 0 && self.stage.get() > Stage::Serving {
            let slots = self.slots.borrow();
            let oldest = slots
                .iter()
                .flatten()
                .filter_map(|state| state.in_flight_since())
                .min();
            self.watch.show(self.stage.get(), oldest);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.leave(self.slot);
    }
}

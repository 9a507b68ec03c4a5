//! What we tell of ourselves, to people and machines: health, metrics, the status page.
//!
//! It knows nobody: the Service comes in with a [`Source`], which gives a [`Snapshot`] whenever it is asked. All of it runs
//! on the control thread, so that it answers however busy the cores are.

mod settings;
mod snapshot;
mod state;

use std::rc::Rc;

pub use self::{
    settings::{Settings, Variable},
    snapshot::{AppView, OpenView, PumaView, Snapshot, StopView},
    state::State,
};

/// Gives the moment as it is.
pub type Source = Rc<dyn Fn() -> Snapshot>;

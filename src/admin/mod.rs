//! What we tell of ourselves, to people and machines: health, metrics, the status page.
//!
//! It knows nobody: the Service comes in with a [`Desk`], on which lies all that there is to ask: the moment as a
//! [`Snapshot`], the counters, the last minutes. [`Admin`] answers on a port of its own, on the control thread, so that it
//! answers however busy the cores are, and nothing there counts as a request or holds a stop. It only reads: there is no
//! question that changes anything.

mod answer;
mod body;
pub mod control;
mod events;
mod exposition;
mod health;
mod history;
mod open;
mod page;
mod process;
mod settings;
mod snapshot;
mod state;
mod traffic;

use std::{cell::Cell, fmt, rc::Rc};

use tokio::sync::watch;

pub use self::{
    history::{History, Point},
    open::Admin,
    process::ProcessView,
    settings::{Settings, Variable},
    snapshot::{AppView, CacheView, CertificateView, OpenView, PumaView, Snapshot, StopView},
    state::State,
    traffic::{Recent, TrafficView},
};
use crate::metrics::Metrics;

/// Gives the moment as it is.
pub type Source = Rc<dyn Fn() -> Snapshot>;

/// All that there is to ask.
pub struct Desk {
    /// The moment.
    source: Source,
    /// Tells that it has changed, but for what changes all the time.
    changes: watch::Receiver<()>,
    metrics: Metrics,
    history: Rc<History>,
    /// The effective configuration, without secrets.
    variables: Vec<Variable>,
    /// How many pages are open.
    listeners: Rc<Cell<usize>>,
}

impl Desk {
    /// With all of this on it.
    pub fn new(
        source: Source,
        changes: watch::Receiver<()>,
        metrics: Metrics,
        history: Rc<History>,
        variables: Vec<Variable>,
    ) -> Self {
        Self {
            source,
            changes,
            metrics,
            history,
            variables,
            listeners: Rc::default(),
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

//! Idle connections to the app, one stack for each core: the warmest is used first, so that the others can age out.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::task::spawn_local;

use crate::{
    drain::{Kind, Open, Stage, Watch},
    http1::{Connection, Home},
};

/// The idle connections of one core.
#[derive(Debug)]
pub(super) struct Pool {
    idle: RefCell<Vec<Idle>>,
    limit: Duration,
    watch: Watch,
    /// Whether a task is waiting for the oldest to age out.
    tended: Cell<bool>,
    me: std::rc::Weak<Self>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    _open: Open,
}

impl Pool {
    /// A pool that keeps connections for `limit` (below the app's own limit, so that we close first), and none once the
    /// stop signal is about to be relayed: an app that waits for its keep-alives is not held up.
    pub(super) fn new(limit: Duration, watch: Watch) -> Rc<Self> {
        let pool = Rc::new_cyclic(|me| Self {
            idle: RefCell::default(),
            limit,
            watch: watch.clone(),
            tended: Cell::new(false),
            me: me.clone(),
        });
        let tended = pool.clone();
        spawn_local(async move {
            watch.reached(Stage::Relaying).await;
            tended.idle.borrow_mut().clear();
        });
        pool
    }

    /// The warmest connection that the app has not closed, for a request that came at `now`.
    pub(super) fn take(&self, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, .. }) = idle.pop() {
            if !connection.is_stale() && now < connection.idle_since + self.limit {
                return Some(connection);
            }
        }
        None
    }

    /// Closes connections as they age out; ends when none is left.
    async fn tend(self: Rc<Self>) {
        loop {
            let oldest = self
                .idle
                .borrow()
                .first()
                .map(|idle| idle.connection.idle_since);
            let Some(oldest) = oldest else {
                self.tended.set(false);
                return;
            };
            tokio::time::sleep_until((oldest + self.limit).into()).await;
            let now = Instant::now();
            let alive = |idle: &Idle| {
                now < idle.connection.idle_since + self.limit && !idle.connection.is_stale()
            };
            self.idle.borrow_mut().retain(alive);
        }
    }
}

impl Home for Pool {
    fn take_back(&self, mut connection: Connection) {
        if self.limit.is_zero() || self.watch.stage() >= Stage::Relaying {
            return;
        }
        connection.idle_since = Instant::now();
        if let Some(lap) = connection.lap.take() {
            lap.end(connection.idle_since);
        }
        self.idle.borrow_mut().push(Idle {
            connection,
            _open: self.watch.open(Kind::Pooled),
        });
        if !self.tended.replace(true)
            && let Some(me) = self.me.upgrade()
        {
            spawn_local(me.tend());
        }
    }
}

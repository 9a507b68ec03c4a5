//! Taking connections in: every core accepts from the one queue, and hands on what it has too many of.
//!
//! A core that is awake anyway takes a connection at a third of what it costs when another thread takes it and wakes the
//! core; one queue, not one per core, so that one last call empties it.

use std::{
    net::{SocketAddr, TcpStream},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    last_call::{Patience, last_call},
    listener::{Handle, Listener},
};
use crate::drain::{Admitted, Gate};

/// How long the cores may take to let go of the listener; each does at its next turn.
const LET_GO: Duration = Duration::from_secs(1);

/// What a core is sent.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A connection that was accepted for it.
    Connection {
        accepted: Accepted,
        /// Counts it until the core does.
        admitted: Admitted,
    },
    /// A listener to accept from, until told to let go.
    Listener(Doorway),
}

/// A connection just accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) at: Instant,
    /// Its place among `MAX_CONNECTIONS`; none without a limit, or in the last call.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// A core's share in a listener.
#[derive(Debug)]
pub(super) struct Doorway {
    pub(super) handle: Handle,
    pub(super) doors: Arc<Doors>,
    /// The core that it is for.
    pub(super) core: usize,
    pub(super) close: oneshot::Receiver<()>,
    /// Dropped once the handle is.
    pub(super) closed: oneshot::Sender<()>,
}

/// The ways to the cores, and the limit.
#[derive(Debug)]
pub(super) struct Doors {
    gate: Gate,
    senders: Vec<mpsc::UnboundedSender<Arrival>>,
    limit: Option<Arc<Semaphore>>,
}

impl Doors {
    /// A place among `MAX_CONNECTIONS`, when there is one. Connections beyond wait in the kernel's queue.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let limit = self.limit.as_ref()?.clone();
        // It is never closed.
        limit.acquire_owned().await.ok()
    }

    /// The core that is to have the next connection, if it is not `core`, which has accepted it.
    pub(super) fn better_than(&self, core: usize) -> Option<usize> {
        self.gate.emptier_than(core)
    }

    /// Hands a connection to `core`.
    pub(super) fn send(&self, core: usize, accepted: Accepted) {
        let admitted = self.gate.admit(core);
        // A core only ends after the last acceptor.
        let _ = self.senders[core].send(Arrival::Connection { accepted, admitted });
    }
}

/// A listener that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Where it listened.
    pub address: SocketAddr,
    /// How many connections the last call took in.
    pub accepted_late: usize,
}

/// One listener, and how to close it everywhere.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    doors: Arc<Doors>,
    shares: Vec<(oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

impl Acceptor {
    /// Lets every core accept from `listener`.
    ///
    /// # Errors
    /// When a descriptor cannot be doubled.
    pub(super) fn open(
        listener: Listener,
        gate: Gate,
        senders: Vec<mpsc::UnboundedSender<Arrival>>,
        limit: Option<NonZeroUsize>,
    ) -> std::io::Result<Self> {
        let limit =
            limit.map(|limit| Arc::new(Semaphore::new(limit.get().min(Semaphore::MAX_PERMITS))));
        let doors = Arc::new(Doors {
            gate,
            senders,
            limit,
        });
        let mut shares = Vec::new();
        for (core, sender) in doors.senders.iter().enumerate() {
            let (order, close) = oneshot::channel();
            let (closed, acknowledged) = oneshot::channel();
            let doorway = Doorway {
                handle: listener.share()?,
                doors: doors.clone(),
                core,
                close,
                closed,
            };
            let _ = sender.send(Arrival::Listener(doorway));
            shares.push((order, acknowledged));
        }
        Ok(Self {
            listener,
            doors,
            shares,
        })
    }

    /// Has every core let go of the listener, makes the last call and closes it.
    pub async fn close(self, deadline: Instant, patience: Patience) -> Closed {
        let address = self.listener.local_addr();
        let (orders, acknowledged): (Vec<_>, Vec<_>) = self.shares.into_iter().unzip();
        drop(orders);
        let all = async {
            for closed in acknowledged {
                // An error is the answer: the sender is dropped after the handle.
                let _ = closed.await;
            }
        };
        let _ = tokio::time::timeout(LET_GO, all).await;
        let doors = self.doors;
        let called = last_call(self.listener, deadline, patience, |socket, peer| {
            let accepted = Accepted {
                socket,
                peer,
                at: Instant::now(),
                permit: None,
            };
            doors.send(doors.gate.emptiest(), accepted);
        })
        .await;
        Closed {
            address,
            accepted_late: called.accepted_late,
        }
    }
}

//! Taking connections in: every core accepts from a queue of its own, and hands on what it has too many of.
//!
//! An acceptor of its own thread would have two threads woken for each connection, a queue that all cores share would have
//! all of them woken. To close, the queues are brought together again: one last call empties them all.

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    face::Face,
    last_call::{Patience, last_call},
    listener::{Listener, Queue},
};
use crate::drain::{Admitted, Gate};

/// How long the cores may take to give their queues back; each does at its next turn.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// What a core is sent.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A connection that was accepted for it.
    Connection {
        accepted: Accepted,
        /// Counts it until the core does.
        admitted: Admitted,
    },
    /// A queue to accept from, until told to give it back.
    Queue(Doorway),
    /// Somebody who wants to know that it still takes things in.
    Pulse(oneshot::Sender<()>),
}

/// A connection just accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) at: Instant,
    /// How it begins.
    pub(super) face: Face,
    /// Its place among `MAX_CONNECTIONS`; none without a limit, or in the last call.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// A core's share in a listener.
#[derive(Debug)]
pub(super) struct Doorway {
    pub(super) queue: Queue,
    pub(super) doors: Arc<Doors>,
    /// The core that it is for.
    pub(super) core: usize,
    /// Ready, with an error, when the queue is wanted back.
    pub(super) close: oneshot::Receiver<()>,
    pub(super) back: oneshot::Sender<Queue>,
}

/// The ways to the cores, and the limit.
#[derive(Debug)]
pub(super) struct Doors {
    gate: Gate,
    senders: Vec<mpsc::UnboundedSender<Arrival>>,
    face: Face,
    limit: Option<Arc<Semaphore>>,
}

impl Doors {
    /// How its connections begin.
    pub(super) fn face(&self) -> Face {
        self.face.clone()
    }

    /// Whether there is a `MAX_CONNECTIONS`.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

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

    /// Sends `core` a queue; what is given back takes it back.
    fn share(
        self: &Arc<Self>,
        core: usize,
        queue: Queue,
    ) -> (oneshot::Sender<()>, oneshot::Receiver<Queue>) {
        let (order, close) = oneshot::channel();
        let (back, returned) = oneshot::channel();
        let doorway = Doorway {
            queue,
            doors: self.clone(),
            core,
            close,
            back,
        };
        let _ = self.senders[core].send(Arrival::Queue(doorway));
        (order, returned)
    }

    /// Hands a connection of the last call to the core with the fewest.
    fn send_late(&self, socket: TcpStream, peer: SocketAddr) {
        let accepted = Accepted {
            socket,
            peer,
            at: Instant::now(),
            face: self.face(),
            permit: None,
        };
        self.send(self.gate.emptiest(), accepted);
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

/// A listener whose queues are with the cores.
#[derive(Debug)]
pub struct Acceptor {
    address: SocketAddr,
    doors: Arc<Doors>,
    shares: Vec<(oneshot::Sender<()>, oneshot::Receiver<Queue>)>,
}

impl Acceptor {
    /// Gives every core a queue of `listener`; `limit` is for all listeners together.
    pub(super) fn open(
        mut listener: Listener,
        face: Face,
        gate: Gate,
        senders: Vec<mpsc::UnboundedSender<Arrival>>,
        limit: Option<Arc<Semaphore>>,
    ) -> Self {
        let address = listener.local_addr();
        if let Err(error) = listener.widen(senders.len()) {
            tracing::debug!(%error, "fewer queues than cores");
        }
        let doors = Arc::new(Doors {
            gate,
            senders,
            face,
            limit,
        });
        let shares = listener.split().into_iter().enumerate();
        let shares = shares
            .map(|(core, queue)| doors.share(core, queue))
            .collect();
        Self {
            address,
            doors,
            shares,
        }
    }

    /// Takes the queues back from the cores, makes the last call and closes.
    ///
    /// A listener that another process goes on with is let go of at once: whoever waits in its backlog is that one's.
    pub async fn close(self, deadline: Instant, patience: Patience) -> Closed {
        let Self {
            address,
            doors,
            shares,
        } = self;
        let (orders, backs): (Vec<_>, Vec<_>) = shares.into_iter().unzip();
        drop(orders);
        let mut queues = Vec::new();
        let until = Instant::now() + GIVE_BACK;
        for back in backs {
            // A core that has ended has closed its queue; one that is stuck must not keep the stop.
            let back = tokio::time::timeout_at(until.into(), back).await;
            queues.extend(back.into_iter().flatten());
        }
        let mut accepted_late = 0;
        match Listener::join(queues) {
            Ok(Some(listener)) if listener.is_inherited() => {}
            Ok(Some(listener)) => {
                let called = last_call(listener, deadline, patience, |socket, peer| {
                    doors.send_late(socket, peer);
                });
                accepted_late = called.await.accepted_late;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "closing the listener without a last call"),
        }
        Closed {
            address,
            accepted_late,
        }
    }
}

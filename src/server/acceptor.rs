//! The one acceptor: takes connections in and hands each to the core with the fewest.

use std::{
    net::{SocketAddr, TcpStream},
    num::NonZeroUsize,
    time::Instant,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    core::Arrival,
    last_call::{Patience, last_call},
    listener::Listener,
};
use crate::drain::Gate;

/// Accepts from one listener until it is told to close it.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    doors: Doors,
    limit: Option<NonZeroUsize>,
}

/// A listener that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Where it listened.
    pub address: SocketAddr,
    /// How many connections the last call took in.
    pub accepted_late: usize,
}

/// The order to close, by when, and with how much patience.
pub type LastOrder = (Instant, Patience);

/// The ways to the cores.
#[derive(Debug)]
struct Doors {
    gate: Gate,
    senders: Vec<mpsc::UnboundedSender<Arrival>>,
}

impl Doors {
    fn send(&self, socket: TcpStream, peer: SocketAddr) {
        let core = self.gate.emptiest();
        let admitted = self.gate.admit(core);
        // A core only ends after the last acceptor.
        let _ = self.senders[core].send(Arrival {
            socket,
            peer,
            at: Instant::now(),
            admitted,
        });
    }
}

impl Acceptor {
    pub(super) fn new(
        listener: Listener,
        gate: Gate,
        senders: Vec<mpsc::UnboundedSender<Arrival>>,
        limit: Option<NonZeroUsize>,
    ) -> Self {
        Self {
            listener,
            doors: Doors { gate, senders },
            limit,
        }
    }

    /// Accepts until `order` comes, then makes the last call and closes. Connections beyond `MAX_CONNECTIONS` wait in the
    /// kernel's queue, the last call takes them in all the same: nobody is reset.
    pub async fn run(self, mut order: oneshot::Receiver<LastOrder>) -> Closed {
        let address = self.listener.local_addr();
        let (deadline, patience) = loop {
            tokio::select! {
                biased;
                order = &mut order => break order.unwrap_or((Instant::now(), Patience::None)),
                (socket, peer) = self.next() => self.doors.send(socket, peer),
            }
        };
        let doors = &self.doors;
        let called = last_call(self.listener, deadline, patience, |socket, peer| {
            doors.send(socket, peer)
        })
        .await;
        Closed {
            address,
            accepted_late: called.accepted_late,
        }
    }

    async fn next(&self) -> (TcpStream, SocketAddr) {
        if let Some(limit) = self.limit {
            self.doors.gate.below(limit.get()).await;
        }
        self.listener.accept().await
    }
}

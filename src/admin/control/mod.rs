//! Where commands are taken: a unix socket that is ours alone (`CONTROL_SOCKET`), and what is said there.
//!
//! [`Socket`] has the place before the app is started. [`Control`] answers what a look at the Service can answer, and hands
//! everything else on to it as an [`Order`]. It never holds the drain and closes last, so that whoever asked for a stop
//! hears its end. Whoever connects has a line, a time and a place, each with a bound.

mod order;
mod place;
pub mod protocol;
mod room;
mod socket;
mod visit;

use std::{rc::Rc, time::Instant};

use tokio::{
    net::UnixListener,
    sync::watch,
    task::{JoinHandle, spawn_local},
};

pub use self::{
    order::{Order, Orders},
    socket::{Socket, SocketError},
};
use self::{place::Place, room::Room};
use super::Source;

/// The open socket.
#[derive(Debug)]
pub struct Control {
    /// Gone when this is dropped.
    _place: Place,
    closing: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Control {
    /// Opens `socket`; whoever asks how things are is told by `source`. To be called on the control thread, within its local
    /// runtime.
    ///
    /// # Errors
    /// When the socket cannot be registered with the runtime.
    pub fn open(socket: Socket, source: Source) -> std::io::Result<(Self, Orders)> {
        let (listener, place) = socket.into_parts();
        let listener = UnixListener::from_std(listener)?;
        let (sender, orders) = order::channel();
        let (closing, told) = watch::channel(false);
        let room = Rc::new(Room::new(source, sender, told));
        let control = Self {
            _place: place,
            closing,
            accepting: spawn_local(room.serve(listener)),
        };
        Ok((control, orders))
    }

    /// Takes nobody in any more, tells those who watch how it ended, and waits until they know, at most until `deadline`.
    pub async fn close(self, deadline: Instant) {
        self.closing.send_replace(true);
        let _ = tokio::time::timeout_at(deadline.into(), self.accepting).await;
    }
}

//! Where visitors are let in: so many at once, and only who we are, or root.

use std::{fmt, rc::Rc, time::Duration};

use nix::unistd::geteuid;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
};

use super::{order, protocol::Reply, visit::Visit};
use crate::admin::Source;

/// How many are let in at once.
const VISITORS: usize = 16;

/// How long accepting pauses when there is no descriptor left.
const SHORTAGE: Duration = Duration::from_millis(100);

/// What each visit needs.
pub(super) struct Room {
    pub(super) source: Source,
    pub(super) orders: order::Sender,
    pub(super) closing: watch::Receiver<bool>,
}

impl Room {
    pub(super) fn new(
        source: Source,
        orders: order::Sender,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            source,
            orders,
            closing,
        }
    }

    /// Lets visitors in until it closes, and returns when the last has left.
    pub(super) async fn serve(self: Rc<Self>, listener: UnixListener) {
        let mut visits = JoinSet::new();
        let mut closing = self.closing.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => break,
                Some(_) = visits.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let is_full = visits.len() >= VISITORS;
                    visits.spawn_local(self.clone().receive(stream, is_full));
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept on the control socket");
                    tokio::time::sleep(SHORTAGE).await;
                }
            }
            if visits.len() > VISITORS {
                // The one too many is told so, and goes before the next comes in.
                visits.join_next().await;
            }
        }
        while visits.join_next().await.is_some() {}
    }

    async fn receive(self: Rc<Self>, stream: UnixStream, is_full: bool) {
        let visit = match stream.peer_cred() {
            Ok(peer) if is_ours(peer.uid()) => Visit::new(stream, self),
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "a command of another user's is not heard");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "a command of who knows whom is not heard");
                return;
            }
        };
        if is_full {
            visit.end(Reply::refused("too many commands at once")).await;
        } else {
            visit.serve().await;
        }
    }
}

/// The file's mode says the same; not every kernel asks it.
fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

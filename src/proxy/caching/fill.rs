//! A body on its way into the store: kept as it passes by, and stored once it is whole.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use tokio::task::spawn_local;

use crate::{
    cache::{Cache, Landing, Lead, Place, Stored, Terms},
    drain::{Stage, Watch},
    handler::{Body, Tee},
};

/// What is to be stored.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) cache: Cache,
    pub(super) place: Place,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) terms: Terms,
    /// Who waits for it.
    pub(super) lead: Option<Lead>,
    pub(super) watch: Watch,
}

/// What has passed by so far.
#[derive(Debug)]
pub(super) struct Filling {
    fill: Fill,
    /// None once it is too long.
    body: Option<Vec<u8>>,
}

impl Fill {
    /// Stores a whole body.
    pub(super) fn put(mut self, body: Bytes) -> Arc<Stored> {
        let file = self.headers.contains_key("x-sendfile")
            || self.headers.contains_key("x-accel-redirect");
        if !file && self.status != StatusCode::NO_CONTENT {
            self.headers
                .insert(header::CONTENT_LENGTH, body.len().into());
        }
        let stored = Stored::of(&self.cache, self.status, &self.headers, body, self.terms);
        let stored = Arc::new(stored);
        self.cache.put(&self.place, &stored);
        if let Some(lead) = self.lead {
            lead.land(Landing::Stored);
        }
        stored
    }

    /// Stores the body that a response is about to send.
    pub(super) fn watch(self, body: &mut Body, length: Option<u64>) {
        let room = length.and_then(|length| usize::try_from(length).ok());
        let filling = Filling {
            fill: self,
            body: Some(Vec::with_capacity(room.unwrap_or(0))),
        };
        body.tee(Box::new(filling));
    }
}

impl Tee for Filling {
    fn data(&mut self, piece: &Bytes) {
        let Some(body) = &mut self.body else { return };
        let length = (body.len() + piece.len()) as u64;
        if self.fill.cache.takes(length) {
            body.extend_from_slice(piece);
        } else {
            self.body = None;
            // Whoever waits need not.
            self.fill.lead = None;
        }
    }

    fn ended(self: Box<Self>, whole: bool) {
        if let Some(body) = self.body.filter(|_| whole) {
            // In an allocation of its own length.
            self.fill.put(Bytes::from(body.into_boxed_slice()));
        }
    }

    /// Read on for those who wait for it; nobody else wants it.
    fn left(self: Box<Self>, mut rest: Body) {
        let awaited = self.fill.lead.as_ref().is_some_and(Lead::has_followers);
        let watch = self.fill.watch.clone();
        if awaited && watch.stage() < Stage::Relaying {
            rest.tee(self);
            spawn_local(read_on(rest, watch));
        }
    }
}

/// Reads a body to its end, for its tee; a stop is not held up by it.
pub(super) async fn read_on(mut body: Body, watch: Watch) {
    let read = std::future::poll_fn(|cx| poll_to_end(&mut body, cx));
    tokio::select! {
        () = read => {}
        () = watch.reached(Stage::Relaying) => {}
    }
}

fn poll_to_end(body: &mut Body, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        match http_body::Body::poll_frame(Pin::new(body), cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
        }
    }
}

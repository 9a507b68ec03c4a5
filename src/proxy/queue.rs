//! `MAX_UPSTREAM_REQUESTS`: no more requests at the app at once than it can work on; the others wait in a fair queue.
//!
//! An app with five threads that is handed fifty requests makes all fifty slow, and whoever gives up meanwhile is worked
//! for in vain. Here they wait where leaving costs nothing.

use std::time::Duration;

use http::StatusCode;

use super::{
    bad_gateway::retry_after,
    places::{Admission, Concurrency, Place, Places, Waiting},
};
use crate::{
    drain::{Stage, Watch},
    handler::{Cause, Request, Response, answer},
};

/// How the queue is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// `MAX_UPSTREAM_REQUESTS`.
    pub concurrency: Concurrency,
    /// `UPSTREAM_QUEUE_TIMEOUT`; none is no limit.
    pub timeout: Option<Duration>,
}

/// The queue for the places at the app, one for all cores.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    settings: QueueSettings,
    places: Places,
}

impl Queue {
    pub(super) fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            places: Places::new(settings.concurrency),
        }
    }

    /// The app has said how many threads it has; whether that changes anything.
    pub(super) fn app_reports(&self, threads: usize) -> bool {
        self.settings.concurrency == Concurrency::Reported && self.places.resize(threads)
    }

    /// Waits for a place for `request`, at most for the queue's timeout. Once the app is gone nobody needs one.
    ///
    /// # Errors
    /// The answer, when there is none to be had.
    pub(super) async fn place(
        &self,
        request: &Request,
        watch: &Watch,
    ) -> Result<Option<Place>, Response> {
        let waiting = match self.places.enter(request.client.ip) {
            Admission::Place(place) => return Ok(Some(place)),
            Admission::Waits(waiting) => waiting,
            Admission::Full => return Err(overloaded(Cause::QueueFull)),
        };
        tracing::debug!(remote_addr = %request.client.ip, "waiting for a place at the app");
        tokio::select! {
            place = self.turn(waiting) => match place {
                Ok(place) => Ok(Some(place)),
                Err(cause) => Err(overloaded(cause)),
            },
            () = watch.reached(Stage::Gone) => Ok(None),
        }
    }

    async fn turn(&self, waiting: Waiting) -> Result<Place, Cause> {
        let turn = match self.settings.timeout {
            Some(limit) => tokio::time::timeout(limit, waiting.turn())
                .await
                .map_err(|_| Cause::QueueTimeout)?,
            None => waiting.turn().await,
        };
        turn.ok_or(Cause::QueueFull)
    }
}

fn overloaded(cause: Cause) -> Response {
    retry_after(answer(
        StatusCode::SERVICE_UNAVAILABLE,
        cause,
        "The app has too much to do. Try again in a moment.\n",
    ))
}

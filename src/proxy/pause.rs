//! Requests held back on purpose: the app is left in peace, for a migration, and nobody hears an error.

use std::time::Duration;

use http::StatusCode;

use super::{App, bad_gateway::retry_after};
use crate::handler::{Cause, Response, answer};

/// How requests are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// How many may wait, over all cores.
    pub limit: usize,
    /// How long each waits, at most.
    pub patience: Duration,
}

const PAUSED: &str = "The service is paused. Try again in a moment.\n";

/// Lets a request pass once the pause is over; an answer if there is no place to wait, or it has waited long enough.
pub(super) async fn wait_out(app: &App, pause: Pause) -> Option<Response> {
    let refused = || {
        retry_after(answer(
            StatusCode::SERVICE_UNAVAILABLE,
            Cause::Paused,
            PAUSED,
        ))
    };
    let Some(_place) = app.hold(pause.limit) else {
        return Some(refused());
    };
    match tokio::time::timeout(pause.patience, app.resumed()).await {
        Ok(()) => None,
        Err(_) => Some(refused()),
    }
}

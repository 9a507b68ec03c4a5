//! Holds requests that come before the app is up, or in a pause: they wait for it, not in vain and not for ever.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};

use super::{
    App,
    bad_gateway::{BadGateway, retry_after},
    pause::wait_out,
};
use crate::handler::{Cause, Request, Response, answer};

/// How many requests may wait, over all cores.
const MOST: usize = 1_000;

const BOOTING: &str = "The app is still starting. Try again in a moment.\n";

/// Lets a request pass once the app is up and not paused; an answer if it is not to wait, or has waited long enough.
/// Whoever asks for our health in a pause is to go on sending us requests.
pub(super) async fn hold(
    app: &App,
    page: &BadGateway,
    limit: Duration,
    request: &Request,
    is_health: bool,
) -> Option<Response> {
    if let Some(pause) = app.paused()
        && !is_health
        && let Some(response) = wait_out(app, pause).await
    {
        return Some(response);
    }
    if !app.is_booting() {
        return None;
    }
    let booting = || Some(retry_after(page.answer(Cause::Booting, BOOTING)));
    // A person sees the page at once, and it may reload itself; a machine is better served by an answer.
    if limit.is_zero() || (is_navigation(request) && page.has_page()) {
        return booting();
    }
    let Some(_place) = app.hold(MOST) else {
        let full = answer(StatusCode::SERVICE_UNAVAILABLE, Cause::HoldFull, BOOTING);
        return Some(retry_after(full));
    };
    match tokio::time::timeout(limit, app.booted()).await {
        Ok(()) => None,
        Err(_) => booting(),
    }
}

/// Whether a browser is about to show the answer to a person.
fn is_navigation(request: &Request) -> bool {
    let headers = &request.head.headers;
    request.head.method == Method::GET
        && match headers.get("sec-fetch-mode") {
            Some(mode) => mode == "navigate",
            None => prefers_html(headers),
        }
}

/// Browsers name HTML first; tools say `*/*`.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .map_or(&b""[..], |accept| accept.as_bytes());
    accept.trim_ascii_start().starts_with(b"text/html")
}

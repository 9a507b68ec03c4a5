//! Asking the app once for what many want: one leads, the others wait until its answer is stored (RFC 9111 section 4).

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, spawn_local},
    time::timeout_at,
};

use super::{
    errand::Errand,
    fetch::{Fetch, miss},
    label::{Use, Why},
};
use crate::{
    cache::{Flight, Found, Landing, decide, serves_error, serves_outage},
    handler::{Cause, Handler, Request, Response, answer},
};

/// How long one request waits for another's answer before it asks the app itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ends of the paths of what is most often the same for everybody.
const ASSETS: [&str; 22] = [
    "avif", "bmp", "css", "eot", "gif", "ico", "jpeg", "jpg", "js", "map", "mjs", "mp3", "mp4",
    "otf", "png", "svg", "ttf", "wasm", "webm", "webp", "woff", "woff2",
];

/// Whether a path looks like that of an asset.
pub(super) fn is_asset(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let end = name.rsplit_once('.').map(|(_, end)| end);
    end.is_some_and(|end| ASSETS.iter().any(|asset| asset.eq_ignore_ascii_case(end)))
}

impl<H: Handler + 'static> Fetch<H> {
    /// Asks the app in a task of its own, which goes on without the client as long as others wait for it.
    pub(super) async fn lead(
        self: Rc<Self>,
        request: Box<Request>,
        mut errand: Box<Errand>,
        flight: Arc<Flight>,
    ) -> Response {
        let (sender, receiver) = oneshot::channel();
        let task = spawn_local(async move {
            let response = self.validate(request, &mut errand).await;
            // Nobody takes it: its body knows what to do when it is dropped.
            drop(sender.send(response));
            self.done(errand);
        });
        let mut leave = Leave {
            task: Some(task.abort_handle()),
            flight,
        };
        let response = receiver.await;
        leave.task = None;
        response.unwrap_or_else(|_| {
            answer(
                StatusCode::BAD_GATEWAY,
                Cause::UpstreamClosed,
                "The app's answer was lost.\n",
            )
        })
    }

    /// Waits for another's answer; an answer if it was stored, or else the request goes its own way.
    pub(super) async fn follow(&self, request: &Request, errand: &mut Errand) -> Option<Response> {
        let deadline = (Instant::now() + PATIENCE).into();
        while let Some(flight) = self.cache.flight(&errand.keys) {
            let among_variants = errand.keys.has_variant();
            let landing = timeout_at(deadline, flight.landed()).await.ok()?;
            let found = self.cache.find(&mut errand.keys, &request.head.headers);
            let Found::Stored(stored) = found else {
                errand.why = miss(matches!(found, Found::NoVariant));
                // It varies, as has just come out: the own variant may be on its way.
                if errand.keys.has_variant() && !among_variants {
                    continue;
                }
                return None;
            };
            let now = Instant::now();
            errand
                .headers
                .get_or_insert_with(|| request.head.headers.clone());
            if decide(&stored.terms, &errand.asked, now).answers() {
                return Some(self.used(&stored, Use::Collapsed, errand));
            }
            let serves = serves_outage(&stored.terms, now)
                || serves_error(&stored.terms, &errand.asked, now);
            if landing == Landing::Failed && serves {
                return Some(self.used(&stored, Use::Stale(errand.why), errand));
            }
            errand.why = Why::Stale;
            errand.stored = Some(stored);
            return None;
        }
        None
    }

    /// Asks the app for a fresh one while a stale one answers; at most once at a time, and not once a stop has begun.
    pub(super) fn refresh(self: &Rc<Self>, request: &Request, mut errand: Box<Errand>) {
        if self.watch.leaving() {
            return;
        }
        let Some(lead) = self.cache.lead(&errand.keys) else {
            return;
        };
        errand.lead = Some(lead);
        errand.method = Method::GET;
        errand.began = Instant::now();
        let mut head = request.head.clone();
        head.method = Method::GET;
        let request = super::detached::request(head, &request.client, request.id.clone());
        let (fetch, watch) = (self.clone(), self.watch.clone());
        spawn_local(async move {
            let refreshed = async {
                let response = fetch.validate(request, &mut errand).await;
                super::fill::read_on(response.into_body(), fetch.watch.clone()).await;
            };
            tokio::select! {
                () = refreshed => {}
                () = watch.reached(crate::drain::Stage::Relaying) => {}
            }
        });
    }
}

/// Calls the task off if the client leaves before there is an answer, and nobody else waits for it.
struct Leave {
    task: Option<AbortHandle>,
    flight: Arc<Flight>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(task) = self.task.take()
            && !self.flight.has_followers()
        {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_known_by_their_names() {
        for (path, expected) in [
            ("/assets/a-1234.js", true),
            ("/a.CSS", true),
            ("/.css", true),
            ("/a.json", false),
            ("/a", false),
            ("/a.js/b", false),
            ("/", false),
        ] {
            assert_eq!(is_asset(path), expected, "{path}");
        }
    }
}

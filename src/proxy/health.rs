//! HTTP_HEALTH_PATH on the front: the app's own answer while we serve, 503 once a stop has begun, so that a load balancer
//! that probes it takes us out in time.

use http::{Method, StatusCode};

use super::bad_gateway::retry_after;
use crate::{
    drain::Watch,
    handler::{Cause, Handler, Request, Response, answer},
};

/// Answers for the app once a stop has begun.
#[derive(Debug)]
pub(super) struct Health<H> {
    path: Option<String>,
    watch: Watch,
    next: H,
}

impl<H> Health<H> {
    pub(super) fn new(path: Option<String>, watch: Watch, next: H) -> Self {
        Self { path, watch, next }
    }

    fn answers(&self, request: &Request) -> bool {
        self.path.is_some()
            && self.watch.leaving()
            && asks_for_health(self.path.as_deref(), request)
    }
}

/// Whether it is a GET or HEAD of exactly this path.
pub(super) fn asks_for_health(path: Option<&str>, request: &Request) -> bool {
    let head = &request.head;
    path.is_some_and(|path| {
        matches!(head.method, Method::GET | Method::HEAD) && head.uri.path() == path
    })
}

impl<H: Handler> Handler for Health<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        if self.answers(&request) {
            return retry_after(answer(
                StatusCode::SERVICE_UNAVAILABLE,
                Cause::HealthDraining,
                "stopping\n",
            ));
        }
        self.next.handle(request).await
    }
}

//! MAX_REQUEST_BODY: refused by its length before a byte of it is read, or when it turns out to be longer.

use std::num::NonZeroU64;

use http::{StatusCode, header};
use http_body::Body;

use super::bad_gateway::closing;
use crate::handler::{Cause, Handler, Request, Response, answer};

/// Limits request bodies.
#[derive(Debug)]
pub(super) struct BodyLimit<H> {
    bytes: Option<NonZeroU64>,
    next: H,
}

impl<H> BodyLimit<H> {
    pub(super) fn new(bytes: Option<NonZeroU64>, next: H) -> Self {
        Self { bytes, next }
    }
}

/// The answer to a body that is too long (RFC 9110 section 15.5.14).
pub(super) fn too_large() -> Response {
    closing(answer(
        StatusCode::PAYLOAD_TOO_LARGE,
        Cause::BodyTooLarge,
        "the request's body is larger than this server takes\n",
    ))
}

impl<H: Handler> Handler for BodyLimit<H> {
    async fn handle(&self, mut request: Box<Request>) -> Response {
        if let Some(limit) = self.bytes {
            let announced = request.head.headers.get(header::CONTENT_LENGTH);
            if announced.is_some() && request.body.size_hint().lower() > limit.get() {
                // Not read, so a client that expects a 100 gets this instead.
                return too_large();
            }
            request.body.limit(limit.get());
        }
        self.next.handle(request).await
    }
}

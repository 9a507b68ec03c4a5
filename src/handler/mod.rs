//! The grammar of the request path: what a layer is, what goes in and what comes out.
//!
//! Every layer is a plain struct with one method and the next layer inside. The path is infallible: whoever fails
//! answers, and leaves the [`Cause`] for the log.

mod body;
mod cause;
mod closed_by;
mod encoded;
mod incoming;
mod request;

use std::future::Future;

pub use body::{Body, BodyError, End, Ended, Recoded, Tee};
pub use cause::Cause;
pub use closed_by::ClosedBy;
pub use encoded::DIGESTS;
pub use incoming::{Incoming, StreamBody};
pub use request::{
    Client, Downstream, Refusal, Request, RequestBody, RequestId, Upgrade, UpgradeSlot, Upgraded,
};

/// What a layer gives back; its head is what the client will see, but for the framing. In a box, as each layer hands it on:
/// moved by value it would cost more than the box, and its room in every request's future.
pub type Response = Box<http::Response<Body>>;

/// A response with this body, 200 and no fields so far.
pub fn with_body(body: Body) -> Response {
    Box::new(http::Response::new(body))
}

/// One step of the request path.
pub trait Handler {
    /// Answers `request`, by itself or by asking the next layer.
    fn handle(&self, request: Box<Request>) -> impl Future<Output = Response>;
}

/// A plain-text answer of our own, with what caused it.
pub fn answer(status: http::StatusCode, cause: Cause, text: &'static str) -> Response {
    let mut response = with_body(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response.extensions_mut().insert(cause);
    response
}

//! The grammar of the request path: what a layer is, what goes in and what comes out.
//!
//! Every layer is a plain struct with one method and the next layer inside. The path is infallible: whoever fails
//! answers, and leaves the [`Cause`] for the log.

mod body;
mod cause;
mod encoded;
mod incoming;
mod request;

use std::future::Future;

pub use body::{Body, BodyError, End, Ended, Recoded, Tee};
pub use cause::Cause;
pub use encoded::DIGESTS;
pub use incoming::{Incoming, StreamBody};
pub use request::{
    Client, Downstream, Refusal, Request, RequestBody, RequestId, Upgrade, UpgradeSlot, Upgraded,
};

/// What a layer gives back; its head is what the client will see, but for the framing.
pub type Response = http::Response<Body>;

/// One step of the request path.
pub trait Handler {
    /// Answers `request`, by itself or by asking the next layer.
    fn handle(&self, request: Box<Request>) -> impl Future<Output = Response>;
}

/// A plain-text answer of our own, with what caused it.
pub fn answer(status: http::StatusCode, cause: Cause, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response.extensions_mut().insert(cause);
    response
}

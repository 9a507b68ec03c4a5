//! A request of our own: nobody's connection waits for its answer.

use http::request::Parts;

use crate::handler::{Client, Request, RequestBody, RequestId};

/// A request with this head, in the name of `client`.
pub(super) fn request(head: Parts, client: &Client, id: RequestId) -> Box<Request> {
    Box::new(Request {
        head,
        body: RequestBody::empty(),
        client: Client {
            ip: client.ip,
            secure: client.secure,
            ..Client::nobody(client.address)
        },
        upgrade: None,
        id,
    })
}

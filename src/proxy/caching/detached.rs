//! A request of our own: nobody's connection waits for its answer.

use std::{rc::Rc, time::Instant};

use http::{HeaderMap, StatusCode, request::Parts};

use crate::handler::{Client, Downstream, Request, RequestBody, RequestId};

/// The connection of nobody.
struct Nobody;

impl Downstream for Nobody {
    fn interim(&self, _: StatusCode, _: &HeaderMap) {}
    fn gone(&self) -> bool {
        false
    }
    fn body_waits(&self) {}
    fn body_arrived(&self) {}
    fn body_whole(&self) {}
    fn body_timed_out(&self) -> bool {
        false
    }
}

/// A request with this head, in the name of `client`.
pub(super) fn request(head: Parts, client: &Client, id: RequestId) -> Box<Request> {
    Box::new(Request {
        head,
        body: RequestBody::empty(),
        client: Client {
            address: client.address,
            arrived: Instant::now(),
            secure: client.secure,
            knows_interim: false,
            connection: Rc::new(Nobody),
        },
        upgrade: None,
        id,
    })
}

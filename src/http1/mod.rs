//! HTTP/1.1 as we speak it to the app: one connection, one exchange at a time.
//!
//! hyper serves the clients; towards the app we write the head ourselves and read the answer with hyper's own parser,
//! because there is one fixed peer and every hop in between (a task and two channels per request in hyper's client)
//! would cost each request more than the rest of us together. It also tells us what hyper's client does not: whether a byte
//! of the answer had arrived, and interim responses as they come.

mod body;
mod decode;
mod exchange;
mod head;
mod send;
mod stream;

pub use body::{BodyError, ResponseBody};
pub use exchange::{Answer, Exchange, ExchangeError};
pub use head::{Framing, Head};
pub use stream::{Connection, Home};

//! A request on its way to the app, its body, and the way back to its client's connection.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};

use super::{
    Cause,
    incoming::{Broken, Incoming},
};

/// A request, from the moment its head is whole.
#[derive(Debug)]
pub struct Request {
    /// Method, target, version and headers, as the client sent them.
    pub head: http::request::Parts,
    /// The body, read from the client as it is polled.
    pub body: RequestBody,
    /// Who sent it, and when.
    pub client: Client,
    /// The client's connection itself, if the request asks to upgrade it.
    pub upgrade: Option<Upgrade>,
    /// Its id, once it has one: its own, or made for who first tells it to anybody.
    pub id: RequestId,
}

/// What a request is called in the log and at the app.
#[derive(Clone, Debug, Default)]
pub enum RequestId {
    /// None yet.
    #[default]
    None,
    /// One of ours.
    Made([u8; 36]),
    /// The client's own.
    Kept(http::HeaderValue),
}

impl RequestId {
    /// Its text; empty if there is none.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::None => b"",
            Self::Made(text) => text,
            Self::Kept(value) => value.as_bytes(),
        }
    }
}

/// The client's side of a request.
#[derive(Clone)]
pub struct Client {
    /// The peer of the connection, or for whom it speaks by the PROXY protocol.
    pub address: SocketAddr,
    /// Who the client is: the peer, or whom a proxy that is trusted names.
    pub ip: IpAddr,
    /// When the first byte of the head arrived.
    pub arrived: Instant,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// Whether it may be sent interim responses; HTTP/1.0 clients may not.
    pub knows_interim: bool,
    /// The connection, for what cannot wait for the response.
    pub connection: Rc<dyn Downstream>,
}

impl Client {
    /// Whether we know the client by the word of a proxy that is trusted.
    pub fn is_vouched_for(&self) -> bool {
        self.ip != self.address.ip()
    }

    /// The client, as a log has it.
    pub fn shown(&self) -> String {
        match self.is_vouched_for() {
            true => self.ip.to_string(),
            false => self.address.to_string(),
        }
    }

    /// The client of a request of our own, in the name of `address`: no connection waits for the answer.
    pub fn nobody(address: SocketAddr) -> Self {
        Self {
            address,
            ip: address.ip(),
            arrived: Instant::now(),
            secure: false,
            knows_interim: false,
            connection: Rc::new(Nobody),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .field("ip", &self.ip)
            .field("secure", &self.secure)
            .finish_non_exhaustive()
    }
}

/// What a request may ask of the connection that it came on.
pub trait Downstream {
    /// Writes an interim response (1xx but 100 and 101) ahead of the final one; RFC 9110 section 15.2.
    fn interim(&self, status: http::StatusCode, headers: &HeaderMap);
    /// Whether the client has closed its half of the connection.
    fn gone(&self) -> bool;
    /// Why we have given the connection up, if it was us.
    fn given_up(&self) -> Option<Cause> {
        None
    }
    /// Whether files may be left to sendfile(2): what stands in for them is known here.
    fn sends_files(&self) -> bool {
        false
    }
    /// The body is waiting for the client's bytes: the read clock runs.
    fn body_waits(&self);
    /// Bytes of the body have arrived: the read clock stops.
    fn body_arrived(&self);
    /// The body has been read to its end.
    fn body_whole(&self);
    /// Whether the client made no progress with its body for `HTTP_READ_TIMEOUT`.
    fn body_timed_out(&self) -> bool;
}

impl std::fmt::Debug for dyn Downstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downstream").finish_non_exhaustive()
    }
}

/// The connection of nobody.
struct Nobody;

impl Downstream for Nobody {
    fn interim(&self, _: http::StatusCode, _: &HeaderMap) {}
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

/// Why a request's body cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than `MAX_REQUEST_BODY`.
    #[error("the request body is longer than MAX_REQUEST_BODY")]
    TooLarge,
    /// No progress for `HTTP_READ_TIMEOUT`.
    #[error("the client sent nothing of its body for HTTP_READ_TIMEOUT")]
    TimedOut,
    /// Bad framing.
    #[error("the request body is malformed")]
    Broken,
    /// The client went away.
    #[error("the client's connection ended inside its request")]
    Gone,
}

/// A request's body: what the client sends, under our clock and our limit.
pub struct RequestBody {
    incoming: Option<Incoming>,
    connection: Option<Rc<dyn Downstream>>,
    left: u64,
    /// Which fields may come behind the body.
    may_trail: fn(&HeaderName) -> bool,
}

impl RequestBody {
    /// The body that `incoming` brings over `connection`.
    pub fn new(incoming: Incoming, connection: &Rc<impl Downstream + 'static>) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        Self {
            incoming: Some(incoming),
            connection: Some(connection.clone()),
            left: u64::MAX,
            may_trail: |_| true,
        }
    }

    /// No body.
    pub fn empty() -> Self {
        Self {
            incoming: None,
            connection: None,
            left: u64::MAX,
            may_trail: |_| true,
        }
    }

    /// Fails with [`Refusal::TooLarge`] beyond `bytes`.
    pub fn limit(&mut self, bytes: u64) {
        self.left = bytes;
    }

    /// Leaves out the trailers that are not `allowed`.
    pub fn limit_trailers(&mut self, allowed: fn(&HeaderName) -> bool) {
        self.may_trail = allowed;
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let (Some(incoming), Some(connection)) = (&mut self.incoming, &self.connection) else {
            return Poll::Ready(None);
        };
        match incoming.poll_frame(cx) {
            Poll::Pending if connection.body_timed_out() => {
                Poll::Ready(Some(Err(Refusal::TimedOut)))
            }
            Poll::Pending => {
                connection.body_waits();
                Poll::Pending
            }
            Poll::Ready(frame) => {
                match &frame {
                    None => connection.body_whole(),
                    Some(Ok(_)) if incoming.is_end_stream() => connection.body_whole(),
                    Some(_) => connection.body_arrived(),
                }
                let refusal = |broken| match broken {
                    Broken::Malformed if !connection.gone() => Refusal::Broken,
                    Broken::Malformed | Broken::Reset => Refusal::Gone,
                };
                Poll::Ready(frame.map(|frame| frame.map_err(refusal)))
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let mut polled = self.poll_incoming(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled {
            if let Some(trailers) = frame.trailers_mut() {
                retain(trailers, self.may_trail);
            }
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(Refusal::TooLarge))),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

fn retain(fields: &mut HeaderMap, wanted: fn(&HeaderName) -> bool) {
    while let Some(name) = fields.keys().find(|name| !wanted(name)).cloned() {
        fields.remove(name);
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.body_arrived();
        }
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody")
            .field("incoming", &self.incoming)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// The client's connection once it speaks another protocol.
pub trait Upgraded: AsyncRead + AsyncWrite + Unpin + std::fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + std::fmt::Debug> Upgraded for T {}

/// The promise of the client's connection, kept once the 101 is out.
#[derive(Debug)]
pub struct Upgrade(oneshot::Receiver<Box<dyn Upgraded>>);

/// The connection's end of an [`Upgrade`].
#[derive(Debug)]
pub struct UpgradeSlot(oneshot::Sender<Box<dyn Upgraded>>);

impl Upgrade {
    /// A promise and the slot that keeps it.
    pub fn pair() -> (UpgradeSlot, Self) {
        let (sender, receiver) = oneshot::channel();
        (UpgradeSlot(sender), Self(receiver))
    }

    /// The connection, bytes that came together with the request first; none if it ended before the 101 was out.
    pub async fn connection(self) -> Option<Box<dyn Upgraded>> {
        self.0.await.ok()
    }
}

impl UpgradeSlot {
    /// Hands the connection over.
    pub fn keep(self, connection: impl Upgraded + 'static) {
        // Nobody waits any more: the connection is dropped, and so closed.
        let _ = self.0.send(Box::new(connection));
    }
}

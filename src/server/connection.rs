//! One connection: waits bare until it is readable, speaks HTTP/1.1 through hyper, and is let go, cut or handed over.
//!
//! hyper is asked to end a connection gracefully by nobody: its own graceful shutdown drops requests that have arrived but
//! are not read yet. Instead every response says `Connection: close` once a stop has begun, and a connection on which
//! nothing is going on is taken apart and closed here.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

use super::{
    clock::Clock,
    close::{finish, finish_talking, request_timeout},
    core::{Admission, Core},
    face::Face,
    handshake::Handshake,
    http2::{self, PREFACE, Parting},
    io::Io,
    kind::is_event_stream,
    registry::Place,
    second::second,
    state::{Due, State},
    stream::Stream,
    tunnel::Tunnelled,
};
use crate::{
    drain::{Stage, Watch},
    handler::{
        Body, BodyError, Client, Handler, Incoming, Request, RequestBody, RequestId, Response,
        Upgrade, UpgradeSlot,
    },
    metrics, tls,
};

/// A connection of core `core`; counted by `open`, woken through `place`.
pub(super) struct Connection<H> {
    core: Rc<Core<H>>,
    state: Rc<State>,
    open: Admission,
    _place: Place,
}

/// What a connection turns out to speak, and what was read of it to know.
enum Begun {
    Http1(Stream, Bytes),
    Http2(Stream, Bytes),
    /// Nothing, and so it ends.
    Over(Stream, Leave),
    /// Nothing, and it has ended.
    Gone,
}

/// How a connection, or its time with hyper, ends.
#[derive(Debug)]
enum Leave {
    /// Nothing is going on: its buffers are given back until it is readable again.
    Park,
    /// hyper is done with it.
    Done,
    /// It is idle and no longer wanted.
    LetGo,
    /// Its head did not become whole in time.
    HeadTimeout,
    /// Whatever is left of it is given up.
    Cut,
}

impl<H: Handler + 'static> Connection<H> {
    pub(super) fn new(core: Rc<Core<H>>, state: Rc<State>, open: Admission, place: Place) -> Self {
        Self {
            core,
            state,
            open,
            _place: place,
        }
    }

    /// Serves `stream` to its end.
    pub(super) async fn serve(self, tcp: TcpStream, face: Face) {
        let mut clock = Clock::default();
        let mut stream = Stream::Plain(tcp);
        // Nothing is set up for who says nothing.
        if let Some(leave) = self.park(&mut stream, &mut clock).await {
            return self.close(stream, &leave);
        }
        let begun = match face {
            Face::Plain if !self.core.h2c => Begun::Http1(stream, Bytes::new()),
            Face::Plain => Box::pin(self.recognise(stream, &mut clock)).await,
            Face::Secure(acceptor) => {
                Box::pin(self.encrypt(stream.into_tcp(), acceptor, &mut clock)).await
            }
        };
        match begun {
            Begun::Http1(stream, ahead) => self.serve_http1(stream, ahead, clock).await,
            Begun::Http2(stream, ahead) => {
                Box::pin(self.serve_http2(stream, ahead, clock)).await;
            }
            Begun::Over(stream, leave) => self.close(stream, &leave),
            Begun::Gone => self.state.closed(),
        }
    }

    /// Makes the handshake, as long as it may take.
    async fn encrypt(&self, tcp: TcpStream, acceptor: tls::Acceptor, clock: &mut Clock) -> Begun {
        let began = Instant::now();
        let handshake = async {
            // It is never closed.
            let _room = self.core.handshakes.acquire().await;
            acceptor.accept(tcp).await
        };
        let mut handshake = pin!(handshake);
        let mut limit = Handshake::new(self.state.accepted());
        let made = poll_fn(|cx| {
            self.state.remember(cx.waker());
            if let Poll::Ready(made) = handshake.as_mut().poll(cx) {
                return Poll::Ready(Some(made));
            }
            if self.state.watch.leaving() {
                if !limit.goes_on(&self.state.watch) {
                    return Poll::Ready(None);
                }
                self.state.update_hold(true);
                self.core.registry.saw(&self.state);
            }
            clock.poll(Some(limit.deadline()), cx).map(|()| None)
        })
        .await;
        let end = made.as_ref().map_or(metrics::Handshake::Timeout, how_ended);
        self.state.recorder.handshake(end, began.elapsed());
        match made {
            Some(made) => self.encrypted(made),
            None => self.give_up(),
        }
    }

    /// Ends a connection whose socket is still inside of a handshake: dropped with that, it would be reset.
    fn give_up(&self) -> Begun {
        tracing::debug!(remote_addr = %self.state.peer, "handshake given up");
        match second(self.state.socket).and_then(TcpStream::from_std) {
            Ok(tcp) => Begun::Over(Stream::Plain(tcp), Leave::LetGo),
            Err(_) => Begun::Gone,
        }
    }

    fn encrypted(&self, made: Result<tls::Stream, tls::HandshakeError>) -> Begun {
        match made {
            Ok(tls) => {
                let mut stream = Stream::Secure(Box::new(tls));
                self.state.encrypted();
                self.state.unread.set(stream.has_decrypted());
                match stream.agreed_on_http2() {
                    true => Begun::Http2(stream, Bytes::new()),
                    false => Begun::Http1(stream, Bytes::new()),
                }
            }
            Err(error) => {
                tracing::debug!(%error, remote_addr = %self.state.peer, "no handshake");
                let told = |tcp| Begun::Over(Stream::Plain(tcp), Leave::Done);
                error.into_stream().map_or(Begun::Gone, told)
            }
        }
    }

    /// HTTP/2 by prior knowledge, or HTTP/1 (RFC 9113 section 3.3): reads until that is known, and gives what it read.
    async fn recognise(&self, mut stream: Stream, clock: &mut Clock) -> Begun {
        let mut ahead = BytesMut::with_capacity(PREFACE.len());
        let leave = poll_fn(|cx| {
            self.state.remember(cx.waker());
            loop {
                if ahead.len() == PREFACE.len() || !PREFACE.starts_with(&ahead) {
                    return Poll::Ready(None);
                }
                if let Poll::Ready(read) = self.poll_preface(&mut stream, &mut ahead, cx) {
                    match read {
                        Ok(1..) => continue,
                        Ok(0) | Err(_) => return Poll::Ready(Some(Leave::Done)),
                    }
                }
                if let Some(leave) = ready!(self.poll_clocks(clock, cx)) {
                    return Poll::Ready(Some(leave));
                }
            }
        })
        .await;
        match leave {
            Some(leave) => Begun::Over(stream, leave),
            None if *ahead == *PREFACE => Begun::Http2(stream, ahead.freeze()),
            None => Begun::Http1(stream, ahead.freeze()),
        }
    }

    /// Reads no more than what may belong to the preface.
    fn poll_preface(
        &self,
        stream: &mut Stream,
        ahead: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut piece = [0; PREFACE.len()];
        let mut piece = ReadBuf::new(&mut piece[ahead.len()..]);
        let read = ready!(Pin::new(stream).poll_read(cx, &mut piece));
        let count = piece.filled().len();
        match &read {
            Ok(()) => self.state.read(count),
            Err(_) => self.state.broke(),
        }
        ahead.extend_from_slice(piece.filled());
        Poll::Ready(read.map(|()| count))
    }

    /// HTTP/1.1, from one request to the next.
    async fn serve_http1(self, mut stream: Stream, mut ahead: Bytes, mut clock: Clock) {
        let leave = loop {
            // A head of which a part came with the request before is no idleness.
            if ahead.is_empty()
                && let Some(leave) = self.park(&mut stream, &mut clock).await
            {
                break leave;
            }
            let leave;
            (stream, ahead, leave) = self.talk(stream, ahead, &mut clock).await;
            match leave {
                // What looked idle to us has the beginning of a head in hyper's buffer.
                Leave::Park | Leave::LetGo if self.state.begins_a_head(&ahead) => {}
                Leave::Park => {
                    // Not just cleared: even an empty slice keeps hyper's buffer.
                    ahead = Bytes::new();
                    self.core.memory.parked();
                }
                Leave::Done => {
                    if let Some((slot, tunnel)) = self.state.take_tunnel() {
                        let recorder = self.state.recorder.clone();
                        return slot
                            .keep(Tunnelled::new(stream, ahead, self.open, tunnel, recorder));
                    }
                    break Leave::Done;
                }
                leave => break leave,
            }
        };
        self.close(stream, &leave);
    }

    /// HTTP/2, all requests at once.
    async fn serve_http2(self, stream: Stream, ahead: Bytes, mut clock: Clock) {
        let talked = http2::talk(&self.core, &self.state, stream, ahead, &mut clock).await;
        if let (Some(stream), parting) = talked {
            let leave = match parting {
                Parting::Done => Leave::Done,
                Parting::Goodbye(_) => Leave::LetGo,
                Parting::Cut | Parting::Stuck => Leave::Cut,
            };
            self.close_with(stream, &leave, finish_talking);
        }
    }

    /// Waits until the socket is readable; without hyper and its buffers, as most connections are idle most of the time.
    async fn park(&self, stream: &mut Stream, clock: &mut Clock) -> Option<Leave> {
        poll_fn(|cx| {
            self.state.remember(cx.waker());
            if stream.poll_readable(cx).is_ready() {
                return Poll::Ready(None);
            }
            loop {
                if self.state.watch.leaving()
                    && let Some(leave) = self.on_stage()
                {
                    return Poll::Ready(Some(leave));
                }
                if clock.poll(self.state.parked_deadline(), cx).is_pending() {
                    return Poll::Pending;
                }
                if self.state.due(Instant::now()) == Due::Idle {
                    return Poll::Ready(Some(Leave::LetGo));
                }
            }
        })
        .await
    }

    /// Speaks HTTP/1.1 until the connection is idle for a while or over; gives the socket back, and bytes read `ahead`, as
    /// it takes them.
    async fn talk(
        &self,
        stream: Stream,
        ahead: Bytes,
        clock: &mut Clock,
    ) -> (Stream, Bytes, Leave) {
        let (handler, state) = (self.core.handler.clone(), self.state.clone());
        let service = service_fn(move |request| {
            let (request, slot) = receive(&state, request);
            answer(handler.clone(), state.clone(), request, slot)
        });
        let io = TokioIo::new(Io::new(stream, ahead, self.state.clone()));
        let mut http = Box::new(self.core.http.serve_connection(io, service));
        let leave = poll_fn(|cx| {
            self.state.remember(cx.waker());
            self.poll_talk(Pin::new(&mut *http), clock, cx)
        })
        .await;
        let parts = http.into_parts();
        let (stream, ahead) = parts.io.into_inner().into_parts(parts.read_buf);
        (stream, ahead, leave)
    }

    fn poll_talk<F>(
        &self,
        mut http: Pin<&mut F>,
        clock: &mut Clock,
        cx: &mut Context<'_>,
    ) -> Poll<Leave>
    where
        F: Future<Output = hyper::Result<()>>,
    {
        loop {
            if let Poll::Ready(ended) = http.as_mut().poll(cx) {
                return Poll::Ready(self.ended(ended));
            }
            if let Some(leave) = ready!(self.poll_clocks(clock, cx)) {
                return Poll::Ready(leave);
            }
        }
    }
}

impl<H> Connection<H> {
    /// Ready when the stop or a clock has something to say: to leave, or to look again.
    fn poll_clocks(&self, clock: &mut Clock, cx: &mut Context<'_>) -> Poll<Option<Leave>> {
        if self.state.watch.leaving()
            && let Some(leave) = self.on_stage()
        {
            return Poll::Ready(Some(leave));
        }
        ready!(clock.poll(self.state.deadline(), cx));
        Poll::Ready(match self.state.due(Instant::now()) {
            Due::Nothing => None,
            Due::Idle => Some(Leave::LetGo),
            Due::Head => Some(Leave::HeadTimeout),
            // The body's next poll fails with it, and the path answers 408.
            Due::Body => {
                self.state.time_out_body();
                None
            }
            Due::Write => self
                .state
                .takes_nothing(Instant::now())
                .then_some(Leave::Cut),
            Due::Park => Some(Leave::Park),
        })
    }

    /// Looks at the stage of the stop: whether this connection is to go, or holds the drain.
    fn on_stage(&self) -> Option<Leave> {
        let state = &self.state;
        let stage = state.watch.stage();
        let waits = stage >= Stage::Draining && !state.in_flight() && state.buffered();
        let leave = if stage == Stage::Cut {
            Some(Leave::Cut)
        } else if stage <= Stage::Draining || state.in_flight() {
            None
        } else if state.head_pending() {
            let given_up = state.watch.overdue() || stage > Stage::Ending;
            given_up.then_some(Leave::HeadTimeout)
        } else {
            // What has arrived is read and answered, whatever the stage, and what may be on the wire until the deadline.
            let awaited = waits || (state.is_young() && !state.watch.overdue());
            (!awaited).then_some(Leave::LetGo)
        };
        if leave.is_none() {
            state.update_hold(waits);
            // Who leaves has seen it once it is gone: closed, or holding the drain for what it had read ahead.
            self.core.registry.saw(state);
        }
        leave
    }

    fn ended(&self, ended: hyper::Result<()>) -> Leave {
        if let Err(error) = ended {
            if error.is_parse() && self.core.log_refused {
                let address = self.state.peer;
                tracing::info!(remote_addr = %address, cause = "bad_request", %error, "request refused");
            } else {
                tracing::debug!(%error, "connection ended");
            }
        }
        Leave::Done
    }

    /// Closes `stream`; lingering runs in a task of its own and keeps nothing of this connection.
    fn close(self, stream: Stream, leave: &Leave) {
        self.close_with(stream, leave, finish);
    }

    fn close_with(self, mut stream: Stream, leave: &Leave, finish: fn(Stream, &Watch)) {
        let state = &self.state;
        state.closed();
        if matches!(leave, Leave::HeadTimeout) {
            request_timeout(&mut stream);
            if self.core.log_refused {
                tracing::info!(remote_addr = %state.peer, status = 408, cause = "head_timeout", "request refused");
            }
        }
        let lingers = match leave {
            Leave::Done => state.lingers(),
            Leave::Park | Leave::LetGo | Leave::HeadTimeout | Leave::Cut => !state.ended.get(),
        };
        stream.say_goodbye();
        if lingers {
            finish(stream, &state.watch);
        }
    }
}

/// In a word for the count.
fn how_ended(made: &Result<tls::Stream, tls::HandshakeError>) -> metrics::Handshake {
    match made.as_ref().map_err(tls::HandshakeError::reason) {
        Ok(_) => metrics::Handshake::Done,
        Err(tls::Reason::Challenge) => metrics::Handshake::Challenge,
        Err(tls::Reason::NoCertificate(_) | tls::Reason::Failed(_)) => metrics::Handshake::Failed,
    }
}

/// A request as the path sees it, and what keeps its promise of the connection if it asks to upgrade.
///
/// Not part of [`answer`]: what an async function holds while it waits is moved around for each request.
fn receive(
    state: &Rc<State>,
    request: hyper::Request<hyper::body::Incoming>,
) -> (Box<Request>, Option<UpgradeSlot>) {
    let (mut head, incoming) = request.into_parts();
    let body = RequestBody::new(Incoming::Http1(incoming), state);
    let arrived = state.begin(!body.is_end_stream(), closes(&head));
    let upgrades = head.version == Version::HTTP_11 && head.headers.contains_key(header::UPGRADE);
    let (slot, upgrade) = if upgrades {
        // hyper's own promise of the connection is not used.
        head.extensions.clear();
        let (slot, upgrade) = Upgrade::pair();
        (Some(slot), Some(upgrade))
    } else {
        (None, None)
    };
    let client = Client {
        address: state.peer,
        arrived,
        secure: state.secure.get(),
        knows_interim: head.version == Version::HTTP_11,
        connection: state.clone(),
    };
    let request = Request {
        head,
        body,
        client,
        upgrade,
        id: RequestId::None,
    };
    (Box::new(request), slot)
}

/// Takes a request up the path and its response back down.
async fn answer<H: Handler>(
    handler: Rc<H>,
    state: Rc<State>,
    request: Box<Request>,
    slot: Option<UpgradeSlot>,
) -> Result<http::Response<Tracked>, Infallible> {
    let response = handler.handle(request).await;
    Ok(deliver(state, slot, response))
}

fn deliver(
    state: Rc<State>,
    slot: Option<UpgradeSlot>,
    mut response: Response,
) -> http::Response<Tracked> {
    state.answered();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(slot) = slot {
            state.switches(slot);
        }
    } else {
        settle(&state, &mut response);
    }
    response.map(|body| Tracked { body, state })
}

/// What the stage of the stop, and the kind of the response, mean for its connection.
fn settle(state: &State, response: &mut Response) {
    if is_event_stream(response.headers()) {
        state.becomes_stream();
    }
    if state.watch.leaving() {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Whether the client will not use its connection again (RFC 9112 section 9.3).
fn closes(head: &http::request::Parts) -> bool {
    let says = |option: &[u8]| {
        head.headers
            .get_all(header::CONNECTION)
            .iter()
            .any(|value| {
                let mut options = value.as_bytes().split(|byte| *byte == b',');
                options.any(|said| said.trim_ascii().eq_ignore_ascii_case(option))
            })
    };
    if head.version == Version::HTTP_10 {
        !says(b"keep-alive")
    } else {
        says(b"close")
    }
}

/// A response's body that tells its connection when it ends.
struct Tracked {
    body: Body,
    state: Rc<State>,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.state.response_ended();
    }
}

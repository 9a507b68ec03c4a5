//! One stream: a request like any other, up the path and its response back down.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Instant,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, ext::Protocol, server::SendResponse};
use http::{HeaderMap, Method, StatusCode, header};
use http_body::Body as _;

use super::{
    head,
    pipe::{Pipe, Piped},
    shared::Shared,
    tunnel::Tunnelled,
};
use crate::{
    drain::{Kind, Open},
    handler::{
        Cause, Client, Downstream, Handler, Incoming, Request, RequestBody, RequestId, Response,
        StreamBody, Upgrade, UpgradeSlot,
    },
    server::{clock::Clock, core::Core, kind::is_event_stream, state::earliest, streams::Seat},
};

/// A request's side of its stream; it counts until the kernel has the last byte of its response.
pub(super) struct Exchange {
    shared: Rc<Shared>,
    to: RefCell<SendResponse<Bytes>>,
    open: RefCell<Option<Open>>,
    to_head: bool,
    /// Whether the client waits for a 100 before it sends its body.
    expects: Cell<bool>,
    body_wait: Cell<Option<Instant>>,
    body_timed_out: Cell<bool>,
    /// Whether the client has reset the stream.
    gone: Cell<bool>,
    /// Why we have, if it was us.
    given_up: Cell<Option<Cause>>,
}

/// What a granted upgrade needs.
struct Upgradable {
    slot: UpgradeSlot,
    from: RecvStream,
}

/// Serves a stream of `shared` to its end.
pub(super) async fn serve<H: Handler>(
    core: Rc<Core<H>>,
    shared: Rc<Shared>,
    seat: Seat,
    request: http::Request<RecvStream>,
    to: SendResponse<Bytes>,
) {
    poll_fn(|cx| {
        seat.remember(cx.waker());
        Poll::Ready(())
    })
    .await;
    let is_well_formed = head::is_well_formed(&request);
    let (exchange, request, upgradable) = receive(shared, request, to);
    if !is_well_formed {
        exchange.log_refused(&core);
        return exchange.refuse(StatusCode::BAD_REQUEST);
    }
    let Some(request) = request else {
        if core.log_refused {
            let address = exchange.shared.state.peer();
            tracing::info!(remote_addr = %address, status = 501, cause = "unknown_protocol", "request refused");
        }
        return exchange.refuse(StatusCode::NOT_IMPLEMENTED);
    };
    let mut clock = Clock::default();
    let response = exchange
        .answer(core.handler.handle(request), &mut clock)
        .await;
    let Some(response) = response else {
        return;
    };
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    match upgradable {
        Some(upgradable) if switches => exchange.switch(*response, upgradable, seat),
        _ => exchange.respond(&core, response, &mut clock).await,
    }
}

/// The request as the path sees it; none if it is one that no path is for.
fn receive(
    shared: Rc<Shared>,
    request: http::Request<RecvStream>,
    to: SendResponse<Bytes>,
) -> (Rc<Exchange>, Option<Box<Request>>, Option<Upgradable>) {
    let (mut head, from) = request.into_parts();
    let arrived = Instant::now();
    let exchange = Rc::new(Exchange::new(shared, to, &head));
    let client = Client {
        address: exchange.shared.state.peer(),
        ip: exchange.shared.state.peer().ip(),
        arrived,
        secure: exchange.shared.state.is_https(),
        knows_interim: true,
        connection: exchange.clone(),
    };
    let request = |head, body, upgrade| {
        Some(Box::new(Request {
            head,
            body,
            client,
            upgrade,
            id: RequestId::None,
        }))
    };
    if let Some(protocol) = head.extensions.remove::<Protocol>() {
        if !head::translate_connect(&mut head, &protocol) {
            return (exchange, None, None);
        }
        let (slot, upgrade) = Upgrade::pair();
        let request = request(head, RequestBody::empty(), Some(upgrade));
        return (exchange, request, Some(Upgradable { slot, from }));
    }
    head::translate(&mut head);
    let length = content_length(&head.headers);
    let body = Incoming::Http2(StreamBody::new(from, length));
    let body = RequestBody::new(body, &exchange);
    let request = request(head, body, None);
    (exchange, request, None)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

impl Exchange {
    fn new(shared: Rc<Shared>, to: SendResponse<Bytes>, head: &http::request::Parts) -> Self {
        let open = shared.state.watch.open(Kind::Request);
        let expects = head
            .headers
            .get(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self {
            shared,
            to: RefCell::new(to),
            open: RefCell::new(Some(open)),
            to_head: head.method == Method::HEAD,
            expects: Cell::new(expects),
            body_wait: Cell::new(None),
            body_timed_out: Cell::new(false),
            gone: Cell::new(false),
            given_up: Cell::new(None),
        }
    }

    /// The path's response; none if the client did not wait for it.
    async fn answer(
        &self,
        handling: impl Future<Output = Response>,
        clock: &mut Clock,
    ) -> Option<Response> {
        let mut handling = pin!(handling);
        poll_fn(|cx| {
            if self.to.borrow_mut().poll_reset(cx).is_ready() {
                self.gone.set(true);
                return Poll::Ready(None);
            }
            loop {
                if let Poll::Ready(response) = handling.as_mut().poll(cx) {
                    return Poll::Ready(Some(response));
                }
                if clock.poll(self.body_deadline(), cx).is_pending() {
                    return Poll::Pending;
                }
                self.time_out_body();
            }
        })
        .await
    }

    fn body_deadline(&self) -> Option<Instant> {
        let since = self
            .body_wait
            .get()
            .filter(|_| !self.body_timed_out.get())?;
        Some(since + self.shared.state.timeouts.read?)
    }

    /// If it is time: the body's next poll fails with it, and the path answers 408.
    fn time_out_body(&self) {
        if self.body_deadline().is_some_and(|at| at <= Instant::now()) {
            self.body_timed_out.set(true);
        }
    }

    async fn respond<H>(&self, core: &Core<H>, response: Response, clock: &mut Clock) {
        let (mut head, body) = response.into_parts();
        self.settle(core, &mut head);
        let empty = body.is_end_stream();
        if !empty && let Some(length) = body.size_hint().exact() {
            head.headers
                .entry(header::CONTENT_LENGTH)
                .or_insert_with(|| length.into());
        }
        if let Some(to) = self.send_head(head, self.to_head || empty) {
            if self.to_head || empty {
                return self.finish(Piped::Whole);
            }
            let end = self.pipe(Pipe::new(body, to), clock).await;
            self.finish(end);
        }
    }

    /// Sends the body under the clock of what the client takes.
    async fn pipe(&self, mut pipe: Pipe, clock: &mut Clock) -> Piped {
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(end) = pipe.poll(&self.shared, cx) {
                    return Poll::Ready(end);
                }
                let deadline = earliest(self.body_deadline(), self.stalled_at(&pipe));
                if clock.poll(deadline, cx).is_pending() {
                    return Poll::Pending;
                }
                self.time_out_body();
                if self
                    .stalled_at(&pipe)
                    .is_some_and(|at| at <= Instant::now())
                {
                    self.given_up.set(Some(Cause::WriteTimeout));
                    pipe.give_up();
                    return Poll::Ready(Piped::Gone);
                }
            }
        })
        .await
    }

    /// When the client will have made no room for anything for its whole time.
    fn stalled_at(&self, pipe: &Pipe) -> Option<Instant> {
        Some(pipe.stalled_since(&self.shared)? + self.shared.state.timeouts.write?)
    }

    /// The app has switched: the stream belongs to the tunnel.
    fn switch(
        &self,
        response: http::Response<crate::handler::Body>,
        upgradable: Upgradable,
        seat: Seat,
    ) {
        let (mut head, _) = response.into_parts();
        head::translate_switch(&mut head);
        let Some(to) = self.send_head(head, false) else {
            return;
        };
        let tunnel = self.shared.state.watch.open(Kind::Tunnel);
        self.finish(Piped::Whole);
        let Upgradable { slot, from } = upgradable;
        slot.keep(Tunnelled::new(from, to, tunnel, seat));
    }

    /// What the kind of the response means, and what HTTP/2 has no use for (RFC 9113 section 8.2.2).
    fn settle<H>(&self, core: &Core<H>, head: &mut http::response::Parts) {
        if is_event_stream(&head.headers)
            && let Some(open) = &*self.open.borrow()
        {
            open.becomes(Kind::Stream);
        }
        head.headers.remove(header::CONNECTION);
        head.headers
            .entry(header::DATE)
            .or_insert_with(|| core.date.now());
    }

    fn send_head(&self, head: http::response::Parts, ends: bool) -> Option<SendStream<Bytes>> {
        let response = http::Response::from_parts(head, ());
        let mut to = self.to.borrow_mut();
        match to.send_response(response, ends) {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(%error, "response not sent");
                to.send_reset(Reason::INTERNAL_ERROR);
                None
            }
        }
    }

    /// As HTTP/1 logs what is none.
    fn log_refused<H>(&self, core: &Core<H>) {
        if core.log_refused {
            let address = self.shared.state.peer();
            tracing::info!(remote_addr = %address, status = 400, cause = "bad_request", "request refused");
        }
    }

    /// An answer for what never was a request.
    fn refuse(&self, status: StatusCode) {
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        if self.to.borrow_mut().send_response(response, true).is_ok() {
            self.finish(Piped::Whole);
        }
    }

    fn finish(&self, end: Piped) {
        match end {
            Piped::Whole => {
                if let Some(open) = self.open.take() {
                    self.shared.answered(open);
                }
            }
            Piped::Failed => {}
            Piped::Gone => self.gone.set(true),
        }
    }
}

impl Downstream for Exchange {
    fn interim(&self, status: StatusCode, headers: &HeaderMap) {
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers.clone();
        if let Err(error) = self.to.borrow_mut().send_informational(response) {
            tracing::debug!(%error, "interim response not sent");
        }
    }

    fn gone(&self) -> bool {
        self.gone.get() || self.shared.state.ended.get()
    }

    fn given_up(&self) -> Option<Cause> {
        self.given_up.get().or_else(|| self.shared.state.given_up())
    }

    fn body_waits(&self) {
        if self.expects.take() {
            self.interim(StatusCode::CONTINUE, &HeaderMap::new());
        }
        if self.body_wait.get().is_none() {
            self.body_wait.set(Some(Instant::now()));
        }
    }

    fn body_arrived(&self) {
        self.body_wait.set(None);
        self.body_timed_out.set(false);
    }

    fn body_whole(&self) {
        self.body_wait.set(None);
    }

    fn body_timed_out(&self) -> bool {
        self.body_timed_out.get()
    }
}

impl Drop for Exchange {
    /// Broken off: by the client, or by us.
    fn drop(&mut self) {
        if let Some(open) = self.open.take()
            && !self.gone()
        {
            open.cut();
        }
    }
}

//! The end of the path: asks the app.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use http::{HeaderValue, StatusCode, Version, header};
use tokio::task::spawn_local;

use super::{
    AccessLogSettings, App, Settings, accel,
    bad_gateway::{BadGateway, closing, retry_after},
    body_limit::too_large,
    headers::{self, Written},
    health::is_health_check,
    hold::hold,
    pool::Pool,
    queue::Queue,
    request_id, tunnel,
    tunnel_log::TunnelLog,
};
use crate::{
    drain::Watch,
    handler::{
        Body, Cause, Client, Handler, Refusal, Request, RequestBody, Response, Upgrade, answer,
        with_body,
    },
    http1::{Answer, Connection, Exchange, ExchangeError, Head},
    metrics::Recorder,
};

/// How many buffers for heads are kept to be used again.
const SPARE_HEADS: usize = 256;

/// How much later than the app we may be told of a stop, at the most.
const LATER: Duration = Duration::from_millis(100);

/// Sends requests to the app and brings its answers back.
#[derive(Debug)]
pub(super) struct ReverseProxy {
    app: App,
    pool: Rc<Pool>,
    page: BadGateway,
    /// Who waits for a place at the app; none without a limit.
    queue: Option<Queue>,
    watch: Watch,
    forward_headers: bool,
    access_log: Option<AccessLogSettings>,
    /// The fields that say how the app may name a file.
    offer: Vec<u8>,
    connect_timeout: Option<Duration>,
    response_timeout: Option<Duration>,
    boot_hold: Duration,
    health_path: Option<String>,
    spare_heads: RefCell<Vec<Vec<u8>>>,
    recorder: Recorder,
}

/// Why the app did not answer.
#[derive(Debug)]
enum Failure {
    /// There is nobody at its address.
    Refused(io::Error),
    ConnectTimeout,
    ResponseTimeout,
    Closed,
    BadResponse,
    Gone,
    Body(Refusal),
}

impl Failure {
    /// Whether the app is no longer there.
    fn is_away(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Closed | Self::Gone)
    }
}

impl From<ExchangeError<Refusal>> for Failure {
    fn from(error: ExchangeError<Refusal>) -> Self {
        match error {
            ExchangeError::Closed | ExchangeError::Broken(_) => Self::Closed,
            ExchangeError::BadResponse => Self::BadResponse,
            ExchangeError::Timeout => Self::ResponseTimeout,
            ExchangeError::Gone => Self::Gone,
            ExchangeError::Body(refusal) => Self::Body(refusal),
        }
    }
}

impl ReverseProxy {
    pub(super) fn new(
        settings: &Settings,
        app: App,
        queue: Option<Queue>,
        watch: Watch,
        recorder: Recorder,
    ) -> Self {
        Self {
            app,
            pool: Pool::new(settings.idle_timeout, watch.clone()),
            page: BadGateway::new(settings.bad_gateway_page.clone()),
            queue,
            watch,
            forward_headers: settings.forward_headers,
            access_log: settings.access_log.clone(),
            offer: match settings.files.x_sendfile {
                true => accel::offer(&settings.files.accel),
                false => Vec::new(),
            },
            connect_timeout: settings.connect_timeout,
            response_timeout: settings.response_timeout,
            boot_hold: settings.boot_hold_timeout,
            health_path: settings.health_path.clone(),
            spare_heads: RefCell::default(),
            recorder,
        }
    }

    /// Asks once there is a place at the app, which is taken as long as the app has to do with the answer. A tunnel takes
    /// none: its bytes are no work for one of the app's threads, and would keep it for as long as they like.
    async fn answer_in_turn(&self, mut request: Box<Request>, queue: &Queue) -> Response {
        let began = Instant::now();
        let place = queue.place(&request, &self.watch).await;
        self.recorder.queued(began.elapsed());
        let place = match place {
            Ok(place) => place,
            Err(response) => return response,
        };
        let mut response = self.answer(&mut request).await;
        response.body_mut().keep_to_the_apps_end(place);
        response
    }

    async fn answer(&self, request: &mut Request) -> Response {
        match self.ask(request).await {
            Ok(response) => response,
            Err(failure) => {
                if failure.is_away() && !self.app.is_stopping() {
                    // Boxed, as it is rare.
                    Box::pin(self.hear_of_a_stop()).await;
                }
                self.failed(&failure, &request.client)
            }
        }
    }

    /// Waits for a stop that may be on its way to us: an app that is told at the same moment can be the first to act.
    async fn hear_of_a_stop(&self) {
        let began = Instant::now();
        while !self.app.is_stopping() && began.elapsed() < LATER {
            tokio::time::sleep(LATER / 20).await;
        }
    }

    /// An answer if the request is not to wait for an app that boots or is paused, or has waited long enough.
    async fn hold(&self, request: &Request) -> Option<Response> {
        let began = Instant::now();
        let is_health = is_health_check(&request.head, self.health_path.as_deref());
        let response = hold(&self.app, &self.page, self.boot_hold, request, is_health).await;
        self.recorder.queued(began.elapsed());
        response
    }

    /// One request, one answer; a kept-alive connection that turns out to be dead is replaced once by a fresh one, if the
    /// app cannot have seen the request or may see it twice.
    async fn ask(&self, request: &mut Request) -> Result<Response, Failure> {
        let mut head = self.spare_heads.borrow_mut().pop().unwrap_or_default();
        head.clear();
        request_id::ensure(&mut request.id);
        let written = headers::write(request, self.forward_headers, &self.offer, &mut head);
        let mut fresh = false;
        loop {
            let kept = || self.pool.take(request.client.arrived);
            let mut connection = match (!fresh).then(kept).flatten() {
                Some(connection) => connection,
                // Boxed, as it is rare: it would take up room in every request's future.
                None => Box::pin(self.connect()).await?,
            };
            connection.lap = self.recorder.lap();
            let mut exchange = self.exchange(connection, request, head, written);
            let client = &request.client;
            match exchange
                .run(self.response_timeout, |interim| pass_on(interim, client))
                .await
            {
                Ok(answer) => {
                    self.keep(exchange.take_room());
                    let answer = exchange.finish(answer, &self.pool);
                    return Ok(self.respond(answer, request, written));
                }
                Err(ExchangeError::Closed)
                    if exchange.may_be_repeated() && request.head.method.is_idempotent() =>
                {
                    head = exchange.take_head();
                    fresh = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn exchange(
        &self,
        connection: Connection,
        request: &mut Request,
        head: Vec<u8>,
        written: Written,
    ) -> Exchange<RequestBody> {
        let mut body = std::mem::replace(&mut request.body, RequestBody::empty());
        body.limit_trailers(headers::may_trail);
        let body = (!http_body::Body::is_end_stream(&body)).then_some(body);
        let scratch = std::mem::take(&mut request.head.headers);
        let method = request.head.method.clone();
        Exchange::new(
            connection,
            method,
            head,
            body,
            written.chunked,
            scratch,
            self.watch.clone(),
        )
    }

    fn keep(&self, head: Vec<u8>) {
        let mut spare = self.spare_heads.borrow_mut();
        if spare.len() < SPARE_HEADS && (1..=16 * 1024).contains(&head.capacity()) {
            spare.push(head);
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let Some(address) = self.app.address() else {
            return Err(Failure::Gone);
        };
        let connecting = Connection::connect(&address);
        let connected = match self.connect_timeout {
            Some(limit) => tokio::time::timeout(limit, connecting)
                .await
                .map_err(|_| Failure::ConnectTimeout)?,
            None => connecting.await,
        };
        match connected {
            Ok(connection) => {
                self.recorder.upstream_connected();
                Ok(connection)
            }
            Err(error) => {
                self.app.refused();
                Err(Failure::Refused(error))
            }
        }
    }

    fn respond(
        &self,
        answer: Answer<RequestBody>,
        request: &mut Request,
        written: Written,
    ) -> Response {
        match answer {
            Answer::Whole(head, bytes) => response(head, Body::from(bytes)),
            Answer::Streaming(head, mut body) => {
                if headers::is_event_stream(&head.headers) {
                    body.ends_at_the_relay();
                }
                let only_a_close_ends_it = body.length().is_none() && !request.client.knows_interim;
                let mut response = response(head, Body::app(body));
                if only_a_close_ends_it {
                    // An HTTP/1.0 client knows no chunks; hyper would promise it to keep the connection all the same.
                    *response.version_mut() = Version::HTTP_10;
                }
                response
            }
            Answer::Switched(head, connection) => {
                let upgrade = request.upgrade.take().filter(|_| written.upgrades);
                self.switch(head, connection, upgrade, request)
            }
        }
    }

    /// Passes a 101 on, and joins both connections behind it.
    fn switch(
        &self,
        head: Head,
        app: Connection,
        upgrade: Option<Upgrade>,
        request: &Request,
    ) -> Response {
        let token = head.headers.get(header::UPGRADE).cloned();
        let (Some(upgrade), Some(token)) = (upgrade, token) else {
            return self.failed(&Failure::BadResponse, &request.client);
        };
        let log = TunnelLog::new(self.access_log.as_ref(), request);
        let mut response = response(head, Body::empty());
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, token);
        spawn_local(tunnel::join(upgrade, app, self.watch.clone(), log));
        response
    }

    /// The answer when the app gives none.
    fn failed(&self, failure: &Failure, client: &Client) -> Response {
        if client.connection.gone() || matches!(failure, Failure::Body(Refusal::Gone)) {
            return answer(StatusCode::BAD_REQUEST, Cause::ClientGone, "");
        }
        if let Failure::Refused(error) = failure {
            tracing::debug!(%error, "the app refused a connection");
        }
        if failure.is_away() {
            self.app.fails();
        }
        if failure.is_away() && self.app.is_stopping() {
            let gone = answer(
                StatusCode::SERVICE_UNAVAILABLE,
                Cause::Draining,
                "This server is stopping. Try again.\n",
            );
            return closing(retry_after(gone));
        }
        let bad_gateway = |cause, text| self.page.answer(cause, text);
        match failure {
            Failure::Refused(_) => bad_gateway(
                Cause::UpstreamRefused,
                "The app does not accept connections.\n",
            ),
            Failure::Closed => bad_gateway(
                Cause::UpstreamClosed,
                "The app closed the connection without an answer.\n",
            ),
            Failure::BadResponse => bad_gateway(
                Cause::UpstreamBadResponse,
                "The app's answer is not HTTP.\n",
            ),
            Failure::Gone => bad_gateway(Cause::UpstreamGone, "The app has exited.\n"),
            Failure::ConnectTimeout | Failure::ResponseTimeout => answer(
                StatusCode::GATEWAY_TIMEOUT,
                Cause::UpstreamTimeout,
                "The app did not answer in time.\n",
            ),
            Failure::Body(Refusal::TooLarge) => too_large(),
            Failure::Body(Refusal::TimedOut) => closing(answer(
                StatusCode::REQUEST_TIMEOUT,
                Cause::BodyTimeout,
                "nothing more of the request's body arrived in time\n",
            )),
            Failure::Body(Refusal::Broken | Refusal::Gone) => closing(answer(
                StatusCode::BAD_REQUEST,
                Cause::BadRequest,
                "the request's body is malformed\n",
            )),
        }
    }
}

impl Handler for ReverseProxy {
    async fn handle(&self, mut request: Box<Request>) -> Response {
        if self.app.holds()
            && let Some(response) = Box::pin(self.hold(&request)).await
        {
            return response;
        }
        match &self.queue {
            Some(queue) => Box::pin(self.answer_in_turn(request, queue)).await,
            None => self.answer(&mut request).await,
        }
    }
}

fn response(head: Head, body: Body) -> Response {
    let mut response = with_body(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    headers::strip_answer(response.headers_mut());
    response
}

/// Interim responses go on to clients that know them (RFC 9110 section 15.2); a 100 is between the client and us.
fn pass_on(interim: &Head, client: &Client) {
    if interim.status != StatusCode::CONTINUE && client.knows_interim {
        let mut headers = interim.headers.clone();
        headers::strip_answer(&mut headers);
        client.connection.interim(interim.status, &headers);
    }
}

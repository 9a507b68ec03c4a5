//! The access log: one line a request, in Thruster's words or in Apache's, written when the response's last byte was taken.
//!
//! What is known at the start is formatted at once into a buffer of the entry's own, so that an entry keeps nothing of
//! the request alive; entries and their buffers are used again.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use tokio::task::spawn_local;

use super::{AccessLogSettings, request_id};
use crate::{
    handler::{
        BodyError, Cause, ClosedBy, Downstream, End, Ended, Handler, Refusal, Request, Response,
    },
    http1::BodyError as Error,
    journal::{Line, Shape, Stdout, Timestamp, escape},
};

/// A core's lines are handed over once they are this long together, in bytes,
const FULL: usize = 16 * 1024;

/// or this old.
const STALE: Duration = Duration::from_millis(100);

/// How many entries are kept to be used again.
const SPARE: usize = 256;

/// The status of a request whose client did not wait; nginx's word for it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The status of a request that we gave up before there was any.
const NO_ANSWER: u16 = 0;

/// `LOG_FORMAT`: how a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// With Thruster's fields, as JSON.
    Json,
    /// With Thruster's fields, as logfmt.
    Logfmt,
    /// Apache's combined log format.
    Combined,
}

impl LogFormat {
    /// How all other lines are written.
    pub fn shape(self) -> Shape {
        match self {
            Self::Json => Shape::Json,
            Self::Logfmt | Self::Combined => Shape::Logfmt,
        }
    }
}

/// Logs each request; without a journal it costs nothing.
#[derive(Debug)]
pub(super) struct AccessLog<H> {
    journal: Option<Rc<Journal>>,
    forward_headers: bool,
    next: H,
}

impl AccessLogSettings {
    /// Whether there is to be a line about `request`.
    pub(super) fn wants(&self, request: &Request) -> bool {
        let path = request.head.uri.path();
        !self.skip.iter().any(|skipped| skipped == path)
    }
}

/// The lines of one core on their way to stdout.
#[derive(Debug)]
struct Journal {
    settings: AccessLogSettings,
    stdout: Stdout,
    lines: RefCell<Vec<u8>>,
    timestamp: RefCell<Timestamp>,
    #[expect(
        clippy::vec_box,
        reason = "an entry leaves as a box and comes back as one"
    )]
    spare: RefCell<Vec<Box<Entry>>>,
    flushing: Cell<bool>,
}

/// A request that will be logged when it ends, in whatever way.
#[derive(Debug)]
struct Entry {
    /// Where it is written; none once it was, or while it waits to be used again.
    journal: Option<Rc<Journal>>,
    began: Instant,
    /// What comes from the request.
    asked: Vec<u8>,
    /// Where in it, in Apache's format, the host ends and the time belongs,
    host_ends: usize,
    /// and where the request line ends and the status belongs.
    line_ends: usize,
    status: u16,
    content_type: Option<HeaderValue>,
    cache: Option<HeaderValue>,
    cause: Option<Cause>,
    closed_by: Option<ClosedBy>,
    /// The client's, which knows whether it was us who gave it up.
    connection: Option<Rc<dyn Downstream>>,
    /// Whether it asked for a head alone: the body of its answer is not taken, and that is no loss.
    to_head: bool,
}

impl<H> AccessLog<H> {
    /// `log` is none when requests are not logged.
    pub(super) fn new(
        log: Option<(&AccessLogSettings, Stdout)>,
        forward_headers: bool,
        next: H,
    ) -> Self {
        Self {
            journal: log.map(|(settings, stdout)| Journal::new(settings, stdout)),
            forward_headers,
            next,
        }
    }
}

impl<H: Handler> Handler for AccessLog<H> {
    async fn handle(&self, mut request: Box<Request>) -> Response {
        let journal = self.journal.as_ref();
        let Some(journal) = journal.filter(|journal| journal.settings.wants(&request)) else {
            return self.next.handle(request).await;
        };
        request_id::ensure(&mut request.id);
        let mut entry = journal.begin(&request, self.forward_headers);
        let mut response = self.next.handle(request).await;
        entry.answered(&response);
        response.body_mut().on_end(entry);
        response
    }
}

impl Journal {
    fn new(settings: &AccessLogSettings, stdout: Stdout) -> Rc<Self> {
        Rc::new(Self {
            settings: settings.clone(),
            stdout,
            lines: RefCell::default(),
            timestamp: RefCell::default(),
            spare: RefCell::default(),
            flushing: Cell::new(false),
        })
    }

    fn begin(self: &Rc<Self>, request: &Request, forward_headers: bool) -> Box<Entry> {
        let spare = self.spare.borrow_mut().pop();
        let mut entry = spare.unwrap_or_else(|| Box::new(Entry::new()));
        entry.journal = Some(self.clone());
        entry.begin(request);
        let format = self.settings.format;
        match format {
            LogFormat::Combined => entry.asked_as_apache(request, forward_headers),
            LogFormat::Json | LogFormat::Logfmt => {
                entry.asked(request, forward_headers, format.shape());
            }
        }
        entry
    }

    fn write(self: &Rc<Self>, entry: &Entry, sent: u64, now: Instant) {
        let mut lines = self.lines.borrow_mut();
        let mut timestamp = self.timestamp.borrow_mut();
        let time = timestamp.of(SystemTime::now());
        let format = self.settings.format;
        match format {
            LogFormat::Json | LogFormat::Logfmt => {
                let took = now.saturating_duration_since(entry.began);
                entry.write(&mut lines, format.shape(), time, sent, took);
            }
            LogFormat::Combined => entry.write_as_apache(&mut lines, &timestamp.common(), sent),
        }
        if lines.len() >= FULL {
            self.stdout.send(std::mem::replace(
                &mut lines,
                Vec::with_capacity(FULL + 1024),
            ));
        } else if !self.flushing.replace(true) {
            let journal = self.clone();
            spawn_local(async move {
                tokio::time::sleep(STALE).await;
                journal.flushing.set(false);
                journal.flush();
            });
        }
    }

    fn flush(&self) {
        let lines = self.lines.take();
        if !lines.is_empty() {
            self.stdout.send(lines);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Entry {
    fn new() -> Self {
        Self {
            journal: None,
            began: Instant::now(),
            asked: Vec::with_capacity(512),
            host_ends: 0,
            line_ends: 0,
            status: CLIENT_CLOSED_REQUEST,
            content_type: None,
            cache: None,
            cause: None,
            closed_by: None,
            connection: None,
            to_head: false,
        }
    }

    fn begin(&mut self, request: &Request) {
        self.began = request.client.arrived;
        self.client_gone();
        self.connection = Some(request.client.connection.clone());
        self.asked.clear();
        self.host_ends = 0;
        self.to_head = request.head.method == Method::HEAD;
    }

    fn asked(&mut self, request: &Request, forward_headers: bool, shape: Shape) {
        let head = &request.head;
        let field = |name| field(&head.headers, name);
        let mut line = Line::resume(&mut self.asked, shape);
        line.text("path", head.uri.path().as_bytes());
        line.text("method", head.method.as_str().as_bytes());
        match content_length(&head.headers) {
            Some(length) => line.integer("req_content_length", length),
            None if head.headers.contains_key(header::TRANSFER_ENCODING) => {
                line.plain("req_content_length", -1);
            }
            None => line.integer("req_content_length", 0),
        }
        line.text("req_content_type", field(header::CONTENT_TYPE));
        let client = &request.client;
        match field(super::headers::X_FORWARDED_FOR) {
            _ if client.is_vouched_for() => line.quoted("remote_addr", client.ip),
            forwarded if forward_headers && !forwarded.is_empty() => {
                line.text("remote_addr", forwarded);
            }
            _ => line.quoted("remote_addr", client.address),
        }
        line.text("user_agent", field(header::USER_AGENT));
        line.text("query", head.uri.query().unwrap_or("").as_bytes());
        line.text("proto", proto(head.version));
        line.text("request_id", request.id.as_bytes());
    }

    /// `HOST - - `, where the time goes then, `"METHOD TARGET PROTO"`, and behind the status `"REFERER" "USER AGENT"`.
    fn asked_as_apache(&mut self, request: &Request, forward_headers: bool) {
        let (head, client) = (&request.head, &request.client);
        let field = |name| field(&head.headers, name);
        match field(super::headers::X_FORWARDED_FOR) {
            forwarded if forward_headers && !forwarded.is_empty() && !client.is_vouched_for() => {
                // Who came first; the others are proxies.
                let first = forwarded.split(|byte| *byte == b',').next();
                let first = first.unwrap_or_default().trim_ascii();
                let host = first.split(u8::is_ascii_whitespace).next();
                escape(&mut self.asked, host.unwrap_or_default());
            }
            _ => self
                .asked
                .extend_from_slice(client.ip.to_string().as_bytes()),
        }
        self.host_ends = self.asked.len();
        self.asked.extend_from_slice(b"\"");
        escape(&mut self.asked, head.method.as_str().as_bytes());
        self.asked.push(b' ');
        let target = head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        escape(&mut self.asked, target.as_bytes());
        self.asked.push(b' ');
        self.asked.extend_from_slice(proto(head.version));
        self.asked.push(b'"');
        self.line_ends = self.asked.len();
        for name in [header::REFERER, header::USER_AGENT] {
            self.asked.extend_from_slice(b" \"");
            match field(name) {
                b"" => self.asked.push(b'-'),
                value => escape(&mut self.asked, value),
            }
            self.asked.push(b'"');
        }
    }

    fn write_as_apache(&self, lines: &mut Vec<u8>, time: &[u8], sent: u64) {
        let (host, rest) = self.asked.split_at(self.host_ends);
        let (line, end) = rest.split_at(self.line_ends - self.host_ends);
        let sent = match sent {
            0 => "-".to_owned(),
            sent => sent.to_string(),
        };
        let answer = format!(" {:03} {sent}", self.status);
        for part in [
            host,
            b" - - [",
            time,
            b"] ",
            line,
            answer.as_bytes(),
            end,
            b"\n",
        ] {
            lines.extend_from_slice(part);
        }
    }

    fn answered(&mut self, response: &Response) {
        self.status = response.status().as_u16();
        self.content_type = response.headers().get(header::CONTENT_TYPE).cloned();
        self.cache = response.headers().get("x-cache").cloned();
        self.cause = response.extensions().get::<Cause>().copied();
        self.closed_by = self.cause.and_then(Cause::closed_by);
        if self.cause == Some(Cause::ClientGone) {
            self.client_gone();
        }
    }

    /// Whatever its head said: nobody got the answer.
    fn client_gone(&mut self) {
        self.status = CLIENT_CLOSED_REQUEST;
        self.cause = Some(Cause::ClientGone);
        self.closed_by = Some(ClosedBy::Client);
    }

    /// The response was not taken to its end: by the client, unless it was us who gave it up.
    fn broken_off(&mut self) {
        let given_up = self.connection.as_ref().and_then(|it| it.given_up());
        match given_up {
            None => self.client_gone(),
            Some(cause) => self.ended_by(cause, ClosedBy::Thrust),
        }
    }

    fn ended_by(&mut self, cause: Cause, who: ClosedBy) {
        self.cause = Some(cause);
        self.closed_by = Some(who);
    }

    fn write(&self, lines: &mut Vec<u8>, shape: Shape, time: &[u8], sent: u64, took: Duration) {
        let text =
            |value: &Option<HeaderValue>| value.clone().unwrap_or(HeaderValue::from_static(""));
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut line = Line::begin(lines, shape, time, "INFO", "Request");
        line.integer("status", u64::from(self.status));
        line.integer("dur", took);
        line.raw(&self.asked);
        line.integer("resp_content_length", sent);
        line.text("resp_content_type", text(&self.content_type).as_bytes());
        line.text("cache", text(&self.cache).as_bytes());
        line.text("cause", self.cause.map_or("", Cause::as_str).as_bytes());
        let closed_by = self.closed_by.map_or("", ClosedBy::as_str);
        line.text("closed_by", closed_by.as_bytes());
        line.end();
    }
}

impl Ended for Entry {
    fn ended(mut self: Box<Self>, sent: u64, end: End, now: Instant) {
        match end {
            End::Whole => {}
            End::Dropped if self.to_head => {}
            End::Dropped => self.broken_off(),
            End::Failed(BodyError::App(Error::Request(Refusal::Gone))) => self.client_gone(),
            End::Failed(error) => {
                let cause = cause(error);
                // What was begun and not ended was ended by somebody.
                self.ended_by(cause, cause.closed_by().unwrap_or(ClosedBy::Thrust));
            }
        }
        let Some(journal) = self.journal.take() else {
            return;
        };
        journal.write(&self, sent, now);
        let mut spare = journal.spare.borrow_mut();
        if spare.len() < SPARE {
            self.content_type = None;
            self.cache = None;
            self.connection = None;
            spare.push(self);
        }
    }
}

impl Drop for Entry {
    /// There was no answer, and now nobody waits for one.
    fn drop(&mut self) {
        if let Some(journal) = self.journal.take() {
            let given_up = self.connection.as_ref().and_then(|it| it.given_up());
            if let Some(cause) = given_up {
                self.status = NO_ANSWER;
                self.ended_by(cause, ClosedBy::Thrust);
            }
            journal.write(self, 0, Instant::now());
        }
    }
}

/// What to call a body that failed.
pub(super) fn cause(error: BodyError) -> Cause {
    match error {
        BodyError::File => Cause::FileFailed,
        BodyError::App(Error::Truncated) => Cause::UpstreamClosed,
        BodyError::App(Error::Gone) => Cause::UpstreamGone,
        BodyError::App(Error::Request(refusal)) => match refusal {
            Refusal::TooLarge => Cause::BodyTooLarge,
            Refusal::TimedOut => Cause::BodyTimeout,
            Refusal::Broken => Cause::BadRequest,
            Refusal::Gone => Cause::ClientGone,
        },
    }
}

fn field(headers: &HeaderMap, name: HeaderName) -> &[u8] {
    headers.get(name).map_or(&b""[..], HeaderValue::as_bytes)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn proto(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        _ => b"HTTP/1.1",
    }
}

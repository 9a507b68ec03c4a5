//! The access log: one line a request, in Thruster's words, written when the response's last byte was taken.
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

use crate::{
    handler::{BodyError, Cause, End, Ended, Handler, Refusal, Request, Response},
    http1::BodyError as Error,
    journal::{Line, Stdout, Timestamp},
};

/// A core's lines are handed over once they are this long together, in bytes,
const FULL: usize = 16 * 1024;

/// or this old.
const STALE: Duration = Duration::from_millis(100);

/// How many entries are kept to be used again.
const SPARE: usize = 256;

/// The status of a request whose client did not wait; nginx's word for it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Logs each request; without a journal it costs nothing.
#[derive(Debug)]
pub(super) struct AccessLog<H> {
    journal: Option<Rc<Journal>>,
    forward_headers: bool,
    next: H,
}

/// The lines of one core on their way to stdout.
#[derive(Debug)]
struct Journal {
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
    /// The fields that come from the request.
    asked: Vec<u8>,
    status: u16,
    content_type: Option<HeaderValue>,
    cache: Option<HeaderValue>,
    cause: Option<Cause>,
    /// Whether it asked for a head alone: the body of its answer is not taken, and that is no loss.
    to_head: bool,
}

impl<H> AccessLog<H> {
    /// `stdout` is none when requests are not logged.
    pub(super) fn new(stdout: Option<Stdout>, forward_headers: bool, next: H) -> Self {
        Self {
            journal: stdout.map(Journal::new),
            forward_headers,
            next,
        }
    }
}

impl<H: Handler> Handler for AccessLog<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        let Some(journal) = &self.journal else {
            return self.next.handle(request).await;
        };
        let mut entry = journal.begin(&request, self.forward_headers);
        let mut response = self.next.handle(request).await;
        entry.answered(&response);
        response.body_mut().on_end(entry);
        response
    }
}

impl Journal {
    fn new(stdout: Stdout) -> Rc<Self> {
        Rc::new(Self {
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
        entry.asked(request, forward_headers);
        entry
    }

    fn write(self: &Rc<Self>, entry: &Entry, sent: u64) {
        let mut lines = self.lines.borrow_mut();
        entry.write(
            &mut lines,
            self.timestamp.borrow_mut().of(SystemTime::now()),
            sent,
        );
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
            status: CLIENT_CLOSED_REQUEST,
            content_type: None,
            cache: None,
            cause: None,
            to_head: false,
        }
    }

    fn asked(&mut self, request: &Request, forward_headers: bool) {
        self.began = request.client.arrived;
        self.client_gone();
        self.asked.clear();
        let head = &request.head;
        self.to_head = head.method == Method::HEAD;
        let field = |name: HeaderName| {
            head.headers
                .get(name)
                .map_or(&b""[..], HeaderValue::as_bytes)
        };
        let mut line = Line::resume(&mut self.asked);
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
        match field(super::headers::X_FORWARDED_FOR) {
            forwarded if forward_headers && !forwarded.is_empty() => {
                line.text("remote_addr", forwarded);
            }
            _ => line.quoted("remote_addr", request.client.address),
        }
        line.text("user_agent", field(header::USER_AGENT));
        line.text("query", head.uri.query().unwrap_or("").as_bytes());
        line.text("proto", proto(head.version));
        line.text("request_id", request.id.as_bytes());
    }

    fn answered(&mut self, response: &Response) {
        self.status = response.status().as_u16();
        self.content_type = response.headers().get(header::CONTENT_TYPE).cloned();
        self.cache = response.headers().get("x-cache").cloned();
        self.cause = response.extensions().get::<Cause>().copied();
        if self.cause == Some(Cause::ClientGone) {
            self.client_gone();
        }
    }

    /// Whatever its head said: nobody got the answer.
    fn client_gone(&mut self) {
        self.status = CLIENT_CLOSED_REQUEST;
        self.cause = Some(Cause::ClientGone);
    }

    fn write(&self, lines: &mut Vec<u8>, time: &[u8], sent: u64) {
        let text =
            |value: &Option<HeaderValue>| value.clone().unwrap_or(HeaderValue::from_static(""));
        let took = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut line = Line::begin(lines, time, "INFO", "Request");
        line.integer("status", u64::from(self.status));
        line.integer("dur", took);
        line.raw(&self.asked);
        line.integer("resp_content_length", sent);
        line.text("resp_content_type", text(&self.content_type).as_bytes());
        line.text("cache", text(&self.cache).as_bytes());
        line.text("cause", self.cause.map_or("", Cause::as_str).as_bytes());
        line.end();
    }
}

impl Ended for Entry {
    fn ended(mut self: Box<Self>, sent: u64, end: End) {
        match end {
            End::Whole => {}
            End::Dropped if self.to_head => {}
            End::Dropped | End::Failed(BodyError::App(Error::Request(Refusal::Gone))) => {
                self.client_gone();
            }
            End::Failed(error) => self.cause = Some(cause(error)),
        }
        let Some(journal) = self.journal.take() else {
            return;
        };
        journal.write(&self, sent);
        let mut spare = journal.spare.borrow_mut();
        if spare.len() < SPARE {
            self.content_type = None;
            self.cache = None;
            spare.push(self);
        }
    }
}

impl Drop for Entry {
    /// The client left before there was an answer.
    fn drop(&mut self) {
        if let Some(journal) = self.journal.take() {
            journal.write(self, 0);
        }
    }
}

fn cause(error: BodyError) -> Cause {
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

//! Counting: each request once, when its response ends, however that is.
//!
//! The outermost layer. Entries are used again, so that to count costs no allocation.

use std::{cell::RefCell, rc::Rc, time::Instant};

use http::Method;

use super::{access_log::cause, headers};
use crate::{
    handler::{BodyError, Cause, Downstream, End, Ended, Handler, Refusal, Request, Response},
    http1::BodyError as Error,
    metrics::{CacheResult, Class, Recorder},
};

/// How many entries are kept to be used again.
const SPARE: usize = 256;

/// The status of a request whose client did not wait, as the log has it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Counts requests; where nothing is counted it costs nothing.
#[derive(Debug)]
pub(super) struct Measure<H> {
    book: Option<Rc<Book>>,
    next: H,
}

/// What the entries of one core share.
#[derive(Debug)]
struct Book {
    recorder: Recorder,
    /// Whether `X-Cache` is ours.
    has_cache: bool,
    #[expect(
        clippy::vec_box,
        reason = "an entry leaves as a box and comes back as one"
    )]
    spare: RefCell<Vec<Box<Entry>>>,
}

/// A request that will be counted when it ends.
#[derive(Debug)]
struct Entry {
    /// Where it is counted; none once it was, or while it waits to be used again.
    book: Option<Rc<Book>>,
    arrived: Instant,
    head: Head,
    status: u16,
    cache: CacheResult,
    cause: Option<Cause>,
    /// Whether its end says nothing of how long an answer takes: an event stream lasts as long as somebody listens.
    endless: bool,
    /// Whether it asked for a head alone.
    to_head: bool,
    /// Who knows whether it was us who gave it up.
    connection: Option<Rc<dyn Downstream>>,
}

/// When the head of a response was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Never,
    /// Together with its body, so when that is taken: which is at once.
    WithItsBody,
    At(Instant),
}

impl<H> Measure<H> {
    /// `has_cache` says that a cache is inside of `next`.
    pub(super) fn new(recorder: Recorder, has_cache: bool, next: H) -> Self {
        let book = |recorder| {
            Rc::new(Book {
                recorder,
                has_cache,
                spare: RefCell::default(),
            })
        };
        let recorder = Some(recorder).filter(Recorder::is_on);
        Self {
            book: recorder.map(book),
            next,
        }
    }
}

impl<H: Handler> Handler for Measure<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        let Some(book) = &self.book else {
            return self.next.handle(request).await;
        };
        let mut entry = book.begin(&request);
        let mut response = self.next.handle(request).await;
        entry.answered(&response);
        response.body_mut().on_end(entry);
        response
    }
}

impl Book {
    fn begin(self: &Rc<Self>, request: &Request) -> Box<Entry> {
        let spare = self.spare.borrow_mut().pop();
        let mut entry = spare.unwrap_or_else(|| Box::new(Entry::new(request.client.arrived)));
        entry.book = Some(self.clone());
        entry.arrived = request.client.arrived;
        entry.head = Head::Never;
        entry.cache = CacheResult::None;
        entry.endless = false;
        entry.to_head = request.head.method == Method::HEAD;
        entry.connection = Some(request.client.connection.clone());
        entry.client_gone();
        entry
    }

    fn count(&self, entry: &Entry, now: Instant) {
        let recorder = &self.recorder;
        recorder.request(Class::of(entry.status), entry.cache);
        if let Some(cause) = entry.cause {
            recorder.failed(cause as usize);
        }
        let since_arrival = |at: Instant| at.saturating_duration_since(entry.arrived);
        match entry.head {
            Head::Never => {}
            Head::WithItsBody => recorder.first_byte_took(since_arrival(now)),
            Head::At(at) => recorder.first_byte_took(since_arrival(at)),
        }
        if !entry.endless {
            recorder.request_took(since_arrival(now));
        }
    }
}

impl Entry {
    fn new(arrived: Instant) -> Self {
        Self {
            book: None,
            arrived,
            head: Head::Never,
            status: CLIENT_CLOSED_REQUEST,
            cache: CacheResult::None,
            cause: None,
            endless: false,
            to_head: false,
            connection: None,
        }
    }

    fn answered(&mut self, response: &Response) {
        let headers = response.headers();
        self.status = response.status().as_u16();
        self.cause = response.extensions().get::<Cause>().copied();
        if self.book.as_ref().is_some_and(|book| book.has_cache) {
            let word = headers
                .get("x-cache")
                .map_or(&b""[..], |word| word.as_bytes());
            self.cache = CacheResult::named(word);
        }
        if response.body().is_whole() {
            self.head = Head::WithItsBody;
        } else {
            self.head = Head::At(Instant::now());
            self.endless = headers::is_event_stream(headers);
        }
        if self.cause == Some(Cause::ClientGone) {
            self.client_gone();
        }
    }

    /// Nobody got the answer.
    fn client_gone(&mut self) {
        self.status = CLIENT_CLOSED_REQUEST;
        self.cause = Some(Cause::ClientGone);
    }

    /// The response was not taken to its end: by the client, unless it was us who gave it up.
    fn broken_off(&mut self) {
        let given_up = self.connection.as_ref().and_then(|it| it.given_up());
        match given_up {
            None => self.client_gone(),
            given_up => self.cause = given_up,
        }
    }
}

impl Ended for Entry {
    fn ended(mut self: Box<Self>, _: u64, end: End, now: Instant) {
        match end {
            End::Whole => {}
            End::Dropped if self.to_head || self.endless => {}
            End::Dropped | End::Failed(BodyError::App(Error::Request(Refusal::Gone))) => {
                self.broken_off();
            }
            End::Failed(error) => self.cause = Some(cause(error)),
        }
        let Some(book) = self.book.take() else {
            return;
        };
        book.count(&self, now);
        self.connection = None;
        let mut spare = book.spare.borrow_mut();
        if spare.len() < SPARE {
            spare.push(self);
        }
    }
}

impl Drop for Entry {
    /// There was no answer, and now nobody waits for one.
    fn drop(&mut self) {
        if let Some(book) = self.book.take() {
            self.broken_off();
            book.count(self, Instant::now());
        }
    }
}

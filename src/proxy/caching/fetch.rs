//! To the app and back: what its answers mean for the store.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    answer::answer_to,
    errand::Errand,
    fill::Fill,
    label::{Fate, Labels, Use, Why},
    validation,
};
use crate::{
    cache::{
        CDN_CACHE_CONTROL, Cache, Control, Landing, Place, Stored, Terms, Times, Unstorable, has,
        judge, serves_error, serves_outage,
    },
    drain::Watch,
    handler::{Cause, Handler, Request, Response},
    proxy::{App, headers::is_event_stream},
};

/// How many errands are kept to be used again.
const SPARE: usize = 256;

/// Asks the app for what is not stored, and stores what it may.
#[derive(Debug)]
pub(super) struct Fetch<H> {
    pub(super) cache: Cache,
    pub(super) app: App,
    pub(super) watch: Watch,
    pub(super) labels: Labels,
    #[expect(
        clippy::vec_box,
        reason = "an errand leaves as a box and comes back as one"
    )]
    spare: RefCell<Vec<Box<Errand>>>,
    pub(super) next: H,
}

impl<H> Fetch<H> {
    pub(super) fn new(cache: Cache, app: App, watch: Watch, next: H) -> Self {
        Self {
            cache,
            app,
            watch,
            labels: Labels::new(),
            spare: RefCell::default(),
            next,
        }
    }

    pub(super) fn errand(&self) -> Box<Errand> {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| Box::new(Errand::new()))
    }

    pub(super) fn done(&self, mut errand: Box<Errand>) {
        errand.clear();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE {
            spare.push(errand);
        }
    }

    /// Labels the app's answer, and stores it where it may be.
    pub(super) fn settle(&self, mut response: Response, errand: &mut Errand) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        let failed = response.extensions().get::<Cause>().is_some();
        let fate = if failed {
            Fate::Unsaid
        } else if !errand.fills() {
            Fate::Left(Unstorable::Method)
        } else {
            self.store(&mut response, errand)
        };
        if !failed && !response.status().is_server_error() && errand.stored.is_some() {
            self.supersede(fate, errand);
        }
        let headers = response.headers_mut();
        strip_targeted(headers);
        self.labels.forwarded(headers, errand.why, fate);
        response
    }

    /// What was stored is not what the app has any more, unless this answer is about something else.
    fn supersede(&self, fate: Fate, errand: &Errand) {
        let about_this_request = [Unstorable::Method, Unstorable::RequestNoStore].map(Fate::Left);
        if fate != Fate::Stored && !about_this_request.contains(&fate) {
            self.cache.forget(&errand.keys);
        }
    }

    fn store(&self, response: &mut Response, errand: &mut Errand) -> Fate {
        let judged = self.judge(response, errand).and_then(|(control, terms)| {
            let request = errand.headers.as_ref();
            let place = self.cache.place(&errand.keys, request, response.headers());
            place.map(|place| (control, terms, place))
        });
        match judged {
            Ok((control, terms, place)) => {
                self.cache.learn(&errand.keys, terms.may_be_shared());
                self.fill(response, &control, terms, place, errand);
                Fate::Stored
            }
            Err(Unstorable::Unprepared) => {
                self.cache.learn(&errand.keys, true);
                Fate::Left(Unstorable::Unprepared)
            }
            Err(reason) => {
                if tells_of_others(reason, response.status()) {
                    self.cache.learn(&errand.keys, false);
                }
                Fate::Left(reason)
            }
        }
    }

    fn judge(&self, response: &Response, errand: &Errand) -> Result<(Control, Terms), Unstorable> {
        let headers = response.headers();
        let times = || times(errand.began);
        let settings = self.cache.settings();
        let judged = judge(
            settings,
            &errand.question,
            response.status(),
            headers,
            times,
        )?;
        if !response.body().is_framed() {
            return Err(Unstorable::Unframed);
        }
        if is_event_stream(headers) {
            return Err(Unstorable::Stream);
        }
        match length(response) {
            Some(length) if !self.cache.takes(length) => Err(Unstorable::TooLarge),
            _ => Ok(judged),
        }
    }

    /// Stores the body at once if it is here, or else as it passes by.
    fn fill(
        &self,
        response: &mut Response,
        control: &Control,
        terms: Terms,
        place: Place,
        errand: &mut Errand,
    ) {
        let old = errand.lead.take();
        let lead = match old {
            Some(lead) if lead.leads_to(&place) => Some(lead),
            // Who followed to the URI finds this one before he is let go.
            old => {
                let shared = terms.may_be_shared();
                let lead = shared.then(|| self.cache.lead_to(&place)).flatten();
                drop(old);
                lead
            }
        };
        let fill = Fill {
            cache: self.cache.clone(),
            place,
            status: response.status(),
            headers: kept(response.headers(), control),
            terms,
            lead,
            watch: self.watch.clone(),
        };
        match response.body().whole() {
            Some(body) => drop(fill.put(bytes::Bytes::copy_from_slice(&body))),
            None => {
                let length = length(response);
                fill.watch(response.body_mut(), length);
            }
        }
    }

    /// A stored response in the place of an answer that was not to be had, if it may be.
    pub(super) fn in_place_of(&self, failed: &Response, errand: &mut Errand) -> Option<Response> {
        let stored = errand.stored.clone()?;
        let now = Instant::now();
        let serves = match failed.extensions().get::<Cause>() {
            Some(cause) => cause.is_outage() && serves_outage(&stored.terms, now),
            None => {
                matches!(failed.status().as_u16(), 500 | 502..=504)
                    && serves_error(&stored.terms, &errand.asked, now)
            }
        };
        serves.then(|| {
            if let Some(lead) = errand.lead.take() {
                lead.land(Landing::Failed);
            }
            self.used(&stored, Use::Stale(errand.why), errand)
        })
    }

    /// A stored response as the answer to an errand.
    pub(super) fn used(&self, stored: &Arc<Stored>, how: Use, errand: &Errand) -> Response {
        let none = HeaderMap::new();
        let request = errand.headers.as_ref().unwrap_or(&none);
        let headers = stored.headers(HeaderMap::new());
        let mut response = answer_to(stored, &errand.method, request, headers);
        super::mark(&mut response, stored);
        let now = Instant::now();
        self.labels.used(response.headers_mut(), stored, how, now);
        response
    }

    /// What is stored still holds: it answers, and is fresh again (RFC 9111 section 4.3.4).
    pub(super) fn confirmed(
        &self,
        response: &Response,
        stored: &Stored,
        errand: &mut Errand,
    ) -> Response {
        let headers = validation::refreshed(stored, response.headers());
        let (settings, question) = (self.cache.settings(), &errand.question);
        let judged = judge(settings, question, stored.status, &headers, || {
            times(errand.began)
        });
        let stored = match judged {
            Ok((control, terms)) => {
                let headers = kept(&headers, &control);
                let body = stored.body.clone();
                let fresh = Stored::new(stored.content, stored.status, &headers, body, terms);
                let fresh = Arc::new(fresh);
                self.cache.put(&self.cache.place_of(&errand.keys), &fresh);
                if let Some(lead) = errand.lead.take() {
                    lead.land(Landing::Stored);
                }
                fresh
            }
            Err(reason) => {
                if reason != Unstorable::RequestNoStore {
                    self.cache.forget(&errand.keys);
                }
                let body = stored.body.clone();
                Arc::new(Stored::new(
                    stored.content,
                    stored.status,
                    &headers,
                    body,
                    stored.terms,
                ))
            }
        };
        let mut answer = self.used(&stored, Use::Revalidated(errand.why), errand);
        // It was sent to this client, and to nobody else.
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            answer
                .headers_mut()
                .append(header::SET_COOKIE, cookie.clone());
        }
        answer
    }
}

impl<H: Handler> Fetch<H> {
    /// Asks the app; what is stored, if anything, is not in the way.
    pub(super) async fn ask(&self, request: Box<Request>, errand: &mut Errand) -> Response {
        let response = self.next.handle(request).await;
        self.settle(response, errand)
    }
}

/// What was for us alone goes no further (RFC 9213 section 2).
pub(super) fn strip_targeted(headers: &mut HeaderMap) {
    if has(headers, &CDN_CACHE_CONTROL) {
        headers.remove(CDN_CACHE_CONTROL);
    }
}

fn times(asked: Instant) -> Times {
    Times {
        asked,
        answered: Instant::now(),
        date: SystemTime::now(),
    }
}

/// Whether the reason lies in the resource, so that the next request for it will meet with it too.
fn tells_of_others(reason: Unstorable, status: StatusCode) -> bool {
    status != StatusCode::NOT_MODIFIED
        && !status.is_server_error()
        && !matches!(
            reason,
            Unstorable::Method
                | Unstorable::RequestNoStore
                | Unstorable::Range
                | Unstorable::Authorization
        )
}

/// The headers that are stored: dated, and without what is not to be.
fn kept(headers: &HeaderMap, control: &Control) -> HeaderMap {
    let mut kept = headers.clone();
    for name in &control.left_out {
        kept.remove(name);
    }
    // The trailers are not stored.
    kept.remove(header::TRAILER);
    if !kept.contains_key(header::DATE) {
        let now = httpdate::fmt_http_date(SystemTime::now());
        let now = HeaderValue::from_maybe_shared(bytes::Bytes::from(now));
        kept.extend(now.ok().map(|now| (header::DATE, now)));
    }
    kept
}

fn length(response: &Response) -> Option<u64> {
    http_body::Body::size_hint(response.body()).exact()
}

/// What a forwarded request is said to be, where nothing was found.
pub(super) fn miss(variants: bool) -> Why {
    if variants {
        Why::VaryMiss
    } else {
        Why::UriMiss
    }
}

//! Caching: answers from the store what is there, and asks the app for the rest.
//!
//! A request comes in at [`Caching::handle`]: what a cache has no business with passes; what is stored and fresh is an
//! [`answer`]; everything else is an [`Errand`] at the app, which [`Fetch`] does: alone, at the
//! head of those who want the same ([`waiting`]), or to ask whether what is stored still holds ([`validation`]).

mod answer;
mod changes;
mod detached;
mod errand;
mod fetch;
mod fill;
mod glance;
mod label;
mod validation;
mod waiting;

use std::{rc::Rc, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;

use self::{
    answer::{answer_to, whole},
    changes::{Change, path_of},
    errand::Errand,
    fetch::{Fetch, miss, strip_targeted},
    glance::{Glance, Way},
    label::{Fate, Labels, Use, Why},
    waiting::is_asset,
};
use super::{App, headers, kept::Kept};
use crate::{
    cache::{Asked, Cache, Found, Known, Reuse, Stored, Target, decide, has, serves_outage},
    drain::Watch,
    handler::{Cause, Handler, Request, Response, answer as refuse},
};

/// Answers from the cache; with `CACHE_SIZE=0` it is not there.
#[derive(Debug)]
pub(super) struct Caching<H> {
    fetch: Rc<Fetch<H>>,
    enabled: bool,
    forward_headers: bool,
}

impl<H> Caching<H> {
    pub(super) fn new(
        cache: Cache,
        app: App,
        watch: Watch,
        forward_headers: bool,
        next: H,
    ) -> Self {
        Self {
            enabled: cache.settings().size > 0,
            fetch: Rc::new(Fetch::new(cache, app, watch, next)),
            forward_headers,
        }
    }

    /// Where a request goes, as the app is told it (see [`headers`]).
    fn target<'a>(&self, request: &'a Request) -> Target<'a> {
        let fields = &request.head.headers;
        let kept = |name| {
            let kept = fields.get(name).map(HeaderValue::as_bytes);
            kept.filter(|value| self.forward_headers && !value.is_empty())
        };
        let scheme: &[u8] = if request.client.secure {
            b"https"
        } else {
            b"http"
        };
        Target {
            scheme: kept(headers::X_FORWARDED_PROTO).unwrap_or(scheme),
            host: headers::host(&request.head),
            forwarded_host: kept(headers::X_FORWARDED_HOST),
            path: path_of(&request.head.uri),
        }
    }

    /// What is to be remembered of a request that reads.
    fn errand(&self, request: &Request, glance: &Glance) -> Box<Errand> {
        let mut errand = self.fetch.errand();
        let fields = &request.head.headers;
        let target = self.target(request);
        self.fetch
            .cache
            .write_keys(&target, fields, glance.links, &mut errand.keys);
        errand.method.clone_from(&request.head.method);
        errand.question = glance.question;
        errand.conditional = glance.conditional;
        errand.began = request.client.arrived;
        if glance.directs {
            errand.asked = Asked::by(fields);
            errand.question.no_store = errand.asked.no_store;
        }
        errand
    }
}

impl<H: Handler + 'static> Handler for Caching<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        if !self.enabled {
            return self.fetch.next.handle(request).await;
        }
        let has_body = !request.body.is_end_stream();
        let glance = Glance::at(&request.head, has_body, request.upgrade.is_some());
        let why = match glance.way {
            Way::Reads => return self.read(request, &glance).await,
            Way::Changes => return Box::pin(self.change(request, &glance)).await,
            Way::Asks => Why::Request,
            Way::Passes if matches!(request.head.method, Method::GET | Method::HEAD) => Why::Bypass,
            Way::Passes => Why::Method,
        };
        let response = self.fetch.next.handle(request).await;
        self.pass(response, why)
    }
}

impl<H: Handler + 'static> Caching<H> {
    async fn read(&self, mut request: Box<Request>, glance: &Glance) -> Response {
        let mut errand = self.errand(&request, glance);
        let cache = &self.fetch.cache;
        let why = match cache.find(&mut errand.keys, &request.head.headers) {
            Found::Stored(stored) => {
                let now = request.client.arrived;
                return match decide(&stored.terms, &errand.asked, now) {
                    Reuse::Fresh => {
                        self.fetch.done(errand);
                        let plain = !(glance.conditional || glance.question.range);
                        self.hit(&mut request, &stored, Use::Hit, plain)
                    }
                    reuse => Box::pin(self.reuse(request, errand, stored, reuse)).await,
                };
            }
            found => miss(matches!(found, Found::NoVariant)),
        };
        errand.why = why;
        if errand.asked.only_if_cached {
            return only_if_cached();
        }
        let known = cache.known(&errand.keys);
        if known != Known::Uncacheable {
            if self.may_share(&errand, known, &request) {
                return Box::pin(self.share(request, errand)).await;
            }
            errand.began = Instant::now();
            errand.headers = Some(request.head.headers.clone());
        }
        let response = self.fetch.ask(request, &mut errand).await;
        self.fetch.done(errand);
        response
    }

    /// Whether the app need be asked only once for this, however many want it.
    fn may_share(&self, errand: &Errand, known: Known, request: &Request) -> bool {
        let on_its_way = self.fetch.cache.flight(&errand.keys).is_some();
        on_its_way
            || (leads(errand) && (known == Known::Storable || is_asset(request.head.uri.path())))
    }

    /// Follows who is on the way already, or leads.
    async fn share(&self, request: Box<Request>, mut errand: Box<Errand>) -> Response {
        if let Some(response) = self.fetch.follow(&request, &mut errand).await {
            self.fetch.done(errand);
            return response;
        }
        self.go(request, errand).await
    }

    /// To the app, at the head of whoever comes later if that makes sense.
    async fn go(&self, request: Box<Request>, mut errand: Box<Errand>) -> Response {
        errand.began = Instant::now();
        errand
            .headers
            .get_or_insert_with(|| request.head.headers.clone());
        if leads(&errand)
            && let Some(lead) = self.fetch.cache.lead(&errand.keys)
        {
            let flight = lead.flight();
            errand.lead = Some(lead);
            return self.fetch.clone().lead(request, errand, flight).await;
        }
        let response = self.fetch.validate(request, &mut errand).await;
        self.fetch.done(errand);
        response
    }

    /// What is stored is not simply fresh.
    async fn reuse(
        &self,
        mut request: Box<Request>,
        mut errand: Box<Errand>,
        stored: Arc<Stored>,
        reuse: Reuse,
    ) -> Response {
        let now = request.client.arrived;
        errand.why = match reuse {
            Reuse::Refused => Why::Request,
            _ => Why::Stale,
        };
        let held = self.fetch.app.holds() && serves_outage(&stored.terms, now);
        if reuse.answers() || held {
            if reuse == Reuse::Refresh {
                errand.stored = Some(stored.clone());
                self.fetch.refresh(&request, errand);
            }
            return self.hit(&mut request, &stored, Use::Stale(Why::Bypass), false);
        }
        if errand.asked.only_if_cached {
            return only_if_cached();
        }
        let shared =
            reuse == Reuse::Expired && !stored.terms.no_cache && !stored.terms.lifetime().is_zero();
        errand.stored = Some(stored);
        if shared {
            return self.share(request, errand).await;
        }
        errand.began = Instant::now();
        let response = self.fetch.validate(request, &mut errand).await;
        self.fetch.done(errand);
        response
    }

    fn hit(&self, request: &mut Request, stored: &Arc<Stored>, how: Use, plain: bool) -> Response {
        let now = request.client.arrived;
        let has_forms = has(&request.head.headers, &header::ACCEPT_ENCODING);
        let (fields, method) = (&mut request.head.headers, &request.head.method);
        let mut response = if plain {
            // hyper gets this map back with the answer, and parses the next request into its room.
            whole(stored, method, stored.headers(std::mem::take(fields)))
        } else {
            answer_to(stored, method, fields, stored.headers(HeaderMap::new()))
        };
        if has_forms || response.status() == StatusCode::NOT_MODIFIED {
            mark(&mut response, stored);
        }
        self.fetch
            .labels
            .used(response.headers_mut(), stored, how, now);
        response
    }

    /// Labels what a cache has no business with.
    fn pass(&self, mut response: Response, why: Why) -> Response {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let headers = response.headers_mut();
            strip_targeted(headers);
            self.fetch.labels.forwarded(headers, why, Fate::Unsaid);
        }
        response
    }

    async fn change(&self, request: Box<Request>, glance: &Glance) -> Response {
        let target = self.target(&request);
        let change = Change {
            scheme: target.scheme.to_vec(),
            host: target.host.to_vec(),
            forwarded_host: target.forwarded_host.map(<[u8]>::to_vec),
            path: target.path.to_owned(),
            links: glance.links.then(|| request.head.headers.clone()),
        };
        let response = self.fetch.next.handle(request).await;
        let mut errand = self.fetch.errand();
        change.settle(&response, &self.fetch.cache, &mut errand.keys);
        self.fetch.done(errand);
        self.pass(response, Why::Method)
    }
}

/// Says what the answer was made from, unless that is only the head of a file.
fn mark(response: &mut Response, stored: &Arc<Stored>) {
    if !stored.names_file {
        response.extensions_mut().insert(Kept(stored.clone()));
    }
}

/// Whether others may wait for the answer: one for the whole, and to be kept.
fn leads(errand: &Errand) -> bool {
    let plain = errand.stored.is_some() || !(errand.conditional || errand.question.range);
    errand.method == Method::GET && plain && !errand.question.no_store
}

/// RFC 9111 section 5.2.1.7.
fn only_if_cached() -> Response {
    let mut response = refuse(
        StatusCode::GATEWAY_TIMEOUT,
        Cause::NotCached,
        "This is not in the cache, and nothing else was asked for.\n",
    );
    Labels::refused(response.headers_mut());
    response
}

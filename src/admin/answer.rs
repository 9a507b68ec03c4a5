//! Which question gets which answer. All of them only read.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Serialize;

use super::{
    Desk,
    body::Body,
    events::{Events, Seat},
    exposition,
    health::Probe,
    page,
};

/// How many pages may be open at once.
const MOST_LISTENERS: usize = 32;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const WHAT_THERE_IS: &str = "\
/            the status page
/livez       whether we are alive
/readyz      whether new requests are welcome
/startupz    whether the app was ready once
             (these as JSON with ?format=json, .json, or Accept: application/json)
/metrics     for Prometheus
/status.json all of the page
/config.json the effective configuration, without secrets
/events      the status as it changes: server-sent events
";

/// Answers `request`, whose body is of no interest.
pub(super) fn answer<B>(desk: &Rc<Desk>, request: &Request<B>) -> Response<Body> {
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => get(desk, request),
        _ => not_allowed(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Keeps other sites from showing ours as a part of theirs (Fetch, section 3.7).
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

fn get<B>(desk: &Rc<Desk>, request: &Request<B>) -> Response<Body> {
    let path = request.uri().path();
    let (path, wants_json) = match path.strip_suffix(".json") {
        Some(stem @ ("/livez" | "/readyz" | "/startupz")) => (stem, true),
        _ => (path, asks_for_json(request)),
    };
    match path {
        "/" => page(),
        "/livez" => health(desk, Probe::Live, wants_json),
        "/readyz" => health(desk, Probe::Ready, wants_json),
        "/startupz" => health(desk, Probe::Started, wants_json),
        "/metrics" => metrics(desk),
        "/status.json" => json(StatusCode::OK, &(desk.source)()),
        "/config.json" => json(StatusCode::OK, &desk.variables),
        "/events" => events(desk, request.method()),
        _ => whole(StatusCode::NOT_FOUND, TEXT, WHAT_THERE_IS.to_owned()),
    }
}

fn asks_for_json<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or("");
    let accept = request.headers().get(header::ACCEPT);
    let accepts = |accept: &HeaderValue| {
        let first = accept.as_bytes().split(|byte| matches!(byte, b',' | b';'));
        first
            .take(1)
            .any(|kind| kind.trim_ascii() == JSON.as_bytes())
    };
    query.split('&').any(|pair| pair == "format=json") || accept.is_some_and(accepts)
}

fn page() -> Response<Body> {
    let mut response = whole(StatusCode::OK, "text/html; charset=utf-8", page::HTML);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, page::policy());
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

fn health(desk: &Desk, probe: Probe, wants_json: bool) -> Response<Body> {
    let now = (desk.source)();
    let health = probe.answer(&now);
    match wants_json {
        true => json(health.status(), &health),
        false => whole(health.status(), TEXT, health.text()),
    }
}

fn metrics(desk: &Desk) -> Response<Body> {
    let totals = desk.metrics.totals().unwrap_or_default();
    let text = exposition::text((desk.source)(), totals);
    whole(StatusCode::OK, exposition::CONTENT_TYPE, text)
}

fn events(desk: &Rc<Desk>, method: &Method) -> Response<Body> {
    let Some(seat) = Seat::take(&desk.listeners, MOST_LISTENERS) else {
        let text = "too many pages are open\n";
        return whole(StatusCode::SERVICE_UNAVAILABLE, TEXT, text);
    };
    let body = match *method {
        Method::HEAD => Body::Whole(Bytes::new()),
        _ => Body::Events(Events::of(desk.clone(), seat)),
    };
    with_type("text/event-stream", body)
}

fn not_allowed() -> Response<Body> {
    let text = "this port only shows: GET and HEAD\n";
    let mut response = whole(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
    let allow = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_string(value).unwrap_or_default();
    whole(status, JSON, text + "\n")
}

fn whole(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = with_type(kind, Body::Whole(text.into()));
    *response.status_mut() = status;
    response
}

fn with_type(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    *response.headers_mut() = headers;
    response
}

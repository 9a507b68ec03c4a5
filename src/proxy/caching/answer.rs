//! A stored response as an answer: to conditions, to HEAD, to a Range (RFC 9110 sections 13 to 15).

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::{
    cache::Stored,
    content::{
        multipart::Multipart,
        precondition::{self, Outcome, Validators},
        range::{self, Ranges},
    },
    handler::{Body, Cause, Response, with_body},
};

/// What `stored` is to a request that has neither conditions nor a Range, in the room of an old map.
pub(super) fn whole(stored: &Stored, method: &Method, headers: HeaderMap) -> Response {
    let body = match *method {
        Method::HEAD => Body::empty(),
        _ => Body::from(stored.body.clone()),
    };
    respond(stored.status, headers, body)
}

/// What `stored`, whose headers are `headers`, is to a request: all of it, a part, or that the client has it.
///
/// The layer around us answers for what a file holds, so of a stored head that names one it gets everything.
pub(super) fn answer_to(
    stored: &Stored,
    method: &Method,
    request: &HeaderMap,
    headers: HeaderMap,
) -> Response {
    if stored.names_file || !stored.status.is_success() {
        return whole(stored, method, headers);
    }
    if precondition::is_conditional(request)
        && precondition::evaluate(method, request, &validators(&headers)) == Outcome::NotModified
    {
        return not_modified(headers);
    }
    let ranged = stored.status == StatusCode::OK
        && *method == Method::GET
        && request.contains_key(header::RANGE)
        && precondition::range_holds(request, &Validators::of(&headers));
    if ranged {
        part(stored, request, headers)
    } else {
        whole(stored, method, headers)
    }
}

/// What a cache compares with `If-Modified-Since` where there is no Last-Modified is Date (RFC 9111 section 4.3.2).
fn validators(headers: &HeaderMap) -> Validators<'_> {
    let validators = Validators::of(headers);
    Validators {
        last_modified: validators.last_modified.or_else(|| date(headers)),
        ..validators
    }
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok()
}

fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = with_body(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Without what describes a body that is not sent (RFC 9110 section 15.4.5).
fn not_modified(mut headers: HeaderMap) -> Response {
    const ABOUT_THE_BODY: [HeaderName; 7] = [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_RANGE,
        header::ACCEPT_RANGES,
        header::TRAILER,
    ];
    for name in &ABOUT_THE_BODY {
        headers.remove(name);
    }
    respond(StatusCode::NOT_MODIFIED, headers, Body::empty())
}

/// 206 or 416; of the whole where the Range means nothing (RFC 9110 section 14.2).
fn part(stored: &Stored, request: &HeaderMap, mut headers: HeaderMap) -> Response {
    let length = stored.body.len() as u64;
    match Ranges::of(request, length) {
        Ranges::Whole => whole(stored, &Method::GET, headers),
        Ranges::One(range) => {
            let content_range = range::content_range(&range, length);
            headers.insert(header::CONTENT_RANGE, content_range);
            headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
            let body = Body::from(slice(&stored.body, &range));
            respond(StatusCode::PARTIAL_CONTENT, headers, body)
        }
        Ranges::Many(ranges) => {
            let kind = headers.get(header::CONTENT_TYPE);
            let multipart = Multipart::new(&ranges, length, kind);
            headers.insert(header::CONTENT_TYPE, multipart.content_type.clone());
            headers.insert(header::CONTENT_LENGTH, multipart.length.into());
            let body = pieces(stored, multipart);
            respond(StatusCode::PARTIAL_CONTENT, headers, body)
        }
        Ranges::Unsatisfiable => {
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ETAG] {
                headers.remove(name);
            }
            headers.insert(header::CONTENT_RANGE, range::unsatisfied(length));
            headers.insert(header::CONTENT_LENGTH, 0.into());
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let mut response = respond(status, headers, Body::empty());
            let cause = Cause::RangeNotSatisfiable;
            response.extensions_mut().insert(cause);
            response
        }
    }
}

fn slice(body: &Bytes, range: &std::ops::Range<u64>) -> Bytes {
    // Both ends are within the body, whose length is a usize.
    body.slice(range.start as usize..range.end as usize)
}

fn pieces(stored: &Stored, multipart: Multipart) -> Body {
    let mut pieces = Vec::with_capacity(multipart.parts.len() * 2 + 1);
    for (head, range) in multipart.parts {
        pieces.extend([head, slice(&stored.body, &range)]);
    }
    pieces.push(multipart.end);
    Body::pieces(pieces)
}

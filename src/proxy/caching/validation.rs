//! Asking the app whether what is stored still holds (RFC 9111 section 4.3).

use http::{HeaderMap, StatusCode, header};

use super::{detached, errand::Errand, fetch::Fetch};
use crate::{
    cache::{self, CDN_CACHE_CONTROL, Stored},
    content::precondition::CONDITIONS,
    handler::{Handler, Request, Response},
};

/// Makes a request conditional on what is stored; the client's own conditions are answered from the store afterwards.
pub(super) fn make_conditional(request: &mut HeaderMap, stored: &Stored) {
    make_unconditional(request);
    if let Some(tag) = stored.field(&header::ETAG) {
        request.insert(header::IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.field(&header::LAST_MODIFIED) {
        request.insert(header::IF_MODIFIED_SINCE, modified.clone());
    }
}

/// A request for the whole, whatever the client has.
pub(super) fn make_unconditional(request: &mut HeaderMap) {
    for name in CONDITIONS.iter().chain(&[header::RANGE, header::IF_RANGE]) {
        request.remove(name);
    }
}

/// The stored head as a 304 changes it.
pub(super) fn refreshed(stored: &Stored, fresh: &HeaderMap) -> HeaderMap {
    let mut all = stored.all_headers();
    if fresh.contains_key(header::CACHE_CONTROL) {
        // What it says to everybody is newer than what was said to us.
        all.remove(CDN_CACHE_CONTROL);
    }
    cache::refresh(all, fresh)
}

impl<H: Handler> Fetch<H> {
    /// Asks the app about what is stored, which answers if it still holds, or if the app cannot be asked.
    pub(super) async fn validate(
        &self,
        mut request: Box<Request>,
        errand: &mut Errand,
    ) -> Response {
        let Some(stored) = errand.stored.clone() else {
            return self.ask(request, errand).await;
        };
        let headers = &mut request.head.headers;
        errand.headers.get_or_insert_with(|| headers.clone());
        // The answer is for the whole; the client's part is cut from it.
        errand.question.range = false;
        make_conditional(headers, &stored);
        let again = again(&request);
        let response = self.next.handle(request).await;
        if let Some(stale) = self.in_place_of(&response, errand) {
            return stale;
        }
        if response.status() != StatusCode::NOT_MODIFIED {
            return self.settle(response, errand);
        }
        if cache::confirms(&stored.all_headers(), response.headers()) {
            return self.confirmed(&response, &stored, errand);
        }
        // It speaks of something that nobody has.
        self.cache.forget(&errand.keys);
        let mut again = again;
        make_unconditional(&mut again.head.headers);
        self.ask(again, errand).await
    }
}

/// The same request, in case that the app did not understand it.
fn again(request: &Request) -> Box<Request> {
    detached::request(request.head.clone(), &request.client, request.id.clone())
}

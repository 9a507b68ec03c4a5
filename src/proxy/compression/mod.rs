//! Compression: responses encoded on their way to clients that take it.
//!
//! What may be encoded is one question ([`Policy`], which caching asks as well), what changes in the head is another
//! ([`head`]), and the bytes are the work of [`coding`](crate::coding).

mod content_type;
mod directives;
pub(super) mod head;
mod kept;
mod personal;
mod policy;
mod remembered;

use bytes::Bytes;
use http::{StatusCode, Version};

pub(super) use self::policy::Policy;
use self::{kept::Work, policy::Asked};
use super::{headers::is_event_stream, kept::Kept};
use crate::{
    cache::Cache,
    coding::{Encoder, Purpose},
    content::Coding,
    handler::{Body, Handler, Request, Response},
};

/// What is encoded at once, so that its length can be told, in bytes.
const AT_ONCE: usize = 64 * 1024;

/// The longest file that is encoded on its way, in bytes: what is longer is sent by the kernel, for much less.
const LONGEST_FILE: u64 = 1024 * 1024;

/// Encodes responses.
#[derive(Debug)]
pub(super) struct Compression<H> {
    policy: Option<Policy>,
    cache: Cache,
    next: H,
}

impl<H> Compression<H> {
    /// Without a policy nothing is encoded, and that costs nothing.
    pub(super) fn new(policy: Option<Policy>, cache: Cache, next: H) -> Self {
        Self {
            policy,
            cache,
            next,
        }
    }
}

impl<H: Handler> Handler for Compression<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        let Some(policy) = &self.policy else {
            return self.next.handle(request).await;
        };
        let asked = policy.asked(&request.head);
        let knows_chunks = request.client.knows_interim;
        let response = self.next.handle(request).await;
        match policy.settle_any(&self.cache, &asked, knows_chunks, response) {
            Ok(response) => response,
            // Boxed, as it is rare: it would take up room in every request's future.
            Err(work) => Box::pin(work.finish(policy, &self.cache, knows_chunks)).await,
        }
    }
}

impl Policy {
    /// Gives a response its form, or tells the work that another thread is to do for it.
    fn settle_any(
        &self,
        cache: &Cache,
        asked: &Asked,
        knows_chunks: bool,
        mut response: Response,
    ) -> Result<Response, Box<Work>> {
        match response.extensions_mut().remove() {
            Some(Kept(stored)) => self.settle_kept(cache, stored, asked, response),
            None => {
                self.settle(asked, knows_chunks, &mut response);
                Ok(response)
            }
        }
    }

    fn settle(&self, asked: &Asked, knows_chunks: bool, response: &mut Response) {
        if response.status() == StatusCode::NOT_MODIFIED {
            return head::not_modified(response.headers_mut(), asked.known());
        }
        if response.body().file_length() > Some(LONGEST_FILE) {
            return;
        }
        let length = match asked.for_head() {
            true => head::length(response.headers()),
            false => response.body().length(),
        };
        let verdict = self.verdict(asked, response.status(), response.headers(), length);
        if verdict.varies {
            head::vary(response.headers_mut());
        }
        let Some(coding) = verdict.coding else {
            return;
        };
        let purpose = match is_event_stream(response.headers()) {
            true => Purpose::Endless,
            false => Purpose::Passing { length },
        };
        head::encode(response.headers_mut(), coding);
        if !asked.for_head() {
            self.encode(coding, purpose, knows_chunks, response);
        }
    }

    fn encode(
        &self,
        coding: Coding,
        purpose: Purpose,
        knows_chunks: bool,
        response: &mut Response,
    ) {
        let encoder = Encoder::new(coding, purpose, self.jitter());
        let body = std::mem::replace(response.body_mut(), Body::empty());
        *response.body_mut() = match body.into_whole(AT_ONCE) {
            Ok(content) => {
                let encoded = encoder.whole(&content);
                self.count(coding, content.len(), encoded.len());
                Body::from(Bytes::from(encoded))
            }
            Err(body) => {
                if !knows_chunks {
                    // Only a close can end it.
                    *response.version_mut() = Version::HTTP_10;
                }
                body.encoded(encoder, self.counts(coding))
            }
        };
    }
}

//! Answers from the cache: their encoded form lies beside the plain one, made when it is wanted for the first time.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use tokio::task::spawn_blocking;

use super::{AT_ONCE, Asked, Policy, head};
use crate::{
    cache::{Cache, Landing, Stored},
    coding::encode_whole,
    content::Coding,
    handler::{Body, Response},
};

/// What is still to be done by another thread.
#[derive(Debug)]
pub(super) struct Work {
    coding: Coding,
    plain: Bytes,
}

impl Policy {
    /// Gives `response`, which was made from `stored`, the form that the client likes best; if that is large and not there
    /// yet, its head alone, and the work that is left.
    pub(super) fn settle_kept(
        &self,
        cache: &Cache,
        stored: &Stored,
        asked: &Asked,
        response: &mut Response,
    ) -> Option<Work> {
        if response.status() == StatusCode::NOT_MODIFIED {
            self.settle_not_modified(stored, asked, response);
            return None;
        }
        let length = Some(stored.body.len() as u64);
        let verdict = self.verdict(asked, response.status(), response.headers(), length);
        if verdict.varies {
            head::vary(response.headers_mut());
        }
        let coding = verdict.coding?;
        head::encode(response.headers_mut(), coding);
        if asked.for_head() {
            return None;
        }
        if let Some(coded) = cache.coded(stored.content, coding.as_str()) {
            send(response, coded);
            return None;
        }
        if stored.body.len() > AT_ONCE {
            let plain = stored.body.clone();
            return Some(Work { coding, plain });
        }
        let coded = Bytes::from(encode_whole(coding, &stored.body, self.jitter()));
        self.count(coding, stored.body.len(), coded.len());
        cache.put_coded(stored.content, coding.as_str(), coded.clone());
        send(response, coded);
        None
    }

    /// A 304 says what varies as the whole would (RFC 9110 section 15.4.5).
    fn settle_not_modified(&self, stored: &Stored, asked: &Asked, response: &mut Response) {
        let length = Some(stored.body.len() as u64);
        let headers = stored.all_headers();
        if self.verdict(asked, stored.status, &headers, length).varies {
            head::vary(response.headers_mut());
        }
        head::not_modified(response.headers_mut(), asked.known());
    }
}

impl Work {
    /// Makes the encoded form, once for all who want it, and puts it into `response`.
    pub(super) async fn finish(
        self,
        policy: &Policy,
        cache: &Cache,
        stored: &Stored,
        knows_chunks: bool,
        response: &mut Response,
    ) {
        let Self { coding, plain } = self;
        let coded = match cache.lead_coded(stored.content, coding.as_str()) {
            Ok(lead) => {
                let jitter = policy.jitter();
                let made = spawn_blocking(move || encode_whole(coding, &plain, jitter)).await;
                made.ok().map(|made| {
                    let coded = Bytes::from(made);
                    policy.count(coding, stored.body.len(), coded.len());
                    cache.put_coded(stored.content, coding.as_str(), coded.clone());
                    lead.land(Landing::Stored);
                    coded
                })
            }
            Err(flight) => {
                flight.landed().await;
                cache.coded(stored.content, coding.as_str())
            }
        };
        match coded {
            Some(coded) => send(response, coded),
            // It did not fit.
            None => policy.encode(
                coding,
                crate::coding::Purpose::Passing {
                    length: Some(stored.body.len() as u64),
                },
                knows_chunks,
                response,
            ),
        }
    }
}

fn send(response: &mut Response, coded: Bytes) {
    let length = HeaderValue::from(coded.len());
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    *response.body_mut() = Body::from(coded);
}

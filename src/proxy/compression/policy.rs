//! Which responses are encoded, and how: a pure verdict over both heads.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};

use super::{content_type, directives::Directives, personal, remembered::Remembered};
use crate::{
    cache::has,
    content::{Accepted, Coding},
    handler::Recoded,
    metrics::Recorder,
    proxy::{CompressionSettings, headers::is_event_stream},
};

/// What is shorter would not become so much smaller that it pays, in bytes.
const WORTH_IT: u64 = 1_024;

/// The rules.
#[derive(Debug)]
pub(in crate::proxy) struct Policy {
    settings: CompressionSettings,
    /// Those for streams without an end: brotli takes too much memory for as long as these last.
    endless: Vec<Coding>,
    /// Which media types are worth it.
    types: Remembered<bool>,
    /// What lines of `Cache-Control` say.
    directives: Remembered<Directives>,
    recorder: Recorder,
}

/// What a request says about the form of its answer.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Asked {
    accepted: Accepted,
    personal: bool,
    for_head: bool,
    /// `If-None-Match`, of who takes encoded forms; boxed, as most ask without.
    known: Option<Box<HeaderValue>>,
}

/// In which form a response goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Verdict {
    /// None is the form it has.
    pub(in crate::proxy) coding: Option<Coding>,
    /// Whether another `Accept-Encoding` might have been answered in another form.
    pub(in crate::proxy) varies: bool,
}

/// Counts what is encoded as it passes.
#[derive(Debug)]
struct Counts {
    coding: Coding,
    recorder: Recorder,
}

impl Recoded for Counts {
    fn recoded(self: Box<Self>, input: u64, output: u64) {
        self.recorder.encoded(self.coding as usize, input, output);
    }
}

impl Policy {
    pub(in crate::proxy) fn new(settings: &CompressionSettings, recorder: Recorder) -> Self {
        let mut endless = settings.codings.clone();
        endless.retain(|coding| *coding != Coding::Br);
        if endless.is_empty() {
            endless.clone_from(&settings.codings);
        }
        Self {
            settings: settings.clone(),
            endless,
            types: Remembered::default(),
            directives: Remembered::default(),
            recorder,
        }
    }

    /// `input` bytes were encoded, and became `output` bytes.
    pub(super) fn count(&self, coding: Coding, input: usize, output: usize) {
        let (input, output) = (input as u64, output as u64);
        self.recorder.encoded(coding as usize, input, output);
    }

    /// Who is told how much a body was, if anybody wants to know.
    pub(super) fn counts(&self, coding: Coding) -> Option<Box<dyn Recoded>> {
        let recorder = self.recorder.clone();
        let counts = recorder.is_on().then_some(Counts { coding, recorder });
        counts.map(|counts| Box::new(counts) as Box<dyn Recoded>)
    }

    /// By how many bytes a length may vary.
    pub(in crate::proxy) fn jitter(&self) -> u16 {
        self.settings.jitter
    }

    /// What this request says; to be asked before it goes on its way.
    pub(in crate::proxy) fn asked(&self, request: &Parts) -> Asked {
        let accepted = Accepted::by(&request.headers);
        let known = match accepted.is_none() {
            true => None,
            false => known_tags(&request.headers),
        };
        Asked {
            accepted,
            personal: self.settings.disable_on_auth && personal::asks(&request.headers),
            for_head: request.method == Method::HEAD,
            known,
        }
    }

    /// In which form a response with this head and a body of `length` bytes goes out.
    pub(in crate::proxy) fn verdict(
        &self,
        asked: &Asked,
        status: StatusCode,
        headers: &HeaderMap,
        length: Option<u64>,
    ) -> Verdict {
        let varies = length.is_none_or(|length| length >= WORTH_IT)
            && has_a_whole_body(status)
            && self.may_encode(headers);
        let offered = || match is_event_stream(headers) {
            true => &self.endless,
            false => &self.settings.codings,
        };
        let wanted = varies && !asked.personal && !asked.accepted.is_none();
        Verdict {
            coding: wanted.then(|| asked.accepted.best(offered())).flatten(),
            varies,
        }
    }

    /// One pass over the fields: this is asked of each response, and to look for each field would hash its name.
    fn may_encode(&self, headers: &HeaderMap) -> bool {
        let mut content_type = None;
        let mut directives = Directives::default();
        for (name, value) in headers {
            match *name {
                header::CONTENT_ENCODING | header::CONTENT_RANGE => return false,
                header::CONTENT_TYPE => content_type = content_type.or(Some(value)),
                header::CACHE_CONTROL => {
                    let said = self.directives.of(value, Directives::of);
                    directives = directives.and(said);
                }
                _ => {}
            }
        }
        if !content_type.is_some_and(|content_type| self.is_compressible(content_type)) {
            return false;
        }
        let kept_plain = self.settings.disable_on_auth && personal::answers(headers, directives);
        !directives.no_transform && !kept_plain
    }

    fn is_compressible(&self, content_type: &HeaderValue) -> bool {
        let except = &self.settings.except;
        let find = |content_type: &_| content_type::is_compressible(content_type, except);
        self.types.of(content_type, find)
    }
}

impl Asked {
    pub(super) fn for_head(&self) -> bool {
        self.for_head
    }

    pub(super) fn known(&self) -> Option<&HeaderValue> {
        self.known.as_deref()
    }
}

fn known_tags(headers: &HeaderMap) -> Option<Box<HeaderValue>> {
    has(headers, &header::IF_NONE_MATCH)
        .then(|| headers.get(header::IF_NONE_MATCH).cloned().map(Box::new))
        .flatten()
}

/// No part of one (RFC 9110 section 15.3.7), and no status without one (section 6.4.1).
fn has_a_whole_body(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        )
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use super::*;

    const PLAIN: Verdict = Verdict {
        coding: None,
        varies: false,
    };
    const VARIES: Verdict = Verdict {
        coding: None,
        varies: true,
    };
    const GZIP: Verdict = Verdict {
        coding: Some(Coding::Gzip),
        varies: true,
    };

    fn policy() -> Policy {
        Policy::new(
            &CompressionSettings {
                codings: Coding::ALL.to_vec(),
                except: vec!["text/csv".to_owned()],
                disable_on_auth: false,
                jitter: 32,
            },
            Recorder::default(),
        )
    }

    fn careful() -> Policy {
        Policy::new(
            &CompressionSettings {
                disable_on_auth: true,
                ..policy().settings
            },
            Recorder::default(),
        )
    }

    /// The verdict on an HTML page for a client that takes gzip, with these further fields.
    fn verdict(policy: &Policy, request: &[&str], status: u16, response: &[&str]) -> Verdict {
        let mut asking = Request::builder().header("accept-encoding", "gzip");
        for line in request {
            let (name, value) = line.split_once(": ").unwrap();
            asking = asking.header(name, value);
        }
        let asked = policy.asked(&asking.body(()).unwrap().into_parts().0);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "text/html".parse().unwrap());
        let mut length = Some(2_000);
        for line in response {
            let (name, value) = line.split_once(": ").unwrap();
            match name {
                "content-type" => {
                    headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
                }
                "length" => length = value.parse().ok(),
                name => {
                    let name: HeaderName = name.parse().unwrap();
                    headers.append(name, value.parse().unwrap());
                }
            }
        }
        policy.verdict(
            &asked,
            StatusCode::from_u16(status).unwrap(),
            &headers,
            length,
        )
    }

    #[test]
    fn the_response_decides_whether_and_the_request_how() {
        for (status, response, expected) in [
            (200, &[][..], GZIP),
            (404, &[], GZIP),
            (302, &[], GZIP),
            (500, &[], GZIP),
            (200, &["length: none"], GZIP),
            (200, &["length: 1024"], GZIP),
            (200, &["length: 1023"], PLAIN),
            (200, &["length: 0"], PLAIN),
            (101, &["length: none"], PLAIN),
            (103, &[], PLAIN),
            (204, &["length: none"], PLAIN),
            (205, &[], PLAIN),
            (206, &[], PLAIN),
            (304, &["length: none"], PLAIN),
            (200, &["content-encoding: br"], PLAIN),
            (200, &["content-encoding: identity"], PLAIN),
            (200, &["content-range: bytes 0-1999/4000"], PLAIN),
            (200, &["content-type: image/png"], PLAIN),
            (200, &["content-type: text/csv; header=present"], PLAIN),
            (200, &["cache-control: public, no-transform"], PLAIN),
            (200, &["cache-control: private, no-store"], GZIP),
            (200, &["set-cookie: a=b", "vary: Cookie"], GZIP),
        ] {
            assert_eq!(
                verdict(&policy(), &[], status, response),
                expected,
                "{status} {response:?}"
            );
        }
    }

    #[test]
    fn a_plain_form_varies_as_well() {
        for accept in ["identity", "deflate", "gzip;q=0"] {
            let request = Request::builder().header("accept-encoding", accept);
            let asked = policy().asked(&request.body(()).unwrap().into_parts().0);
            let headers = HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/html"),
            )]);
            let found = policy().verdict(&asked, StatusCode::OK, &headers, None);
            assert_eq!(found, VARIES, "{accept}");
        }
    }

    #[test]
    fn streams_without_an_end_are_not_brotli() {
        let policy = policy();
        let request = Request::builder().header("accept-encoding", "br, gzip");
        let asked = policy.asked(&request.body(()).unwrap().into_parts().0);
        for (content_type, expected) in [
            ("text/event-stream", Coding::Gzip),
            ("text/html", Coding::Br),
        ] {
            let value = HeaderValue::from_static(content_type);
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value)]);
            let found = policy.verdict(&asked, StatusCode::OK, &headers, None);
            assert_eq!(found.coding, Some(expected), "{content_type}");
        }
    }

    #[test]
    fn what_belongs_to_one_user_is_left_alone_if_so_told() {
        for (request, response, expected) in [
            (&[][..], &[][..], GZIP),
            (&["cookie: session=123"], &[], VARIES),
            (&["cookie: "], &[], VARIES),
            (&["authorization: Bearer token"], &[], VARIES),
            (&["x-csrf-token: token"], &[], VARIES),
            (&["x-requested-with: x"], &[], GZIP),
            (&[], &["set-cookie: session=123"], PLAIN),
            (&[], &["cache-control: private, max-age=3600"], PLAIN),
            (&[], &["cache-control: no-store"], PLAIN),
            (
                &[],
                &["cache-control: public, private=\"Set-Cookie\""],
                PLAIN,
            ),
            (
                &[],
                &["cache-control: public, my-private-setting=value"],
                GZIP,
            ),
            (&[], &["cache-control: PRIVATE"], PLAIN),
            (
                &[],
                &[
                    "cache-control: public, max-age=60",
                    "cache-control: private",
                ],
                PLAIN,
            ),
            (
                &[],
                &["cache-control: public, ext=\"unterminated, private"],
                PLAIN,
            ),
            (&[], &["vary: Cookie"], PLAIN),
            (&[], &["vary: Accept-Encoding", "vary: cookie"], PLAIN),
            (&[], &["vary: Accept-Encoding, Cookie-Name"], GZIP),
            (&[], &["vary: *"], GZIP),
        ] {
            let found = verdict(&careful(), request, 200, response);
            assert_eq!(found, expected, "{request:?} {response:?}");
            let careless = verdict(&policy(), request, 200, response);
            assert_eq!(careless, GZIP, "{request:?} {response:?}");
        }
    }
}

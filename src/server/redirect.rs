//! The plain port under TLS: answers a CA's challenges, sends clients to HTTPS, and nothing else.
//!
//! A layer of its own around the path, which only secure requests enter: the rest of the house need not know that there
//! are two ports. The one exception is a health check that somebody configured: a load balancer asks for it by address and
//! follows no redirect.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, header};

use crate::{
    handler::{Body, Handler, Request, Response, with_body},
    tls::{Challenges, Names},
};

/// Where a CA asks; RFC 8555 section 8.3.
const CHALLENGE: &str = "/.well-known/acme-challenge/";

/// What the plain port knows.
#[derive(Clone, Debug)]
pub struct PlainFace {
    /// Who we are.
    pub names: Names,
    /// What a CA may ask for; none without ACME.
    pub challenges: Option<Challenges>,
    /// The port that clients are sent to.
    pub https_port: u16,
    /// `HTTP_HEALTH_PATH`.
    pub health_path: Option<String>,
    /// `LOG_REQUESTS`: whether what is refused here is logged.
    pub log_refused: bool,
}

/// Lets only secure requests through; without TLS all of them.
#[derive(Debug)]
pub struct Redirect<H> {
    face: Option<PlainFace>,
    next: H,
}

impl<H> Redirect<H> {
    /// Stands before `next`; `face` when there is TLS.
    pub fn new(face: Option<PlainFace>, next: H) -> Self {
        Self { face, next }
    }
}

impl<H: Handler> Handler for Redirect<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        match &self.face {
            Some(face) if !request.client.secure && !face.is_health_check(&request.head) => {
                face.answer_and_tell(&request)
            }
            _ => self.next.handle(request).await,
        }
    }
}

impl PlainFace {
    fn is_health_check(&self, head: &http::request::Parts) -> bool {
        is_read(&head.method) && self.health_path.as_deref() == Some(head.uri.path())
    }

    fn answer_and_tell(&self, request: &Request) -> Response {
        let response = self.answer(&request.head);
        let status = response.status();
        if self.log_refused && status.is_client_error() {
            let cause = match status {
                StatusCode::MISDIRECTED_REQUEST => "unknown_host",
                _ => "unknown_challenge",
            };
            let (address, status) = (request.client.address, status.as_u16());
            tracing::info!(remote_addr = %address, status, cause, "request refused");
        }
        response
    }

    fn answer(&self, head: &http::request::Parts) -> Response {
        if let Some(challenges) = &self.challenges
            && let Some(token) = head.uri.path().strip_prefix(CHALLENGE)
            && is_read(&head.method)
        {
            return key_authorization(challenges.key_authorization(token));
        }
        match self.location(head) {
            Some(location) => moved(location),
            None => plain(
                StatusCode::MISDIRECTED_REQUEST,
                "no such host here\n".into(),
            ),
        }
    }

    /// The same URL by HTTPS, if the host is one of ours: whoever else would be sent wherever a client says.
    fn location(&self, head: &http::request::Parts) -> Option<HeaderValue> {
        let host = host(head)?;
        if !self.names.include(host.trim_matches(['[', ']'])) {
            return None;
        }
        let port = match self.https_port {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let target = target(&head.uri);
        HeaderValue::try_from(format!("https://{host}{port}{target}")).ok()
    }
}

/// The host asked for, in lower case, without its port and the root's dot; the target's own comes before the header
/// (RFC 9112 section 3.2.2).
fn host(head: &http::request::Parts) -> Option<String> {
    let header = || head.headers.get(header::HOST)?.to_str().ok();
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let authority: http::uri::Authority = authority.or_else(header)?.parse().ok()?;
    let host = authority.host().to_ascii_lowercase();
    Some(host.strip_suffix('.').unwrap_or(&host).to_owned())
}

fn target(uri: &Uri) -> &str {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    // `*` is of no resource, and so is what a CONNECT is for.
    if target.starts_with('/') { target } else { "/" }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn key_authorization(found: Option<String>) -> Response {
    match found {
        Some(text) => plain(StatusCode::OK, text.into()),
        None => plain(StatusCode::NOT_FOUND, "no such challenge\n".into()),
    }
}

fn moved(location: HeaderValue) -> Response {
    let mut response = plain(StatusCode::MOVED_PERMANENTLY, Bytes::new());
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// The last answer on its connection: nothing more is to be had here.
fn plain(status: StatusCode, text: Bytes) -> Response {
    let mut response = with_body(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

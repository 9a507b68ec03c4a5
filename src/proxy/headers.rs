//! The head that the app sees, and the headers that the client does: hop-by-hop fields go, `X-Forwarded-*` come.

use std::{
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use http_body::Body;

use super::request_id;
use crate::{cache::has, handler::Request};

/// The client, and each proxy it came through.
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");

/// What the Host is called when an HTTP/1.0 client names none.
const NO_HOST: &[u8] = b"localhost";

/// What is to be known of a written head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Whether the body is sent in chunks.
    pub(super) chunked: bool,
    /// Whether the app is asked to speak another protocol.
    pub(super) upgrades: bool,
}

/// Writes the head of `request` as the app is to see it, with the lines of `offer`.
pub(super) fn write(
    request: &Request,
    forward_headers: bool,
    offer: &[u8],
    out: &mut Vec<u8>,
) -> Written {
    let head = &request.head;
    let upgrade = request
        .upgrade
        .as_ref()
        .and_then(|_| upgrade_token(&head.headers));
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    if target.starts_with('?') {
        // Of `http://host?query`, which has no path.
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = host(head);
    field(out, "host", host);
    let present = Present::of(&head.headers);
    let named = match present.connection {
        true => Named::by(&head.headers),
        false => Named(Vec::new()),
    };
    let mut length_known = false;
    for (name, value) in &head.headers {
        if !passes(name) || named.names(name) {
            continue;
        }
        length_known |= *name == header::CONTENT_LENGTH;
        field(out, name.as_str(), value.as_bytes());
    }
    forwarded(out, request, host, forward_headers && present.forwarded);
    if !(present.request_start && says(&head.headers, X_REQUEST_START)) {
        request_start(out);
    }
    field(out, request_id::NAME.as_str(), request.id.as_bytes());
    out.extend_from_slice(offer);
    if let Some(token) = upgrade {
        field(out, "connection", b"upgrade");
        field(out, "upgrade", token.as_bytes());
    }
    let chunked = !length_known && !request.body.is_end_stream();
    if chunked {
        field(out, "transfer-encoding", b"chunked");
    } else if !length_known && matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
        // RFC 9110 section 8.6: a method that anticipates a body says that there is none.
        field(out, "content-length", b"0");
    }
    if present.te && head.version >= Version::HTTP_11 && accepts_trailers(&head.headers) {
        field(out, "te", b"trailers");
        if upgrade.is_none() {
            field(out, "connection", b"te");
        }
    }
    out.extend_from_slice(b"\r\n");
    Written {
        chunked,
        upgrades: upgrade.is_some(),
    }
}

/// Which fields of a request want a look of their own. One pass tells; to look for each would hash its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Present {
    connection: bool,
    te: bool,
    /// Any of `X-Forwarded-*`.
    forwarded: bool,
    request_start: bool,
}

impl Present {
    fn of(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            match *name {
                header::CONNECTION => present.connection = true,
                header::TE => present.te = true,
                _ => {
                    let name = name.as_str();
                    present.forwarded |= name.starts_with("x-forwarded-");
                    present.request_start |= name == X_REQUEST_START.as_str();
                }
            }
        }
        present
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// As std would write it, without its formatter in the usual case.
fn address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        return out.extend_from_slice(address.to_string().as_bytes());
    };
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
}

/// The target's authority replaces the Host (RFC 9112 section 3.2.2).
pub(super) fn host(head: &http::request::Parts) -> &[u8] {
    if let Some(authority) = head.uri.authority() {
        return authority.as_str().as_bytes();
    }
    // It comes first, or nearly so: to look at the names is less than to hash this one.
    let mut fields = head.headers.iter();
    let host = fields.find(|(name, _)| **name == header::HOST);
    host.map_or(NO_HOST, |(_, host)| host.as_bytes())
}

/// Whether a request's field goes on to the app as it is. The others are hop-by-hop (RFC 9110 section 7.6.1), ours to
/// write, or would be read by the app as one of those: CGI-style apps take `X_Forwarded_For` for `X-Forwarded-For`.
fn passes(name: &HeaderName) -> bool {
    let name = name.as_str();
    if name.contains('_') {
        return !is_ours(&name.replace('_', "-"));
    }
    !is_ours_in_place(name)
}

/// Whether a field may come behind a request's body. Not what frames it, routes it or says who sent it: an app that takes
/// trailers for headers would believe them (RFC 9110 section 6.5.1).
pub(super) fn may_trail(name: &HeaderName) -> bool {
    let dashed = name.as_str().replace('_', "-");
    !is_ours(&dashed)
        && !dashed.starts_with("content-")
        && !matches!(
            *name,
            header::AUTHORIZATION | header::COOKIE | header::RANGE | header::CACHE_CONTROL
        )
}

fn is_ours_in_place(name: &str) -> bool {
    // X-Request-Start is kept where the client, or the proxy before us, has set it.
    matches!(
        name,
        "host"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "expect"
            | "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-proto"
            | "x-request-id"
            | "x-sendfile"
            | "x-sendfile-type"
    ) || name.starts_with("x-accel-")
}

fn is_ours(dashed: &str) -> bool {
    is_ours_in_place(dashed)
        || matches!(
            dashed,
            "x-request-start"
                | "content-length"
                | "content-type"
                | "x-real-ip"
                | "x-forwarded-port"
                | "x-forwarded-ssl"
                | "x-forwarded-scheme"
        )
}

/// The fields that `Connection` names (RFC 9110 section 7.6.1).
struct Named<'a>(Vec<&'a [u8]>);

impl<'a> Named<'a> {
    fn by(headers: &'a HeaderMap) -> Self {
        let mut names = Vec::new();
        for value in headers.get_all(header::CONNECTION) {
            let options = value
                .as_bytes()
                .split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii);
            names.extend(options.filter(|option| !is_connection_option(option)));
        }
        Self(names)
    }

    /// What is end-to-end by definition cannot be named away: a request without its length would be another request.
    fn names(&self, name: &HeaderName) -> bool {
        !self.0.is_empty()
            && !matches!(
                *name,
                header::CONTENT_LENGTH
                    | header::HOST
                    | header::CONTENT_TYPE
                    | header::COOKIE
                    | header::AUTHORIZATION
            )
            && self
                .0
                .iter()
                .any(|named| named.eq_ignore_ascii_case(name.as_ref()))
    }
}

/// The usual options, which name nothing that is not removed anyway.
fn is_connection_option(option: &[u8]) -> bool {
    option.is_empty()
        || option.eq_ignore_ascii_case(b"keep-alive")
        || option.eq_ignore_ascii_case(b"close")
        || option.eq_ignore_ascii_case(b"upgrade")
        || option.eq_ignore_ascii_case(b"te")
}

/// Thruster's rules. Kept (`FORWARD_HEADERS`): the peer is appended to the client's X-Forwarded-For, its -Host and -Proto
/// stay unless empty; what nobody may be believed is gone by now (see [`trust`](super::trust)). Not kept: all three are
/// ours, and the client is the one that we know of. `Forwarded` never goes on, we could not keep it true.
///
/// `keep` is also false where there is nothing to keep: then nobody has named a client but the peer.
fn forwarded(out: &mut Vec<u8>, request: &Request, host: &[u8], keep: bool) {
    let headers = &request.head.headers;
    out.extend_from_slice(b"x-forwarded-for: ");
    if keep {
        for value in headers.get_all(X_FORWARDED_FOR) {
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b", ");
        }
        address(out, request.client.address.ip());
    } else {
        address(out, request.client.ip);
    }
    out.extend_from_slice(b"\r\n");
    let kept = |name| {
        let value = keep.then(|| headers.get(name)).flatten();
        value
            .map(HeaderValue::as_bytes)
            .filter(|value| !value.is_empty())
    };
    field(
        out,
        X_FORWARDED_HOST.as_str(),
        kept(X_FORWARDED_HOST).unwrap_or(host),
    );
    let proto: &[u8] = if request.client.secure {
        b"https"
    } else {
        b"http"
    };
    field(
        out,
        X_FORWARDED_PROTO.as_str(),
        kept(X_FORWARDED_PROTO).unwrap_or(proto),
    );
}

fn says(headers: &HeaderMap, name: HeaderName) -> bool {
    headers.get(name).is_some_and(|value| !value.is_empty())
}

/// When the request came in, in milliseconds since 1970, for the app's queue-time metrics; kept if it is there.
fn request_start(out: &mut Vec<u8>) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    out.extend_from_slice(b"x-request-start: t=");
    // Enough for 584 million years.
    let millis = now.as_secs() * 1_000 + u64::from(now.subsec_millis());
    out.extend_from_slice(itoa::Buffer::new().format(millis).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The protocol that the client wants to switch to; never `h2c`, through which requests could be smuggled past us.
fn upgrade_token(headers: &HeaderMap) -> Option<&HeaderValue> {
    let asks = headers.get_all(header::CONNECTION).iter().any(|value| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    let token = headers.get(header::UPGRADE)?;
    let mut tokens = token.as_bytes().split(|byte| *byte == b',');
    let h2c = tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"h2c"));
    (asks && !h2c).then_some(token)
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Takes from an answer what was meant for us alone. `Trailer` stays: it says which trailers follow.
pub(super) fn strip_answer(headers: &mut HeaderMap) {
    if has(headers, &header::CONNECTION) {
        let named: Vec<HeaderName> = Named::by(headers)
            .0
            .into_iter()
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .filter(|name| {
                !matches!(
                    *name,
                    header::CONTENT_LENGTH | header::CONTENT_TYPE | header::SET_COOKIE
                )
            })
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    let hop = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "keep-alive"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "te"
                | "transfer-encoding"
                | "upgrade"
        )
    };
    // Most answers have none, and one pass finds that out.
    while let Some(name) = headers.keys().find(|name| hop(name)).cloned() {
        headers.remove(name);
    }
}

/// Whether an answer is a stream of events, which ends when somebody leaves.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.len() >= 17 && value[..17].eq_ignore_ascii_case(b"text/event-stream")
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::handler::{Client, RequestBody, RequestId, Upgrade};

    fn request(head: http::Request<()>) -> Request {
        let (_, upgrade) = Upgrade::pair();
        Request {
            head: head.into_parts().0,
            body: RequestBody::empty(),
            client: Client::nobody(SocketAddr::from(([127, 0, 0, 1], 1234))),
            upgrade: Some(upgrade),
            id: RequestId::Made(*b"00000000-0000-4000-8000-000000000000"),
        }
    }

    fn written(request: &Request, keep: bool) -> Vec<u8> {
        let mut out = Vec::new();
        write(request, keep, b"", &mut out);
        out
    }

    fn with(fields: &[(HeaderName, HeaderValue)]) -> Request {
        let mut head = http::Request::builder()
            .uri("/a?b")
            .header("host", "a.example")
            .body(())
            .unwrap();
        for (name, value) in fields {
            head.headers_mut().append(name, value.clone());
        }
        request(head)
    }

    /// The field lines of a head, its request line left out.
    fn lines(head: &[u8]) -> Vec<(String, Vec<u8>)> {
        let body = head.strip_suffix(b"\r\n\r\n").unwrap();
        let mut lines = Vec::new();
        for line in body.split(|byte| *byte == b'\n').skip(1) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = line.iter().position(|byte| *byte == b':').unwrap();
            let name = String::from_utf8(line[..colon].to_vec()).unwrap();
            lines.push((name, line[colon + 2..].to_vec()));
        }
        lines
    }

    fn values<'a>(lines: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
        lines
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| value.as_slice())
            .collect()
    }

    /// Names that mean something to a proxy, spelled in all ways, and any other.
    fn name() -> impl Strategy<Value = HeaderName> {
        let known = prop::sample::select(vec![
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "expect",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
            "x-request-start",
            "proxy-authorization",
            "x_forwarded_for",
            "x-forwarded_proto",
            "transfer_encoding",
            "content_length",
            "x-sendfile",
            "x_sendfile-type",
            "x-sendfile-type",
            "x-accel-mapping",
            "x_accel_redirect",
            "x-mine",
            "cookie",
            "accept",
        ]);
        let any = "[a-zA-Z][a-zA-Z0-9_-]{0,12}";
        prop_oneof![known.prop_map(str::to_owned), any.prop_map(String::from)]
            .prop_map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    fn value() -> impl Strategy<Value = HeaderValue> {
        let options = prop::sample::select(vec![
            "close",
            "keep-alive, x-mine",
            "X-Mine,, x-other ",
            "upgrade",
            "te, host",
            "websocket",
            "h2c",
            "trailers",
            "chunked",
            "10.0.0.1, 10.0.0.2",
            "",
        ]);
        let any = prop::collection::vec(any::<u8>(), 0..20);
        prop_oneof![
            options.prop_map(HeaderValue::from_static),
            any.prop_filter_map("what HTTP allows in a value", |bytes| {
                HeaderValue::from_bytes(&bytes).ok()
            }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_comes_in_one_line_goes_out_in_one(fields in prop::collection::vec((name(), value()), 0..20), keep: bool) {
            let head = written(&with(&fields), keep);
            let text = &head[..head.len() - 4];
            prop_assert!(head.ends_with(b"\r\n\r\n"));
            prop_assert!(!text.contains(&0));
            // Each line feed ends a line, each carriage return stands before one, and no line is empty.
            for (at, byte) in text.iter().enumerate() {
                match byte {
                    b'\n' => prop_assert!(at > 0 && text[at - 1] == b'\r' && text[at + 1] != b'\r'),
                    b'\r' => prop_assert_eq!(text[at + 1], b'\n'),
                    _ => {}
                }
            }
            // And of what was not asked for there is nothing.
            let sent = lines(&head).len();
            prop_assert!(sent <= fields.len() + 9, "{} of {}", sent, fields.len());
        }

        #[test]
        fn what_is_hop_by_hop_never_passes(fields in prop::collection::vec((name(), value()), 0..20), keep: bool) {
            let request = with(&fields);
            let lines = lines(&written(&request, keep));
            for name in ["keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "trailer",
                "transfer-encoding", "http2-settings", "expect", "forwarded", "x-sendfile", "x-sendfile-type", "x-accel-mapping"] {
                prop_assert_eq!(values(&lines, name).len(), 0, "{}", name);
            }
            // What is ours stands there once, whatever the client and its Connection said.
            for name in ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"] {
                prop_assert_eq!(values(&lines, name).len(), 1, "{}", name);
            }
            prop_assert!(values(&lines, "connection").len() <= 1);
            prop_assert!(lines.iter().all(|(name, _)| !is_ours(&name.replace('_', "-")) || !name.contains('_')));
            let named = Named::by(&request.head.headers);
            for (name, _) in &lines {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                prop_assert!(!named.names(&name) || is_ours_in_place(name.as_str()) || name == X_REQUEST_START, "{}", name);
            }
        }

        #[test]
        fn the_peer_is_the_last_that_x_forwarded_for_names(fields in prop::collection::vec((name(), value()), 0..20), keep: bool) {
            let lines = lines(&written(&with(&fields), keep));
            let value = values(&lines, "x-forwarded-for")[0];
            prop_assert!(value.ends_with(b"127.0.0.1"));
            prop_assert!(keep || value == b"127.0.0.1");
        }

        #[test]
        fn nothing_hop_by_hop_is_left_of_an_answer(fields in prop::collection::vec((name(), value()), 0..20)) {
            let mut headers: HeaderMap = fields.into_iter().collect();
            let all: Vec<Vec<u8>> = Named::by(&headers).0.iter().map(|name| name.to_vec()).collect();
            strip_answer(&mut headers);
            for name in ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"] {
                prop_assert!(!headers.contains_key(name), "{}", name);
            }
            for name in all.iter().filter_map(|name| HeaderName::from_bytes(name).ok()) {
                let end_to_end = matches!(name, header::CONTENT_LENGTH | header::CONTENT_TYPE | header::SET_COOKIE);
                prop_assert!(end_to_end || !headers.contains_key(&name), "{}", name);
            }
        }

        #[test]
        fn no_trailer_may_say_who_sent_it_or_how_long_it_is(name in name()) {
            if may_trail(&name) {
                let dashed = name.as_str().replace('_', "-");
                prop_assert!(!dashed.starts_with("x-forwarded") && !dashed.starts_with("content-"));
                prop_assert!(passes(&name));
            }
        }
    }
}

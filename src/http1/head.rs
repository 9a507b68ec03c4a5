//! The head of the app's answer: status, headers, and how long the body will be (RFC 9112 section 6.3).

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// The longest head that we read, in bytes.
pub(super) const MAX_HEAD: usize = 256 * 1024;

/// The most headers that we read.
const MAX_HEADERS: usize = 128;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// So many bytes follow.
    Length(u64),
    /// Chunks follow (RFC 9112 section 7.1).
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// A parsed head.
#[derive(Debug)]
pub struct Head {
    /// The status code.
    pub status: StatusCode,
    /// All headers, framing included, but for a `Connection` that says no more than whether it is kept.
    pub headers: HeaderMap,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the app keeps the connection open afterwards.
    pub keep_alive: bool,
}

/// The head is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the app's answer is not HTTP/1")]
pub(super) struct BadHead;

/// Takes a head off the front of `buffer`; none if it is not whole yet. `scratch` is an old map whose room is used again.
pub(super) fn parse(
    buffer: &mut BytesMut,
    method: &Method,
    scratch: &mut HeaderMap,
) -> Result<Option<Head>, BadHead> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, buffer, &mut fields)
        .map_err(|_| BadHead)?;
    let httparse::Status::Complete(length) = parsed else {
        return if buffer.len() > MAX_HEAD {
            Err(BadHead)
        } else {
            Ok(None)
        };
    };
    let status = response.code.ok_or(BadHead)?;
    let minor = response.version.ok_or(BadHead)?;
    let head = &buffer[..length];
    let (mut headers, present) = collect(head, response.headers, std::mem::take(scratch))?;
    buffer.advance(length);
    let status = StatusCode::from_u16(status).map_err(|_| BadHead)?;
    let (framing, certain) = framing(status, method, minor, &headers, present)?;
    match framing {
        // The chunks decide; whoever believed the length would read something else (RFC 9112 section 6.3).
        Framing::Chunked if !certain => drop(headers.remove(header::CONTENT_LENGTH)),
        // Said once, as everybody understands it.
        Framing::Length(length) if !certain => {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        _ => {}
    }
    let keep_alive = certain && framing != Framing::UntilClose && present.keeps_alive(minor);
    Ok(Some(Head {
        status,
        headers,
        framing,
        keep_alive,
    }))
}

/// What the fields say of framing, noted as they come: to look for each later would hash its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Present {
    length: bool,
    coding: bool,
    /// `Connection: close`, and keep-alive.
    close: bool,
    keep: bool,
}

impl Present {
    /// Whether the field is to be known of beyond this.
    fn note(&mut self, name: &HeaderName, value: &[u8]) -> bool {
        match *name {
            header::CONTENT_LENGTH => self.length = true,
            header::TRANSFER_ENCODING => self.coding = true,
            header::CONNECTION => return self.connection(value),
            _ => {}
        }
        true
    }

    fn connection(&mut self, value: &[u8]) -> bool {
        let mut other = false;
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            match option {
                _ if option.eq_ignore_ascii_case(b"close") => self.close = true,
                _ if option.eq_ignore_ascii_case(b"keep-alive") => self.keep = true,
                _ => other = true,
            }
        }
        other
    }

    fn keeps_alive(self, minor: u8) -> bool {
        if minor > 0 { !self.close } else { self.keep }
    }
}

/// The headers, as slices of one copy of the head: the read buffer stays ours alone and is filled again in place.
fn collect(
    head: &[u8],
    fields: &[httparse::Header<'_>],
    mut headers: HeaderMap,
) -> Result<(HeaderMap, Present), BadHead> {
    let mut present = Present::default();
    let bytes = Bytes::copy_from_slice(head);
    headers.clear();
    // With room for what is added on the way back: the map would grow, and hash everything anew.
    headers.reserve(fields.len() + 4);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadHead)?;
        if !present.note(&name, field.value) {
            continue;
        }
        let from = field.value.as_ptr().addr() - head.as_ptr().addr();
        // An empty value may point anywhere.
        let value = if field.value.is_empty() {
            Bytes::new()
        } else {
            bytes.slice(from..from + field.value.len())
        };
        headers.append(
            name,
            HeaderValue::from_maybe_shared(value).map_err(|_| BadHead)?,
        );
    }
    Ok((headers, present))
}

/// The framing, and whether it is beyond doubt: a connection whose framing is in doubt is not used again.
fn framing(
    status: StatusCode,
    method: &Method,
    minor: u8,
    headers: &HeaderMap,
    present: Present,
) -> Result<(Framing, bool), BadHead> {
    let bodiless = status.is_informational() || matches!(status.as_u16(), 204 | 304);
    if bodiless || method == Method::HEAD {
        return Ok((Framing::Empty, true));
    }
    if present.coding {
        // Any other coding would reach the client without its name.
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let chunked = codings.next().is_some_and(is_chunked) && codings.next().is_none();
        if minor == 0 || !chunked {
            return Err(BadHead);
        }
        return Ok((Framing::Chunked, !present.length));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else {
        return Ok((Framing::UntilClose, true));
    };
    let length = parse_length(first).ok_or(BadHead)?;
    let mut certain = !first.as_bytes().contains(&b',');
    for other in lengths {
        certain = false;
        if parse_length(other) != Some(length) {
            return Err(BadHead);
        }
    }
    let framing = if length == 0 {
        Framing::Empty
    } else {
        Framing::Length(length)
    };
    Ok((framing, certain))
}

/// `5`, and `5, 5` (RFC 9110 section 8.6 lets a recipient fold equal values), but not `+5`.
fn parse_length(value: &HeaderValue) -> Option<u64> {
    let mut values = value.to_str().ok()?.split(',').map(str::trim);
    let digits = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let first: u64 = digits(values.next()?)?;
    values
        .all(|other| digits(other) == Some(first))
        .then_some(first)
}

fn is_chunked(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, BadHead> {
        parse(
            &mut BytesMut::from(text),
            &Method::GET,
            &mut HeaderMap::new(),
        )
    }

    fn framed(fields: &str) -> Option<(Framing, bool)> {
        let head = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).ok()??;
        Some((head.framing, head.keep_alive))
    }

    #[test]
    fn a_head_that_is_not_whole_is_awaited() {
        assert!(head("HTTP/1.1 200 OK\r\nContent-Le").unwrap().is_none());
        assert!(head("").unwrap().is_none());
    }

    #[test]
    fn framing_follows_rfc_9112_section_6_3() {
        for (fields, expected) in [
            ("Content-Length: 5\r\n", Some((Framing::Length(5), true))),
            ("Content-Length: 0\r\n", Some((Framing::Empty, true))),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                Some((Framing::Length(5), false)),
            ),
            (
                "Content-Length: 5, 5\r\n",
                Some((Framing::Length(5), false)),
            ),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", None),
            ("Content-Length: +5\r\n", None),
            ("Content-Length: \r\n", None),
            (
                "Transfer-Encoding: chunked\r\n",
                Some((Framing::Chunked, true)),
            ),
            ("Transfer-Encoding: gzip, Chunked\r\n", None),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                None,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                Some((Framing::Chunked, false)),
            ),
            ("Transfer-Encoding: gzip\r\n", None),
            ("", Some((Framing::UntilClose, false))),
            (
                "Content-Length: 5\r\nConnection: foo, Close\r\n",
                Some((Framing::Length(5), false)),
            ),
        ] {
            assert_eq!(framed(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn an_http_1_0_app_keeps_alive_only_when_it_says_so() {
        let old = |fields: &str| {
            head(&format!(
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n{fields}\r\n"
            ))
        };
        assert!(!old("").unwrap().unwrap().keep_alive);
        assert!(
            old("Connection: keep-alive\r\n")
                .unwrap()
                .unwrap()
                .keep_alive
        );
    }

    #[test]
    fn the_answer_to_head_has_no_body_whatever_its_length_says() {
        let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        let head = parse(&mut buffer, &Method::HEAD, &mut HeaderMap::new())
            .unwrap()
            .unwrap();
        assert_eq!(head.framing, Framing::Empty);
        assert_eq!(head.headers["content-length"], "5");
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for text in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 99999 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
        ] {
            assert!(head(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let text = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        assert!(head(&text).is_err());
    }
}

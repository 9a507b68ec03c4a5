//! A file as the body of an answer: its validators, conditions and ranges (RFC 9110 sections 8.8, 13 and 14).

use std::{fmt::Write as _, ops::Range, path::Path, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response::Parts};

use super::asked::{Asked, Reads};
use crate::{
    content::{
        multipart::Multipart,
        precondition::{self, Outcome, Validators},
        range::{self, Ranges},
    },
    files::{OpenFile, Pieces},
    handler::{Body, Cause, Response},
};

/// What is wanted of a file.
enum Wanted {
    Whole,
    /// Of a 206.
    Part(Ranges),
    /// Nothing: the client has it, or another one, or asks for what is not there.
    Nothing(StatusCode),
}

/// The answer whose head is `head`, as far as the app has said anything, and whose body is `file`.
pub(super) fn file_answer(
    mut head: Parts,
    name: &Path,
    file: Arc<OpenFile>,
    asked: &Asked,
) -> Response {
    describe(&mut head.headers, name, &file);
    let wanted = match head.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT if asked.reads != Reads::No => {
            head.status = StatusCode::OK;
            head.headers
                .insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            wanted(&head.headers, &file, asked)
        }
        // A page for an error is sent as it is.
        _ => Wanted::Whole,
    };
    let (length, body) = match wanted {
        Wanted::Nothing(status) => return nothing(head, status, &file),
        Wanted::Whole => whole(file, asked),
        Wanted::Part(ranges) => {
            head.status = StatusCode::PARTIAL_CONTENT;
            part(&mut head.headers, file, ranges, asked)
        }
    };
    head.headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let body = match asked.reads {
        Reads::Head => Body::empty(),
        Reads::Get | Reads::No => body,
    };
    Box::new(http::Response::from_parts(head, body))
}

/// What is to be known of the file, where the app has not said it.
fn describe(headers: &mut HeaderMap, name: &Path, file: &OpenFile) {
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONTENT_RANGE);
    headers.remove(header::TRAILER);
    if !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, content_type(name));
    }
    // A date to come says nothing (RFC 9110 section 8.8.2.1).
    if !headers.contains_key(header::LAST_MODIFIED) && file.modified() <= SystemTime::now() {
        headers.insert(header::LAST_MODIFIED, file.date(|| date(file)));
    }
    if !headers.contains_key(header::ETAG) {
        let tag = match headers.get(header::CONTENT_ENCODING) {
            None => file.tag(|| etag(file, None)),
            coding => etag(file, coding),
        };
        headers.insert(header::ETAG, tag);
    }
}

/// When it was written (RFC 9110 section 8.8.2).
fn date(file: &OpenFile) -> HeaderValue {
    let date = httpdate::fmt_http_date(file.modified());
    HeaderValue::try_from(date).expect("letters, digits and punctuation make a value")
}

/// By when it was written and how long it is, which is the same on all machines that have the same image; each coding of
/// the same content has a tag of its own (RFC 9110 section 8.8.3.3).
fn etag(file: &OpenFile, coding: Option<&HeaderValue>) -> HeaderValue {
    let mut tag = String::with_capacity(48);
    // Writing to a string cannot fail.
    let _ = write!(tag, "\"{:x}-{:x}", file.version(), file.length());
    if let Some(coding) = coding {
        tag.push('-');
        let plain = |byte: &&u8| byte.is_ascii_alphanumeric();
        tag.extend(
            coding
                .as_bytes()
                .iter()
                .filter(plain)
                .map(|byte| char::from(*byte)),
        );
    }
    tag.push('"');
    HeaderValue::try_from(tag).expect("letters, digits and hyphens make a value")
}

/// The media type that the name stands for; texts are taken to be in UTF-8.
fn content_type(name: &Path) -> HeaderValue {
    match mime_guess::from_path(name).first_raw() {
        None => HeaderValue::from_static("application/octet-stream"),
        // The usual ones need no memory of their own.
        Some("text/html") => HeaderValue::from_static("text/html; charset=utf-8"),
        Some("text/css") => HeaderValue::from_static("text/css; charset=utf-8"),
        Some("text/javascript") => HeaderValue::from_static("text/javascript; charset=utf-8"),
        Some(text) if text.starts_with("text/") => {
            HeaderValue::try_from(format!("{text}; charset=utf-8"))
                .expect("a media type makes a value")
        }
        Some(other) => HeaderValue::from_static(other),
    }
}

fn wanted(headers: &HeaderMap, file: &OpenFile, asked: &Asked) -> Wanted {
    let Some(conditions) = asked.conditions() else {
        return Wanted::Whole;
    };
    let validators = Validators::of(headers);
    match precondition::evaluate(&asked.method(), conditions, &validators) {
        Outcome::NotModified => return Wanted::Nothing(StatusCode::NOT_MODIFIED),
        Outcome::Failed => return Wanted::Nothing(StatusCode::PRECONDITION_FAILED),
        Outcome::Proceed => {}
    }
    // Only GET has ranges (RFC 9110 section 14.2).
    if asked.reads != Reads::Get || !precondition::range_holds(conditions, &validators) {
        return Wanted::Whole;
    }
    match Ranges::of(conditions, file.length()) {
        Ranges::Whole => Wanted::Whole,
        Ranges::Unsatisfiable => Wanted::Nothing(StatusCode::RANGE_NOT_SATISFIABLE),
        ranges => Wanted::Part(ranges),
    }
}

fn whole(file: Arc<OpenFile>, asked: &Asked) -> (u64, Body) {
    let length = file.length();
    (length, Body::file(Pieces::of(file, 0..length, asked.way)))
}

/// A 206 (RFC 9110 section 15.3.7).
fn part(
    headers: &mut HeaderMap,
    file: Arc<OpenFile>,
    ranges: Ranges,
    asked: &Asked,
) -> (u64, Body) {
    let length = file.length();
    match ranges {
        Ranges::One(range) => {
            headers.insert(header::CONTENT_RANGE, range::content_range(&range, length));
            let Range { start, end } = range;
            (end - start, Body::file(Pieces::of(file, range, asked.way)))
        }
        Ranges::Many(ranges) => {
            let kind = headers.get(header::CONTENT_TYPE);
            let multipart = Multipart::new(&ranges, length, kind);
            headers.insert(header::CONTENT_TYPE, multipart.content_type.clone());
            let length = multipart.length;
            (
                length,
                Body::file(Pieces::multipart(file, multipart, asked.way)),
            )
        }
        Ranges::Whole | Ranges::Unsatisfiable => whole(file, asked),
    }
}

/// An answer that says nothing about the bytes, as none are sent.
fn nothing(mut head: Parts, status: StatusCode, file: &OpenFile) -> Response {
    const OF_THE_BYTES: [HeaderName; 4] = [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_DISPOSITION,
        header::ACCEPT_RANGES,
    ];
    head.status = status;
    for name in OF_THE_BYTES {
        head.headers.remove(name);
    }
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        let range = range::unsatisfied(file.length());
        head.headers.insert(header::CONTENT_RANGE, range);
    }
    if status != StatusCode::NOT_MODIFIED {
        head.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let cause = match status {
        StatusCode::RANGE_NOT_SATISFIABLE => Some(Cause::RangeNotSatisfiable),
        StatusCode::PRECONDITION_FAILED => Some(Cause::PreconditionFailed),
        _ => None,
    };
    cause.map(|cause| head.extensions.insert(cause));
    Box::new(http::Response::from_parts(head, Body::empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_comes_from_the_name() {
        for (name, expected) in [
            ("a/b.html", "text/html; charset=utf-8"),
            ("app.CSS", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.csv", "text/csv; charset=utf-8"),
            ("a.png", "image/png"),
            ("a.svg", "image/svg+xml"),
            ("a.woff2", "font/woff2"),
            ("a.tar.gz", "application/gzip"),
            ("a.json", "application/json"),
            ("noextension", "application/octet-stream"),
            ("a.unheard-of", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn each_coding_has_its_own_tag() {
        let file = OpenFile::open(Path::new("/proc/self/exe")).unwrap();
        let tag = |coding| etag(&file, Some(HeaderValue::from_static(coding)).as_ref());
        let plain = etag(&file, None);
        assert!(plain.as_bytes().starts_with(b"\"") && plain != tag("gzip"));
        assert!(tag("gzip") != tag("br") && !tag("a\"b").as_bytes()[1..].starts_with(b"\""));
    }
}

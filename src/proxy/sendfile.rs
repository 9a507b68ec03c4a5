//! Files that the app names instead of sending them: X-Sendfile, and X-Accel-Redirect for what ACCEL_MAPPING maps.
//!
//! The app's status and fields stay; conditions and ranges are held against the file, outside of the cache, which knows
//! the heads of such answers only.

use std::{
    borrow::Cow,
    ffi::OsStr,
    future::poll_fn,
    os::unix::ffi::OsStrExt,
    path::Path,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;
use tokio::task::spawn_local;

use super::{FileSettings, accel::Accel, asked::Asked, file_answer::file_answer, percent};
use crate::{
    files::{OpenError, OpenFiles},
    handler::{Body, Cause, Handler, Request, Response, answer},
};

const X_SENDFILE: HeaderName = HeaderName::from_static("x-sendfile");
const X_ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");

/// What an app may still send beside the name of a file, in bytes, and for how long, before its connection is given up.
const MOST_BESIDE: u64 = 1024 * 1024;
const LONGEST_BESIDE: Duration = Duration::from_secs(5);

/// Sends the files that the app names; takes the names away in any case.
#[derive(Debug)]
pub(super) struct Sendfile<H> {
    /// None where `X_SENDFILE_ENABLED` is off.
    sources: Option<Sources>,
    next: H,
}

#[derive(Debug)]
struct Sources {
    files: OpenFiles,
    accel: Accel,
}

/// How the app named a file.
enum Named {
    Path(HeaderValue),
    Uri(HeaderValue),
}

impl<H> Sendfile<H> {
    pub(super) fn new(settings: &FileSettings, next: H) -> Self {
        if settings.x_sendfile {
            announce();
        }
        let sources = || Sources {
            files: match &settings.root {
                Some(root) => OpenFiles::inside(root),
                None => OpenFiles::anywhere(),
            },
            accel: Accel::new(&settings.accel),
        };
        Self {
            sources: settings.x_sendfile.then(sources),
            next,
        }
    }
}

impl<H: Handler> Handler for Sendfile<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        let asked = self.sources.as_ref().map(|_| Asked::by(&request));
        let mut response = self.next.handle(request).await;
        let named = take_name(response.headers_mut());
        match (&self.sources, named, asked) {
            (Some(sources), Some(named), Some(asked)) if has_body(response.status()) => {
                sources.send(&named, *response, &asked)
            }
            _ => response,
        }
    }
}

impl Sources {
    fn send(&self, named: &Named, response: http::Response<Body>, asked: &Asked) -> Response {
        first_seen();
        let (head, body) = response.into_parts();
        discard(body);
        let opened = match named {
            Named::Path(path) => self
                .files
                .open(Path::new(OsStr::from_bytes(path.as_bytes()))),
            Named::Uri(uri) => self.accel.open(uri.as_bytes()),
        };
        match opened {
            Ok(file) => file_answer(
                head,
                Path::new(OsStr::from_bytes(&named.name())),
                file,
                asked,
            ),
            Err(error) => refused(&error, named),
        }
    }
}

impl Named {
    /// What the file is called, as a path.
    fn name(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Path(path) => path.as_bytes().into(),
            Self::Uri(uri) => percent::decoded_path(uri.as_bytes()),
        }
    }
}

/// Whether an answer of this status has a body that a file could be.
fn has_body(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Takes what was meant for us alone, and returns the name of a file if there is one.
fn take_name(headers: &mut HeaderMap) -> Option<Named> {
    // Most answers have none, and one pass finds that out.
    if !headers.keys().any(is_ours) {
        return None;
    }
    let path = headers.remove(X_SENDFILE).map(Named::Path);
    let named = path.or_else(|| headers.remove(X_ACCEL_REDIRECT).map(Named::Uri));
    while let Some(name) = headers.keys().find(|name| is_ours(name)).cloned() {
        headers.remove(name);
    }
    named
}

fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-accel-") || name.starts_with("x-sendfile")
}

/// 404, without a word about the path; the log has it.
fn refused(error: &OpenError, named: &Named) -> Response {
    let file = String::from_utf8_lossy(&named.name()).into_owned();
    tracing::warn!(file, reason = %error, "cannot send the file that the app named");
    let (status, cause) = match error {
        OpenError::Missing => (StatusCode::NOT_FOUND, Cause::FileMissing),
        OpenError::Refused(_) => (StatusCode::NOT_FOUND, Cause::FileRefused),
        OpenError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, Cause::FileFailed),
    };
    let text = match status {
        StatusCode::NOT_FOUND => "There is no such file.\n",
        _ => "The file cannot be read.\n",
    };
    answer(status, cause, text)
}

/// Lets the app finish what it sends beside the name, so that its connection can be used again.
fn discard(mut body: Body) {
    if body.is_end_stream() || body.size_hint().lower() > MOST_BESIDE {
        return;
    }
    spawn_local(tokio::time::timeout(LONGEST_BESIDE, async move {
        let mut left = MOST_BESIDE;
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let Some(Ok(frame)) = frame else { return };
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            let Some(rest) = left.checked_sub(length) else {
                return;
            };
            left = rest;
        }
    }));
}

/// Says once that the app may name files. Rack no longer does by itself (CVE-2025-61780), and nobody would notice.
fn announce() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        tracing::info!(
            seen = false,
            rails = "config.action_dispatch.x_sendfile_header = \"X-Sendfile\"",
            "X-Sendfile is on; no response has used it yet"
        );
    }
}

/// Says once that it does.
fn first_seen() {
    static SEEN: AtomicBool = AtomicBool::new(false);
    if !SEEN.load(Ordering::Relaxed) && !SEEN.swap(true, Ordering::Relaxed) {
        tracing::info!(seen = true, "the app names files with X-Sendfile");
    }
}

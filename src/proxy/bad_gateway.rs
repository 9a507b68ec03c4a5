//! The page for when the app cannot answer: `BAD_GATEWAY_PAGE`, read again when the file changes.

use std::{
    cell::RefCell,
    fs::{File, Metadata},
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::PathBuf,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::handler::{Body, Cause, Response, answer};

/// The longest page that is served, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// How long a client is asked to wait before it tries again, in seconds.
const RETRY_AFTER: &str = "1";

/// The page of one core.
#[derive(Debug)]
pub(super) struct BadGateway {
    path: Option<PathBuf>,
    read: RefCell<Option<(Identity, Bytes)>>,
}

/// What changes when a file does.
type Identity = (u64, u64, u64, i64, i64);

impl BadGateway {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            read: RefCell::new(None),
        }
    }

    /// The page, if there is one. It is small and was read before, so the kernel has it at hand; this is not a place
    /// where a request waits for a disk, and only failures come here.
    pub(super) fn page(&self) -> Option<Bytes> {
        let path = self.path.as_ref()?;
        // A pipe in its place would keep the core until somebody writes to it.
        let mut options = File::options();
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .ok()?;
        let metadata = file.metadata().ok().filter(Metadata::is_file)?;
        let identity = (
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        );
        let mut read = self.read.borrow_mut();
        if let Some((known, page)) = &*read
            && *known == identity
        {
            return Some(page.clone());
        }
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text).ok()?;
        let page = Bytes::from(text);
        *read = Some((identity, page.clone()));
        Some(page)
    }

    /// 502 with the page, or with `text`.
    pub(super) fn answer(&self, cause: Cause, text: &'static str) -> Response {
        let mut response = answer(StatusCode::BAD_GATEWAY, cause, text);
        if let Some(page) = self.page() {
            let html = HeaderValue::from_static("text/html");
            response.headers_mut().insert(header::CONTENT_TYPE, html);
            *response.body_mut() = Body::from(page);
        }
        response
    }
}

/// Asks the client to try again soon.
pub(super) fn retry_after(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    response
}

/// Asks the client to use another connection next time: this one, or this server, is about to go.
pub(super) fn closing(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

//! A page for people, from a file that is read again when it changes.

use std::{
    cell::RefCell,
    fs::{File, Metadata},
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::PathBuf,
};

use bytes::Bytes;
use http::{HeaderValue, header};

use crate::handler::{Body, Response};

/// The longest page that is served, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// The page of one core.
#[derive(Debug)]
pub(super) struct Page {
    path: Option<PathBuf>,
    read: RefCell<Option<(Identity, Bytes)>>,
}

/// What changes when a file does.
type Identity = (u64, u64, u64, i64, i64);

impl Page {
    /// The page in the file at `path`, which need not be there.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            read: RefCell::new(None),
        }
    }

    /// The page, if there is one. It is small and was read before, so the kernel has it at hand; this is not a place
    /// where a request waits for a disk, and only failures come here.
    pub(super) fn text(&self) -> Option<Bytes> {
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

    /// Puts the page, if there is one, in place of a text of ours.
    pub(super) fn dress(&self, response: &mut Response) {
        if let Some(page) = self.text() {
            let html = HeaderValue::from_static("text/html");
            response.headers_mut().insert(header::CONTENT_TYPE, html);
            *response.body_mut() = Body::from(page);
        }
    }
}

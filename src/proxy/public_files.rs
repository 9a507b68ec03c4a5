//! Files under PUBLIC_PATH, sent without the app, and the pages there for what we have to say ourselves.
//!
//! A name is looked up as Rails does it: `/a`, and `/a/`, is `a`, else `a.html`, else `a/index.html`. Looking up costs one
//! system call on the core, two for a name without a known extension; what the kernel has in its cache of names does not
//! wait for a disk.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{HeaderValue, StatusCode, header};

use super::{asked::Asked, digest, file_answer::file_answer, page::Page, percent};
use crate::{
    content::{Accepted, Coding},
    files::{OpenError, OpenFile, OpenFiles},
    handler::{Body, Cause, Handler, Request, Response, with_body},
};

/// For names that say which content they stand for.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// For all others: ask each time, which a 304 answers.
const ASK: &str = "no-cache";

/// Sends public files; where they are off it costs nothing.
#[derive(Debug)]
pub(super) struct PublicFiles<H> {
    public: Option<Public>,
    next: H,
}

#[derive(Debug)]
struct Public {
    files: OpenFiles,
    pages: [(StatusCode, Page); 4],
}

impl<H> PublicFiles<H> {
    /// `directory` is none where they are off.
    pub(super) fn new(directory: Option<&Path>, next: H) -> Self {
        Self {
            public: directory.map(Public::new),
            next,
        }
    }
}

impl<H: Handler> Handler for PublicFiles<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        let Some(public) = &self.public else {
            return self.next.handle(request).await;
        };
        if let Some(response) = public.answer(&request) {
            return response;
        }
        let mut response = self.next.handle(request).await;
        public.dress(&mut response);
        response
    }
}

impl Public {
    fn new(directory: &Path) -> Self {
        let page = |status: StatusCode| {
            let file = directory.join(format!("{}.html", status.as_u16()));
            (status, Page::new(Some(file)))
        };
        Self {
            files: OpenFiles::below(directory),
            pages: [
                StatusCode::NOT_FOUND,
                StatusCode::INTERNAL_SERVER_ERROR,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ]
            .map(page),
        }
    }

    /// The file that `request` asks for, if there is one.
    fn answer(&self, request: &Request) -> Option<Response> {
        let asked = Asked::by(request);
        // Who asks for another protocol wants no file.
        if !asked.reads() || request.upgrade.is_some() {
            return None;
        }
        let decoded = percent::decoded(request.head.uri.path().as_bytes());
        let name = Path::new(OsStr::from_bytes(plain(&decoded)?));
        let (name, file) = self.find(name)?;
        let headers = &request.head.headers;
        let has_forms = has_forms(&name);
        // A range is one of the plain form: whoever resumes a download has begun with that.
        let coded = (has_forms && !headers.contains_key(header::RANGE))
            .then(|| self.coded(&name, &Accepted::by(headers)));
        let (coding, file) = match coded.flatten() {
            Some((coding, file)) => (Some(coding), file),
            None => (None, file),
        };
        let mut response = with_body(Body::empty());
        let fields = response.headers_mut();
        let lifetime = if digest::is_in(&name) { FOREVER } else { ASK };
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(lifetime));
        if has_forms {
            fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        if let Some(coding) = coding {
            fields.insert(header::CONTENT_ENCODING, coding.value());
        }
        Some(file_answer(response.into_parts().0, &name, file, &asked))
    }

    /// The file of that name, or the page that it stands for.
    fn find(&self, name: &Path) -> Option<(PathBuf, Arc<OpenFile>)> {
        if name.as_os_str().is_empty() {
            return self.open("index.html".into());
        }
        let error = match self.files.open(name) {
            Ok(file) => return Some((name.to_owned(), file)),
            Err(error) => error,
        };
        if mime_guess::from_path(name).first_raw().is_some() {
            return None;
        }
        let mut page = name.as_os_str().to_owned();
        page.push(".html");
        match error {
            // What is not there is no directory.
            OpenError::Missing => self.open(page.into()),
            OpenError::Refused(_) => self
                .open(page.into())
                .or_else(|| self.open(name.join("index.html"))),
            OpenError::Failed(_) => None,
        }
    }

    fn open(&self, name: PathBuf) -> Option<(PathBuf, Arc<OpenFile>)> {
        let file = self.files.open(&name).ok()?;
        Some((name, file))
    }

    /// The form of the file that the client likes best, of those that lie beside it.
    fn coded(&self, name: &Path, accepted: &Accepted) -> Option<(Coding, Arc<OpenFile>)> {
        let mut codings = Coding::ALL.to_vec();
        while let Some(coding) = accepted.best(&codings) {
            let mut beside = name.as_os_str().to_owned();
            beside.push(coding.suffix());
            if let Ok(file) = self.files.open(Path::new(&beside)) {
                return Some((coding, file));
            }
            codings.retain(|other| *other != coding);
        }
        None
    }

    /// Shows the page for what we had to say ourselves.
    fn dress(&self, response: &mut Response) {
        if response.extensions().get::<Cause>().is_none() {
            return;
        }
        let page = self
            .pages
            .iter()
            .find(|(status, _)| *status == response.status());
        if let Some((_, page)) = page {
            page.dress(response);
        }
    }
}

/// The path below the directory, without a slash at its end; none of one that no public file can have: dot-files are nobody's business, `..` is one of
/// them, and an empty segment is another URI.
fn plain(path: &[u8]) -> Option<&[u8]> {
    let below = path.strip_prefix(b"/")?;
    let odd = |segment: &[u8]| segment.starts_with(b".") || segment.contains(&0);
    let mut segments = below.split(|byte| *byte == b'/');
    let inner = below.strip_suffix(b"/").unwrap_or(below);
    let is_odd = segments.any(odd)
        || (!inner.is_empty() && inner.split(|byte| *byte == b'/').any(<[u8]>::is_empty));
    (!is_odd).then_some(inner)
}

/// Whether a file of this name may have compressed forms beside it: not what is compressed already.
fn has_forms(name: &Path) -> bool {
    let kind = mime_guess::from_path(name).first_raw().unwrap_or_default();
    kind == "image/svg+xml"
        || !["image/", "audio/", "video/", "font/woff"]
            .iter()
            .any(|start| kind.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_files_and_odd_paths_are_nobodys() {
        for (path, expected) in [
            ("/", Some("")),
            ("/a", Some("a")),
            ("/a/b.c", Some("a/b.c")),
            ("/a/", Some("a")),
            ("/.env", None),
            ("/a/.git/config", None),
            ("/..", None),
            ("/a/../b", None),
            ("/./a", None),
            ("//a", None),
            ("/a//b", None),
            ("/a\0b", None),
            ("a", None),
            ("*", None),
        ] {
            assert_eq!(
                plain(path.as_bytes()),
                expected.map(str::as_bytes),
                "{path:?}"
            );
        }
    }

    #[test]
    fn what_is_compressed_already_has_no_other_forms() {
        for (name, expected) in [
            ("a.css", true),
            ("a.svg", true),
            ("a.wasm", true),
            ("a", true),
            ("a.png", false),
            ("a.woff2", false),
            ("a.mp4", false),
        ] {
            assert_eq!(has_forms(Path::new(name)), expected, "{name}");
        }
    }
}

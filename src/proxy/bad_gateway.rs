//! The answer for when the app cannot: 502, with the page of `BAD_GATEWAY_PAGE`.

use std::path::PathBuf;

use http::{HeaderValue, StatusCode, header};

use super::page::Page;
use crate::handler::{Cause, Response, answer};

/// How long a client is asked to wait before it tries again, in seconds.
const RETRY_AFTER: &str = "1";

/// Answers 502.
#[derive(Debug)]
pub(super) struct BadGateway {
    page: Page,
}

impl BadGateway {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self {
            page: Page::new(path),
        }
    }

    /// Whether there is a page.
    pub(super) fn has_page(&self) -> bool {
        self.page.text().is_some()
    }

    /// 502 with the page, or with `text`.
    pub(super) fn answer(&self, cause: Cause, text: &'static str) -> Response {
        let mut response = answer(StatusCode::BAD_GATEWAY, cause, text);
        self.page.dress(&mut response);
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

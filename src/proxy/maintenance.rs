//! The service closed to its users on purpose: a page for everybody but the health check.

use std::path::PathBuf;

use http::{HeaderValue, StatusCode, header};

use super::{App, health::asks_for_health, hold::prefers_html, page::Page};
use crate::handler::{Body, Cause, Handler, Request, Response, answer};

const TEXT: &str = "Down for maintenance. Try again later.\n";

/// For browsers, where there is no page of the user's own.
const PAGE: &str = include_str!("maintenance.html");

/// Answers for the app while that is asked for.
#[derive(Debug)]
pub(super) struct Maintenance<H> {
    app: App,
    page: Page,
    health_path: Option<String>,
    next: H,
}

impl<H> Maintenance<H> {
    pub(super) fn new(
        app: App,
        page: Option<PathBuf>,
        health_path: Option<String>,
        next: H,
    ) -> Self {
        Self {
            app,
            page: Page::new(page),
            health_path,
            next,
        }
    }

    /// 503, with `Retry-After` in seconds.
    fn answer(&self, request: &Request, seconds: u32) -> Response {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut response = answer(status, Cause::Maintenance, TEXT);
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, seconds.into());
        let not_stored = HeaderValue::from_static("no-store");
        headers.insert(header::CACHE_CONTROL, not_stored);
        if prefers_html(&request.head.headers) {
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            headers.insert(header::CONTENT_TYPE, html);
            *response.body_mut() = Body::from(PAGE);
            self.page.dress(&mut response);
        }
        response
    }
}

impl<H: Handler> Handler for Maintenance<H> {
    async fn handle(&self, request: Box<Request>) -> Response {
        match self.app.maintenance() {
            // Whoever asks for our health is to go on sending us requests.
            Some(seconds) if !asks_for_health(self.health_path.as_deref(), &request) => {
                self.answer(&request, seconds)
            }
            _ => self.next.handle(request).await,
        }
    }
}

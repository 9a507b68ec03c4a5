//! The kind of a response, as far as its connection cares.

use http::{HeaderMap, header};

/// Whether a response is an event stream, which nobody waits for.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.len() >= 17 && value[..17].eq_ignore_ascii_case(b"text/event-stream")
    })
}

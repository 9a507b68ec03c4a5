//! What holds for every response, whatever the case expects.

use crate::{origin::Script, support::Response};

/// What is wrong with `response`, whose decoded body is `body`.
pub(crate) fn of(response: &Response, body: &[u8], script: &Script) -> Result<(), String> {
    let cache = response.field("x-cache").unwrap_or_default();
    let reused = matches!(&*cache, "hit" | "stale");
    if !["", "hit", "miss", "bypass", "stale", "revalidated"].contains(&&*cache) {
        return Err(format!("X-Cache is {cache:?}"));
    }
    if reused && response.field("set-cookie").is_some() {
        return Err("a cookie from the store".into());
    }
    let age = response.field("age");
    if age.is_none() && reused && response.status != 416 {
        // RFC 9111 section 4.
        return Err("Age is missing".into());
    }
    if let Some(status) = response.field("cache-status")
        && !status.contains("Thrust")
    {
        return Err(format!("Cache-Status is {status:?}"));
    }
    if response.status == 304 && !body.is_empty() {
        return Err("a 304 with a body".into());
    }
    if cache == "hit" && !script.sent.is_empty() {
        return Err("a hit, but the app was asked".into());
    }
    body_is_the_apps(response, body, script)
}

/// No whole body but one that the app gave, byte for byte.
fn body_is_the_apps(response: &Response, body: &[u8], script: &Script) -> Result<(), String> {
    let from_the_app = response.status == 200 && response.field("x-cache").is_some();
    let sends_files = script.given.iter().any(Vec::is_empty);
    let known = body.is_empty() || script.given.iter().any(|given| given == body);
    if from_the_app && !sends_files && !known {
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        return Err(format!("no body of the app's: {start:?}"));
    }
    Ok(())
}

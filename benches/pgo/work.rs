//! The work: who asks what, how often.

use std::future::Future;

use tokio::task::{JoinHandle, spawn_local};

use crate::{
    CLIENTS, Result, app,
    client::{Ask, Way, ask_at_once, ask_in_turn, tunnel},
    run::{Front, Run},
};

/// What a browser sends along.
const BROWSER: &[(&str, &str)] = &[
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-US,en;q=0.9"),
    ("cookie", "_app_session=Zm9vYmFyYmF6cXV4; theme=dark"),
    ("referer", "https://localhost/"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("upgrade-insecure-requests", "1"),
];

/// A browser that has it already.
const AGAIN: &[(&str, &str)] = &[
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    ),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("if-none-match", "W/\"5f2a\", \"5f2a\""),
];

/// One that knows only gzip.
const OLD: &[(&str, &str)] = &[("user-agent", "curl/8.5.0"), ("accept-encoding", "gzip")];

/// A program: it says next to nothing.
const PROGRAM: &[(&str, &str)] = &[("user-agent", "curl/8.5.0"), ("accept", "*/*")];

const FORM: &[u8] = &[b'f'; 1024];

const fn get(
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
    length: Option<usize>,
) -> Ask {
    Ask {
        path,
        body: &[],
        fields,
        status: 200,
        length,
    }
}

/// What makes up most of a day: small answers that nothing is done to, and assets from the cache.
const USUAL: &[Ask] = &[
    get("/note", BROWSER, Some(app::NOTE)),
    get("/json", PROGRAM, Some(app::JSON)),
    get("/asset.css", BROWSER, None),
    get("/note", PROGRAM, Some(app::NOTE)),
    get("/asset.css", PROGRAM, Some(app::ASSET)),
    get("/image", BROWSER, Some(app::IMAGE)),
    get("/json", BROWSER, None),
    get("/download", BROWSER, Some(app::IMAGE)),
    Ask {
        path: "/form",
        body: FORM,
        fields: BROWSER,
        status: 303,
        length: Some(0),
    },
    get("/json", PROGRAM, Some(app::JSON)),
    get("/asset.css", PROGRAM, Some(app::ASSET)),
    get("/download", PROGRAM, Some(app::IMAGE)),
    Ask {
        path: "/asset.css",
        body: &[],
        fields: AGAIN,
        status: 304,
        length: Some(0),
    },
];

/// What takes long each time, and so is asked less often.
const SLOW: &[Ask] = &[
    get("/page", BROWSER, None),
    get("/page", OLD, None),
    get("/video", PROGRAM, Some(app::VIDEO)),
    get("/events", PROGRAM, Some(app::EVENTS)),
    Ask {
        path: "/nowhere",
        body: &[],
        fields: BROWSER,
        status: 404,
        length: Some(10),
    },
];

/// All of it, so many times over.
pub(crate) async fn all(run: &Run, times: usize) -> Result<()> {
    let way = Way::to(run, "http/1.1")?;
    at_once(CLIENTS, || {
        let way = way.clone();
        async move {
            ask_in_turn(way.connect().await?, USUAL, times).await?;
            ask_in_turn(way.connect().await?, SLOW, times.div_ceil(10)).await?;
            for _ in 0..times {
                // A connection of its own; with TLS, one with a full handshake for each that is resumed.
                ask_in_turn(way.connect().await?, &USUAL[..1], 1).await?;
            }
            tunnel(way.connect().await?, times).await
        }
    })
    .await?;
    if run.front == Front::Secure {
        full_handshakes(run, times * 2).await?;
    }
    if run.front == Front::Plain {
        return Ok(());
    }
    let way = Way::to(run, "h2")?;
    at_once(CLIENTS / 4, || {
        let way = way.clone();
        async move {
            ask_at_once(way.connect().await?, USUAL, times.div_ceil(4), 50).await?;
            ask_at_once(way.connect().await?, SLOW, times.div_ceil(20), 5).await
        }
    })
    .await
}

/// Of clients that have never been here.
async fn full_handshakes(run: &Run, count: usize) -> Result<()> {
    for _ in 0..count {
        let way = Way::to(run, "http/1.1")?;
        ask_in_turn(way.connect().await?, &USUAL[..1], 1).await?;
    }
    Ok(())
}

/// So many of the same, side by side.
async fn at_once<F>(count: usize, work: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + 'static,
{
    let tasks: Vec<JoinHandle<std::result::Result<(), String>>> = (0..count)
        .map(|_| {
            let work = work();
            spawn_local(async move { work.await.map_err(|error| error.to_string()) })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

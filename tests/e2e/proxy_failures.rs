//! When the app does not answer: 502 and 504, the page, and bodies that must never look whole.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::support::{End, PATIENCE, Response, Thrust, eventually, millis, seconds};

const PAGE: &str = "<h1>back soon</h1>";

fn with_page() -> Thrust {
    Thrust::builder()
        .tcp()
        .file("BAD_GATEWAY_PAGE", PAGE)
        .played()
        .start()
}

#[track_caller]
fn assert_page(response: &Response, page: &str) {
    assert_eq!((response.status, response.text().as_str()), (502, page));
    let kind = response.field("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/html"), "{kind}");
    assert!(response.field("date").is_some());
    assert!(
        !response.connection("close"),
        "nothing is wrong with the client"
    );
}

#[test]
fn an_app_that_refuses_is_502_with_the_page() {
    let mut thrust = Thrust::builder()
        .tcp()
        .file("BAD_GATEWAY_PAGE", PAGE)
        .start();
    let mut client = thrust.connect();
    assert_eq!(client.get("/close-port").status, 200);
    thrust.wait_for("app not accepting");
    // Its kept connection still works; those of a fresh client do not exist.
    let refused = eventually(PATIENCE, || {
        let response = thrust.get("/refused");
        response.status == 502 && response.text() == PAGE
    });
    assert!(refused);
    let logged = thrust.wait_for_request("/refused");
    if logged.field("status") == "502" {
        assert_eq!(logged.field("cause"), "upstream_refused");
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn an_app_that_closes_without_an_answer_is_502_with_the_page() {
    let thrust = with_page();
    let mut client = thrust.connect();
    for target in ["/close", "/again"] {
        client.send_post(target, b"body");
        let (mut app, _) = thrust.app().request();
        app.read(4);
        drop(app);
        assert_page(&client.response(), PAGE);
        let logged = thrust.wait_for_request(target);
        assert_eq!(logged.field("cause"), "upstream_closed");
    }
}

#[test]
fn an_app_that_resets_is_502_with_the_page() {
    let thrust = with_page();
    let mut client = thrust.connect();
    client.send_get("/reset");
    thrust.app().request().0.reset();
    assert_page(&client.response(), PAGE);
}

#[test]
fn an_app_that_closes_inside_the_head_is_502_with_the_page() {
    for half in [
        "H",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
    ] {
        let thrust = with_page();
        let mut client = thrust.connect();
        client.send_get("/half");
        let (mut app, _) = thrust.app().request();
        app.send(half);
        drop(app);
        assert_page(&client.response(), PAGE);
        let logged = thrust.wait_for_request("/half");
        assert_eq!(logged.field("cause"), "upstream_closed", "{half:?}");
    }
}

#[test]
fn an_answer_that_is_not_http_is_502_with_the_page() {
    let many = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(300 * 1024));
    for answer in [
        "SSH-2.0-OpenSSH_9\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        // We cannot undo a coding that we do not know, and the client would not know of it.
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc",
        // Nobody asked for it.
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        &many,
    ] {
        let thrust = with_page();
        let mut client = thrust.connect();
        client.send_get("/bad");
        let (mut app, _) = thrust.app().request();
        app.send(answer);
        assert_page(&client.response(), PAGE);
        let logged = thrust.wait_for_request("/bad");
        let short = &answer[..answer.len().min(80)];
        assert_eq!(logged.field("cause"), "upstream_bad_response", "{short:?}");
        assert_ne!(app.end(), End::Timeout, "{short:?}");
    }
}

#[test]
fn a_body_that_ends_early_never_looks_whole() {
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        // Broken, not ended.
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",
    ];
    for answer in answers {
        let thrust = with_page();
        let mut client = thrust.connect();
        client.send_get("/short");
        let (mut app, _) = thrust.app().request();
        app.send(answer);
        drop(app);
        let failure = client.try_response().expect_err(answer);
        assert_eq!(failure.end, End::Eof, "{answer:?}");
        let received = String::from_utf8_lossy(&failure.received).into_owned();
        assert!(received.starts_with("HTTP/1.1 200 OK"), "{received}");
        assert!(received.ends_with("hello") || received.ends_with("hello\r\n"));
        let logged = thrust.wait_for_request("/short");
        assert_eq!(logged.field("cause"), "upstream_closed", "{answer:?}");
    }
}

#[test]
fn a_body_that_only_a_close_ends_is_whole_at_an_end_and_cut_at_a_reset() {
    let thrust = with_page();
    for (target, whole) in [("/end", true), ("/reset", false)] {
        let mut client = thrust.connect();
        client.send_get(target);
        let (mut app, _) = thrust.app().request();
        app.send("HTTP/1.1 200 OK\r\n\r\nhello");
        // The client has the first half; what follows is about the end alone.
        let head = client.head();
        assert_eq!(head.field("transfer-encoding").as_deref(), Some("chunked"));
        client.read_until("hello");
        if whole {
            drop(app);
            assert_eq!(client.read_until("0\r\n\r\n"), "\r\n0\r\n\r\n");
        } else {
            app.reset();
            let (rest, end) = client.rest();
            assert_eq!((rest.as_slice(), end), (&b"\r\n"[..], End::Eof));
        }
    }
}

#[test]
fn an_app_that_lets_us_wait_longer_than_the_response_timeout_is_504() {
    for timeout in [1, 2] {
        let thrust = Thrust::builder()
            .env("THRUSTER_UPSTREAM_RESPONSE_TIMEOUT", timeout.to_string())
            .played()
            .start();
        let mut client = thrust.connect();
        let asked = Instant::now();
        client.send_get("/late");
        let (mut app, _) = thrust.app().request();
        let response = client.response();
        let took = asked.elapsed();
        assert_eq!(response.status, 504);
        assert!(!response.connection("close"));
        assert!(
            took >= seconds(timeout) && took < seconds(timeout + 1),
            "{took:?}"
        );
        assert_eq!(app.end(), End::Eof, "its late answer is nobody's");
        let logged = thrust.wait_for_request("/late");
        assert_eq!(logged.field("cause"), "upstream_timeout");
    }
}

#[test]
fn the_response_timeout_counts_from_when_the_request_is_out() {
    let thrust = Thrust::builder()
        .env("THRUSTER_UPSTREAM_RESPONSE_TIMEOUT", "1")
        .played()
        .start();
    let mut client = thrust.connect();
    client.send_head("POST", "/slow-upload", "content-length: 5\r\n");
    let (mut app, _) = thrust.app().request();
    for _ in 0..5 {
        // Each byte waits for a while in which nothing else happens.
        assert!(app.is_quiet());
        client.send("x");
        app.read(1);
    }
    app.answer("got it");
    assert_eq!(client.response().text(), "got it");
}

#[test]
fn the_response_timeout_is_over_with_the_first_byte() {
    let thrust = Thrust::builder()
        .env("THRUSTER_UPSTREAM_RESPONSE_TIMEOUT", "1")
        .played()
        .start();
    let mut client = thrust.connect();
    client.send_get("/drip");
    let (mut app, _) = thrust.app().request();
    let begun = Instant::now();
    app.send("HTTP/1.1 200 OK\r\n");
    while begun.elapsed() < millis(1_300) {
        assert!(app.is_quiet());
    }
    app.send("content-length: 2\r\n\r\no");
    while begun.elapsed() < millis(2_600) {
        assert!(app.is_quiet());
    }
    app.send("k");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn without_a_response_timeout_the_app_has_all_its_time() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.wait_at_gate("g");
    thrust.assert_no("Request", seconds(2));
    thrust.open_gate("g");
    assert_eq!(client.response().status, 200);
    assert_eq!(thrust.stop(), 143);
}

/// An app that closes each connection it gets, and what the client then sees.
fn failure(thrust: &Thrust, method: &str) -> Response {
    let mut client = thrust.connect();
    client.send_head(method, "/", "");
    drop(thrust.app().request());
    client.response()
}

#[test]
fn the_page_is_read_again_when_it_changes() {
    let thrust = with_page();
    let path = thrust.directory().join("BAD_GATEWAY_PAGE");
    assert_page(&failure(&thrust, "GET"), PAGE);
    // Written in place, replaced, emptied, and back.
    fs::write(&path, "<h1>written</h1>").unwrap();
    assert_page(&failure(&thrust, "GET"), "<h1>written</h1>");
    let other = thrust.directory().join("other");
    fs::write(&other, "<h1>replace</h1>").unwrap();
    fs::rename(&other, &path).unwrap();
    assert_page(&failure(&thrust, "GET"), "<h1>replace</h1>");
    fs::remove_file(&path).unwrap();
    let response = failure(&thrust, "GET");
    assert_eq!(response.status, 502);
    assert!(!response.text().contains("<h1>"), "{}", response.text());
    fs::write(&path, PAGE).unwrap();
    assert_page(&failure(&thrust, "GET"), PAGE);
}

#[test]
fn head_gets_the_pages_length_and_not_the_page() {
    let thrust = with_page();
    let mut client = thrust.connect();
    client.send_head("HEAD", "/head", "");
    drop(thrust.app().request());
    let response = client.response();
    assert_eq!(response.status, 502);
    assert_eq!(
        response.field("content-length"),
        Some(PAGE.len().to_string())
    );
    // The connection is in step: the next answer begins where this one ended.
    client.send_get("/next");
    thrust.app().request().0.answer("next");
    assert_eq!(client.response().text(), "next");
    let logged = thrust.wait_for_request("/head");
    assert_eq!(logged.field("cause"), "upstream_closed");
    assert_eq!(logged.field("status"), "502");
}

#[test]
fn without_a_page_there_is_a_plain_502() {
    let missing = "/nonexistent/502.html";
    for builder in [
        Thrust::builder().env("BAD_GATEWAY_PAGE", ""),
        Thrust::builder().env("BAD_GATEWAY_PAGE", missing),
        // A directory is no page.
        Thrust::builder().env("BAD_GATEWAY_PAGE", "/tmp"),
    ] {
        let thrust = builder.played().start();
        let response = failure(&thrust, "GET");
        assert_eq!(response.status, 502);
        let kind = response.field("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/plain"), "{kind}");
    }
}

#[test]
fn an_empty_page_is_a_page() {
    let thrust = Thrust::builder()
        .file("BAD_GATEWAY_PAGE", "")
        .played()
        .start();
    assert_page(&failure(&thrust, "GET"), "");
}

#[test]
fn a_page_is_not_waited_for() {
    // Opening a pipe for reading would hang the core until somebody writes.
    let builder = Thrust::builder().played();
    let path = std::env::temp_dir().join(format!("thrust-fifo-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let thrust = builder.env("BAD_GATEWAY_PAGE", &path).start();
    let asked = Instant::now();
    let response = failure(&thrust, "GET");
    fs::remove_file(&path).unwrap();
    assert_eq!(response.status, 502);
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[test]
fn while_the_app_boots_the_502_says_when_to_try_again() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_BOOT_HOLD_TIMEOUT", "0")
        .file("BAD_GATEWAY_PAGE", PAGE)
        .app(["--start-when", "up"])
        .spawn();
    let response = thrust.get("/booting");
    assert_page(&response, PAGE);
    let after = response
        .field("retry-after")
        .and_then(|text| text.parse().ok());
    assert!(after.is_some_and(|seconds: u32| seconds > 0));
    let logged = thrust.wait_for_request("/booting");
    assert_eq!(logged.field("cause"), "booting");
    thrust.open_gate("up");
    thrust.wait_for("app ready");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn after_booting_the_502_does_not() {
    let thrust = with_page();
    assert_eq!(failure(&thrust, "GET").field("retry-after"), None);
}

#[test]
fn who_navigates_gets_the_page_at_once_and_who_does_not_waits() {
    let page_at_once = [
        "sec-fetch-mode: navigate\r\n",
        "accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n",
        "sec-fetch-mode: navigate\r\naccept: */*\r\n",
    ];
    let held = [
        "accept: */*\r\n",
        "accept: application/json, text/html\r\n",
        "",
        // A script that fetches HTML is no person who looks at it.
        "sec-fetch-mode: cors\r\naccept: text/html\r\n",
    ];
    let mut thrust = Thrust::builder()
        .file("BAD_GATEWAY_PAGE", PAGE)
        .app(["--start-when", "up"])
        .spawn();
    let mut waiting: Vec<_> = held
        .iter()
        .map(|fields| {
            let mut client = thrust.connect();
            client.send_head("GET", "/hello", fields);
            client
        })
        .collect();
    let mut form = thrust.connect();
    form.send_head(
        "POST",
        "/upload",
        "sec-fetch-mode: navigate\r\ncontent-length: 4\r\n",
    );
    form.send("form");
    for fields in page_at_once {
        let mut client = thrust.connect();
        client.send_head("GET", "/page", fields);
        assert_page(&client.response(), PAGE);
    }
    assert_eq!(
        thrust.count("Request"),
        thrust
            .records()
            .iter()
            .filter(|line| line.field("path") == "/page")
            .count()
    );
    thrust.open_gate("up");
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
    assert!(
        form.response().text().starts_with("4 "),
        "what a person sent is not thrown away"
    );
    assert_eq!(thrust.stop(), 143);
}

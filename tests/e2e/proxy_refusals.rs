//! What is no request that may be passed on, and what looks odd and is one.

use std::{net::Shutdown, thread};

use crate::support::{Client, End, Thrust, millis};

/// A head with these lines behind a good request line and Host.
fn lines(lines: &str) -> String {
    format!("GET /hello HTTP/1.1\r\nhost: a\r\n{lines}\r\n")
}

/// An upload with these lines and this body.
fn upload(lines: &str, body: &str) -> String {
    format!("POST /upload HTTP/1.1\r\nhost: a\r\n{lines}\r\n{body}")
}

fn with_host(host: &str) -> String {
    format!("GET /hello HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

fn with_target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")
}

#[test]
fn what_is_no_request_is_refused_and_never_reaches_the_app() {
    let chunked = "0\r\n\r\n";
    let many = (0..150).map(|number| format!("x-{number}: 1\r\n"));
    let table: Vec<(u16, String)> = vec![
        // Two lengths, or none that is a number (RFC 9112 section 6.3).
        (
            400,
            upload("content-length: 5\r\ncontent-length: 6\r\n", "hello!"),
        ),
        (400, upload("content-length: 5, 6\r\n", "hello!")),
        (400, upload("content-length: +5\r\n", "hello")),
        (400, upload("content-length: -5\r\n", "hello")),
        (400, upload("content-length: 0x5\r\n", "hello")),
        (400, upload("content-length: 5 5\r\n", "hello")),
        (400, upload("content-length:\r\n", "hello")),
        (
            400,
            upload("content-length: 99999999999999999999999\r\n", "hello"),
        ),
        // Codings that the app might see differently (RFC 9112 section 6.1).
        (
            400,
            upload(
                "transfer-encoding: identity\r\ncontent-length: 5\r\n",
                "hello",
            ),
        ),
        (
            400,
            upload("transfer-encoding: chunked, identity\r\n", chunked),
        ),
        (400, upload("transfer-encoding: xchunked\r\n", chunked)),
        (400, upload("transfer-encoding: \x0bchunked\r\n", chunked)),
        (400, upload("transfer-encoding: \"chunked\"\r\n", chunked)),
        (400, upload("transfer-encoding:\r\n", chunked)),
        (501, upload("transfer-encoding: gzip, chunked\r\n", chunked)),
        (
            501,
            upload(
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                chunked,
            ),
        ),
        (
            501,
            upload(
                "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
                chunked,
            ),
        ),
        (
            400,
            "POST /upload HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        // Field lines (RFC 9112 section 5).
        (400, lines("transfer-encoding : chunked\r\n")),
        (400, lines("x: a\r\n folded\r\n")),
        (400, lines("x: a\rb\r\n")),
        (400, lines("x: a\0b\r\n")),
        (400, lines("x\0: a\r\n")),
        (400, lines(": a\r\n")),
        (400, lines("no colon\r\n")),
        (400, "GET /hello HTTP/1.1\r\n host: a\r\n\r\n".into()),
        // Exactly one Host, and a valid one (RFC 9112 section 3.2).
        (400, "GET /hello HTTP/1.1\r\n\r\n".into()),
        (400, "GET http://a/hello HTTP/1.1\r\n\r\n".into()),
        (
            400,
            "GET /hello HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".into(),
        ),
        (
            400,
            "GET /hello HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n".into(),
        ),
        (
            400,
            "GET /hello HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n".into(),
        ),
        (400, with_host("")),
        (400, with_host("a/b@c")),
        (400, with_host("a, b")),
        (400, with_host("a b")),
        (400, with_host("a:b")),
        (400, with_host("a:123456")),
        (400, with_host("user@a")),
        (400, with_host("[::1")),
        (400, with_host("[not-an-address]")),
        (400, with_host("a?b")),
        (400, with_host("a#b")),
        (400, with_host("a\\b")),
        // Targets (RFC 9112 section 3.2).
        (400, with_target("hello")),
        (400, with_target("a:80")),
        (400, with_target("*")),
        (400, with_target("ftp://a/hello")),
        (400, with_target("http://user:secret@a/hello")),
        (400, with_target("http://")),
        (400, with_target("http:///hello")),
        (400, with_target("/he llo")),
        (400, with_target("/he\tllo")),
        (400, with_target("/<hello>")),
        (400, "GET  /hello HTTP/1.1\r\nhost: a\r\n\r\n".into()),
        (400, "GET\t/hello\tHTTP/1.1\r\nhost: a\r\n\r\n".into()),
        (414, with_target(&format!("/{}", "y".repeat(70_000)))),
        // Methods.
        (405, "CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n".into()),
        (405, "CONNECT /hello HTTP/1.1\r\nhost: a\r\n\r\n".into()),
        (501, "get /hello HTTP/1.1\r\nhost: a\r\n\r\n".into()),
        (501, "Get /hello HTTP/1.1\r\nhost: a\r\n\r\n".into()),
        (400, "G@T /hello HTTP/1.1\r\nhost: a\r\n\r\n".into()),
        // Versions, and what is not HTTP at all.
        (400, "GET /hello HTTP/1.2\r\nhost: a\r\n\r\n".into()),
        (400, "GET /hello HTTP/2.0\r\nhost: a\r\n\r\n".into()),
        (400, "GET /hello\r\n\r\n".into()),
        (400, "\x16\x03\x01\x02\0\x01\0\x01".into()),
        // Too much.
        (431, lines(&many.collect::<String>())),
        (431, lines(&format!("x: {}\r\n", "y".repeat(500_000)))),
    ];
    let thrust = Thrust::builder().start();
    for (status, raw) in table {
        let shown = format!("{:?}", &raw[..raw.len().min(100)]);
        let mut client = thrust.connect();
        // A request that is far too long may be refused before it is all sent.
        let _ = client.try_send(&raw);
        let response = client
            .try_response()
            .unwrap_or_else(|failure| panic!("{shown}: {failure:?}"));
        assert_eq!(response.status, status, "{shown}");
        assert!(response.connection("close"), "{shown}");
        assert!(response.field("date").is_some(), "{shown}");
        assert_eq!(client.end(), End::Eof, "{shown}");
    }
    assert!(!thrust.has_child_line(" request "), "{}", thrust.logs());
    // One line each, in whatever shape.
    thrust.wait_for("request refused");
    thrust.wait_for("Request");
}

#[test]
fn a_target_that_is_not_text_is_refused() {
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send(b"GET /caf\xe9 HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().status, 400);
    assert_eq!(client.end(), End::Eof);
}

#[test]
fn an_http_2_client_is_turned_away_without_harm() {
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let (_, end) = client.rest();
    assert_eq!(end, End::Eof);
    assert!(!thrust.has_child_line(" request "));
}

#[test]
fn a_malformed_body_is_400_and_the_app_gets_no_whole_request() {
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "0\r\nbad name: x\r\n\r\n",
        "hello",
    ] {
        let thrust = Thrust::builder().start();
        let mut client = thrust.connect();
        client.send(upload("transfer-encoding: chunked\r\n", body));
        let response = client.response();
        assert_eq!(response.status, 400, "{body:?}");
        assert!(response.connection("close"), "{body:?}");
        assert_eq!(client.end(), End::Eof, "{body:?}");
        let logged = thrust.wait_for_request("/upload");
        assert_eq!(logged.field("cause"), "bad_request", "{body:?}");
        // It may have got the head; it did not get an end.
        assert!(!thrust.has_child_line("done POST"), "{body:?}");
    }
}

#[test]
fn what_is_odd_but_allowed_is_passed_on() {
    let table: Vec<(String, &str)> = vec![
        (
            upload("content-length: 5\r\ncontent-length: 5\r\n", "hello"),
            "5 ",
        ),
        (
            upload(
                "transfer-encoding: Chunked\r\n",
                "5;a=b\r\nhello\r\n0\r\n\r\n",
            ),
            "5 ",
        ),
        (
            upload(
                "transfer-encoding: chunked\r\n",
                "5 \r\nhello\r\n000\r\n\r\n",
            ),
            "5 ",
        ),
        ("GET /hello HTTP/1.1\nhost: a\n\n".into(), "hello"),
        (
            "\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            "hello",
        ),
        (
            "GET http://b/hello HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            "hello",
        ),
        (
            "GET HTTPS://b/hello HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            "hello",
        ),
        (with_target("http://b"), "hello"),
        (with_target("http://b?x=1"), "hello"),
        (with_target("/hello?x={a|b}"), "hello"),
        (with_target("/hello#fragment"), "hello"),
        (
            with_target(&format!("/hello?{}", "y".repeat(60_000))),
            "hello",
        ),
        (with_host("a:80"), "hello"),
        (with_host("a:"), "hello"),
        (with_host("[::1]:80"), "hello"),
        (with_host("a_b.example"), "hello"),
        ("PURGE /hello HTTP/1.1\r\nhost: a\r\n\r\n".into(), "hello"),
        (lines(&format!("x: {}\r\n", "y".repeat(60_000))), "hello"),
        (lines(&"x: 1\r\n".repeat(99)), "hello"),
        (lines("expect: the unexpected\r\n"), "hello"),
    ];
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    for (raw, body) in table {
        client.send(&raw);
        let response = client.response();
        let shown = &raw[..raw.len().min(100)];
        assert_eq!(response.status, 200, "{shown:?}");
        assert!(response.text().starts_with(body), "{shown:?}");
        assert!(!response.connection("close"), "{shown:?}");
    }
    drop(client);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn the_app_gets_the_origin_form_and_one_host() {
    let thrust = Thrust::builder().played().start();
    let table = [
        ("http://b:81/x?y=1", "GET /x?y=1 HTTP/1.1", "b:81"),
        ("https://B.example", "GET / HTTP/1.1", "B.example"),
        ("http://b?y=1", "GET /?y=1 HTTP/1.1", "b"),
        ("//evil/x", "GET //evil/x HTTP/1.1", "a"),
        ("/x#fragment", "GET /x HTTP/1.1", "a"),
        ("/%2e%2e//./x%00", "GET /%2e%2e//./x%00 HTTP/1.1", "a"),
        ("/?", "GET /? HTTP/1.1", "a"),
        ("/caf\u{e9}", "GET /caf\u{e9} HTTP/1.1", "a"),
    ];
    for (target, line, host) in table {
        let mut client = thrust.connect();
        client.send(with_target(target));
        let (mut app, request) = thrust.app().request();
        assert_eq!((&*request.line, request.field("host")), (line, Some(host)));
        app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
    let mut client = thrust.connect();
    client.send("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(thrust.app().request().1.line, "OPTIONS * HTTP/1.1");
}

#[test]
fn a_length_beside_chunks_is_dropped_and_ends_the_connection() {
    let thrust = Thrust::builder().played().start();
    let mut client = thrust.connect();
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send(upload(
        "content-length: 6\r\ntransfer-encoding: chunked\r\n",
        smuggled,
    ));
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.field("content-length"), None);
    assert_eq!(request.field("transfer-encoding"), Some("chunked"));
    app.read_until("0\r\n\r\n");
    app.answer("ok");
    let response = client.response();
    assert!(response.connection("close"));
    assert_eq!(client.end(), End::Eof);
    assert!(app.is_quiet(), "nothing was smuggled");
}

/// Sends 5 MB whatever comes back, as clients do that do not look.
fn send_5_mb(client: &Client) -> thread::JoinHandle<()> {
    let mut stream = client.stream().try_clone().expect("a descriptor");
    thread::spawn(move || {
        for _ in 0..50 {
            if std::io::Write::write_all(&mut stream, &[b'x'; 100_000]).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
    })
}

#[test]
fn a_body_that_says_that_it_is_too_long_is_413_before_it_is_read() {
    let thrust = Thrust::builder()
        .env("MAX_REQUEST_BODY", "1000")
        .played()
        .start();
    let mut client = thrust.connect();
    client.send_head(
        "POST",
        "/long",
        "content-length: 1001\r\nexpect: 100-continue\r\n",
    );
    let response = client.response();
    assert_eq!(response.status, 413);
    assert!(response.interim.is_empty(), "it is not asked for");
    assert!(response.connection("close"));
    assert_eq!(client.end(), End::Eof);
    let logged = thrust.wait_for_request("/long");
    assert_eq!(
        (&*logged.field("cause"), logged.number("req_content_length")),
        ("body_too_large", 1001)
    );

    // One that fits goes through, to the byte.
    let mut client = thrust.connect();
    client.send_post("/fits", &[b'x'; 1000]);
    let (mut app, _) = thrust.app().request();
    app.read(1000);
    app.answer("fits");
    assert_eq!(client.response().text(), "fits");
}

#[test]
fn chunks_that_turn_out_too_long_are_413_and_cancelled() {
    let thrust = Thrust::builder()
        .env("MAX_REQUEST_BODY", "1000")
        .played()
        .start();
    let mut client = thrust.connect();
    client.send(upload("transfer-encoding: chunked\r\n", "3e8\r\n"));
    client.send([b'x'; 1000]);
    let (mut app, _) = thrust.app().request();
    app.read_until("xx");
    assert!(app.end_of_what_came(), "so far it fits");
    client.send("\r\n1\r\nx\r\n");
    let response = client.response();
    assert_eq!(response.status, 413);
    assert!(response.connection("close"));
    assert_eq!(client.end(), End::Eof);
    assert_eq!(app.end(), End::Eof);
    assert_eq!(
        thrust.wait_for_request("/upload").field("cause"),
        "body_too_large"
    );
}

#[test]
fn the_client_reads_the_413_while_it_is_still_sending() {
    for fields in [
        "content-length: 5000000\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        let thrust = Thrust::builder().env("MAX_REQUEST_BODY", "1000").start();
        let mut client = thrust.connect();
        client.send_head("POST", "/upload", fields);
        if fields.contains("chunked") {
            client.send("4c4b40\r\n");
        }
        let sending = send_5_mb(&client);
        let response = client.response();
        assert_eq!(response.status, 413, "{fields}");
        assert!(response.text().contains("larger"));
        assert_ne!(client.rest().1, End::Reset, "{fields}");
        sending.join().unwrap();
    }
}

#[test]
fn a_refusal_is_read_while_the_client_is_still_sending() {
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send("POST /x HTTP/1.1\r\ncontent-length: 5000000\r\n\r\n");
    let sending = send_5_mb(&client);
    assert_eq!(client.response().status, 400);
    assert_ne!(client.rest().1, End::Reset);
    sending.join().unwrap();
}

#[test]
fn without_a_limit_there_is_no_413() {
    let thrust = Thrust::builder().env("MAX_REQUEST_BODY", "0").start();
    let mut client = thrust.connect().patience(millis(15_000));
    let response = client.post("/upload", &vec![b'x'; 3_000_000]);
    assert!(response.text().starts_with("3000000 "));
}

//! Bodies both ways: framing, trailers, HEAD, HTTP/1.0, interim responses, early answers, flushing and back-pressure.

use std::{
    io::Write,
    thread::{self, JoinHandle},
};

use crate::support::{AppConnection, Client, End, PATIENCE, QUIET, Thrust, resident_memory_of};

const LARGE: usize = 100_000_000;

static PIECE: [u8; 100_000] = [b'x'; 100_000];

/// What both buffers of both sockets, and ours, may hold of a stream that nobody reads; the rest waits at its source.
const SOME: u64 = 6_000_000;

fn played() -> Thrust {
    Thrust::builder().played().start()
}

/// Sends in the background, and says whether all of it was taken.
fn send_all(client: &Client, bytes: Vec<u8>) -> JoinHandle<bool> {
    let mut stream = client.stream().try_clone().expect("a descriptor");
    thread::spawn(move || stream.write_all(&bytes).is_ok())
}

#[test]
fn a_body_with_a_length_keeps_it_both_ways() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    for size in [0, 1, 8_000, 8_192, 16_384, 65_536, 1_000_003] {
        let body: Vec<_> = (0..=u8::MAX).cycle().take(size).collect();
        client.send_head("POST", "/echo", &format!("content-length: {size}\r\n"));
        let sending = send_all(&client, body.clone());
        let response = client.response();
        assert!(sending.join().unwrap());
        assert_eq!(response.field("transfer-encoding"), None, "{size}");
        assert!(response.body == body, "{size}");
    }
    drop(client);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_body_in_chunks_stays_in_chunks_both_ways() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    for sizes in [vec![], vec![1], vec![3, 8_192, 100_000, 1], vec![17; 300]] {
        let mut wire = Vec::new();
        let mut body = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            let piece = vec![b'a' + (number % 26) as u8; *size];
            wire.extend(format!("{size:X};ext=1\r\n").into_bytes());
            wire.extend(&piece);
            wire.extend(b"\r\n");
            body.extend(piece);
        }
        wire.extend(b"0\r\n\r\n");
        client.send_head("POST", "/echo", "transfer-encoding: chunked\r\n");
        let sending = send_all(&client, wire);
        let response = client.response();
        assert!(sending.join().unwrap());
        assert_eq!(
            response.field("transfer-encoding").as_deref(),
            Some("chunked")
        );
        assert_eq!(response.field("content-length"), None);
        assert!(response.body == body, "{sizes:?}");
    }
    drop(client);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_length_that_the_app_says_twice_is_said_once() {
    let thrust = played();
    for lines in [
        "content-length: 5, 5\r\n",
        "content-length: 5\r\ncontent-length: 5\r\n",
    ] {
        let mut client = thrust.connect();
        client.send_get("/");
        let (mut app, _) = thrust.app().request();
        app.send(format!("HTTP/1.1 200 OK\r\n{lines}\r\nhello"));
        let response = client.response();
        assert_eq!(response.field("content-length").as_deref(), Some("5"));
        assert_eq!(response.text(), "hello");
        assert_ne!(app.end(), End::Timeout, "not to be trusted with another");
    }
}

#[test]
fn a_request_says_how_long_it_is() {
    let thrust = played();
    let cases: [(&str, &str, Option<&str>, Option<&str>); 6] = [
        ("GET", "", None, None),
        ("DELETE", "", None, None),
        // A method that anticipates a body says that there is none (RFC 9110 section 8.6).
        ("POST", "", Some("0"), None),
        ("POST", "content-length: 0\r\n", Some("0"), None),
        ("GET", "content-length: 4\r\n", Some("4"), None),
        (
            "PUT",
            "transfer-encoding: chunked\r\n",
            None,
            Some("chunked"),
        ),
    ];
    for (method, lines, length, coding) in cases {
        let mut client = thrust.connect();
        client.send_head(method, "/", lines);
        match lines {
            "content-length: 4\r\n" => client.send("body"),
            "transfer-encoding: chunked\r\n" => client.send("0\r\n\r\n"),
            _ => {}
        }
        let (mut app, request) = thrust.app().request();
        assert_eq!(request.field("content-length"), length, "{method} {lines}");
        assert_eq!(
            request.field("transfer-encoding"),
            coding,
            "{method} {lines}"
        );
        app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        client.response();
    }
}

#[test]
fn trailers_of_a_request_reach_the_app() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_head(
        "POST",
        "/",
        "transfer-encoding: chunked\r\ntrailer: x-sum\r\n",
    );
    client.send("4\r\nbody\r\n0\r\nx-sum: 7\r\nx-two: 2\r\n\r\n");
    let (mut app, _) = thrust.app().request();
    let end = String::from_utf8(app.read_until("\r\n\r\n")).unwrap();
    assert!(
        end.ends_with("0\r\nx-sum: 7\r\nx-two: 2\r\n\r\n"),
        "{end:?}"
    );
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn trailers_that_pose_as_something_else_do_not() {
    // Apps that merge trailers into the head would take these for ours (RFC 9110 section 6.5.1).
    let thrust = played();
    let mut client = thrust.connect();
    client.send_head("POST", "/", "transfer-encoding: chunked\r\n");
    client.send(
        "4\r\nbody\r\n0\r\ncontent-length: 9\r\ntransfer-encoding: gzip\r\nhost: evil\r\nx-forwarded-for: 6.6.6.6\r\n\
         x_forwarded_for: 6.6.6.6\r\nconnection: close\r\nx-request-id: 1\r\nx-sum: 7\r\n\r\n",
    );
    let (mut app, _) = thrust.app().request();
    let end = String::from_utf8(app.read_until("\r\n\r\n")).unwrap();
    assert!(end.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{end:?}");
}

#[test]
fn trailers_of_an_answer_reach_a_client_that_asks_for_them() {
    for builder in [Thrust::builder(), Thrust::builder().tcp()] {
        let mut thrust = builder.start();
        let mut client = thrust.connect();
        client.send_head("GET", "/trailers", "te: trailers\r\n");
        let response = client.response();
        assert_eq!(response.text(), "one\ntwo\n");
        assert_eq!(
            response.trailers,
            [
                ("x-count".into(), "2".into()),
                ("x-checksum".into(), "abc".into())
            ]
        );
        // Who does not ask gets the body alone, and stays in step.
        let response = client.get("/trailers");
        assert_eq!(
            (response.text().as_str(), response.trailers.len()),
            ("one\ntwo\n", 0)
        );
        assert_eq!(client.get("/hello").status, 200);
        drop(client);
        assert_eq!(thrust.stop(), 143);
    }
}

#[test]
fn te_trailers_is_the_only_te_that_the_app_sees() {
    let thrust = played();
    for (sent, expected) in [
        ("te: gzip, trailers\r\n", Some("trailers")),
        ("te: trailers\r\n", Some("trailers")),
        ("te: gzip\r\n", None),
    ] {
        let mut client = thrust.connect();
        client.send_head("GET", "/", sent);
        let (mut app, request) = thrust.app().request();
        assert_eq!(request.field("te"), expected, "{sent}");
        app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        client.response();
    }
}

#[test]
fn head_gets_the_head_and_no_body() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_get("/warm");
    let (mut app, _) = thrust.app().request();
    app.answer("warm");
    client.response();
    for (fields, length) in [
        ("content-length: 5\r\n", Some("5")),
        ("content-length: 99999999999\r\n", Some("99999999999")),
        ("transfer-encoding: chunked\r\n", None),
        ("", None),
    ] {
        client.send_head("HEAD", "/", "");
        assert_eq!(app.request().line, "HEAD / HTTP/1.1");
        app.send(format!("HTTP/1.1 200 OK\r\netag: \"x\"\r\n{fields}\r\n"));
        let response = client.response();
        assert_eq!(
            response.field("content-length").as_deref(),
            length,
            "{fields}"
        );
        assert_eq!(response.field("etag").as_deref(), Some("\"x\""));
    }
    // In step, on both sides.
    client.send_get("/next");
    app.request();
    app.answer("next");
    assert_eq!(client.response().text(), "next");
}

#[test]
fn statuses_without_a_body_have_none() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_get("/warm");
    let (mut app, _) = thrust.app().request();
    app.answer("warm");
    client.response();
    for (answer, length) in [
        ("204 No Content\r\n", None),
        ("304 Not Modified\r\netag: \"x\"\r\n", None),
        // hyper leaves the length out, as it may (RFC 9110 section 15.4.5).
        ("304 Not Modified\r\ncontent-length: 5\r\n", None),
    ] {
        client.send_get("/");
        app.request();
        app.send(format!("HTTP/1.1 {answer}\r\n"));
        let response = client.response();
        assert_eq!(response.status.to_string(), answer[..3]);
        assert_eq!(
            response.field("content-length").as_deref(),
            length,
            "{answer}"
        );
        assert_eq!(response.field("transfer-encoding"), None, "{answer}");
    }
    client.send_get("/next");
    app.request();
    app.answer("next");
    assert_eq!(client.response().text(), "next");
}

#[test]
fn an_http_1_0_client_is_closed_unless_it_asks_to_be_kept() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send("GET /old HTTP/1.0\r\n\r\n");
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.line, "GET /old HTTP/1.1");
    app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nold");
    assert_eq!(client.response().text(), "old");
    assert_eq!(client.end(), End::Eof);

    let mut client = thrust.connect();
    for _ in 0..2 {
        client.send("GET /kept HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n");
        let (mut app, _) = thrust.app().request();
        app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nkept");
        let response = client.response();
        assert_eq!(response.text(), "kept");
        assert!(response.connection("keep-alive"), "it has to be told");
    }
}

#[test]
fn chunks_reach_an_http_1_0_client_without_their_sizes() {
    for keep in ["", "connection: keep-alive\r\n"] {
        let thrust = played();
        let mut client = thrust.connect();
        client.send(format!("GET / HTTP/1.0\r\n{keep}\r\n"));
        let (mut app, _) = thrust.app().request();
        app.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n");
        let head = client.head();
        assert_eq!(head.field("transfer-encoding"), None);
        assert_eq!(head.field("content-length"), None);
        assert!(
            !head.connection("keep-alive"),
            "only the end can tell the end"
        );
        assert_eq!(client.rest(), (b"hello!".to_vec(), End::Eof));
    }
}

#[test]
fn a_truncated_body_with_a_length_is_not_whole_to_an_http_1_0_client_either() {
    // Without a length, nothing in HTTP/1.0 could tell.
    let thrust = played();
    let mut client = thrust.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let (mut app, _) = thrust.app().request();
    app.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
    drop(app);
    assert!(client.try_response().is_err(), "the length tells");
}

#[test]
fn the_100_is_sent_when_the_app_is_connected_and_the_app_is_not_asked() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_head("POST", "/", "content-length: 4\r\nexpect: 100-continue\r\n");
    let interim = client.head();
    assert_eq!(interim.status, 100);
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.field("expect"), None);
    client.send("body");
    assert_eq!(app.read(4), b"body");
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn no_100_is_sent_while_there_is_no_app() {
    let mut thrust = Thrust::builder().app(["--start-when", "up"]).spawn();
    thrust.wait_for("listening");
    let mut client = thrust.connect().patience(QUIET);
    client.send_head(
        "POST",
        "/upload",
        "content-length: 4\r\nexpect: 100-continue\r\n",
    );
    let failure = client.try_head().unwrap_err();
    assert_eq!((failure.end, failure.received.len()), (End::Timeout, 0));
    thrust.open_gate("up");
    let mut client = client.patience(PATIENCE);
    assert_eq!(client.head().status, 100);
    client.send("body");
    assert!(client.response().text().starts_with("4 "));
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn no_100_is_sent_when_nobody_wants_the_body() {
    let thrust = Thrust::builder()
        .env("THRUSTER_BOOT_HOLD_TIMEOUT", "0")
        .app(["--start-when", "never"])
        .spawn();
    for (method, lines, status) in [
        ("POST", "content-length: 4\r\nexpect: 100-continue\r\n", 502),
        (
            "CONNECT",
            "content-length: 4\r\nexpect: 100-continue\r\n",
            405,
        ),
    ] {
        let mut client = thrust.connect();
        client.send_head(method, "/", lines);
        let response = client.response();
        assert_eq!((response.status, response.interim.len()), (status, 0));
    }
}

#[test]
fn a_body_that_comes_without_waiting_for_the_100_is_taken() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    for _ in 0..3 {
        client.send_head(
            "POST",
            "/upload",
            "content-length: 4\r\nexpect: 100-continue\r\n",
        );
        client.send("body");
        assert!(client.response().text().starts_with("4 "));
    }
    drop(client);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn expect_means_nothing_without_a_body_or_to_http_1_0() {
    let thrust = played();
    for raw in [
        "GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nbody",
    ] {
        let mut client = thrust.connect();
        client.send(raw);
        let (mut app, _) = thrust.app().request();
        app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.interim.len()), (200, 0));
    }
}

#[test]
fn an_early_answer_is_the_answer_although_the_body_goes_on() {
    let thrust = played();
    for answer in [
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    ] {
        let mut client = thrust.connect();
        client.send_head("POST", "/early", "content-length: 5000000\r\n");
        let (mut app, _) = thrust.app().request();
        app.send(answer);
        let sending = send_all(&client, vec![b'x'; 5_000_000]);
        let response = client.response();
        assert_eq!((response.status, &*response.text()), (403, "no"));
        assert_ne!(client.rest().1, End::Reset);
        let _ = sending.join();
        assert_ne!(
            app.end(),
            End::Timeout,
            "its connection is in the middle of a body"
        );
    }
}

#[test]
fn an_early_answer_that_takes_its_time_is_whole() {
    // Both bodies flow at once: the app answers as it reads.
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send_head("POST", "/echo", "transfer-encoding: chunked\r\n");
    for number in 0..5 {
        client.send(format!("2\r\n{number}\n\r\n"));
        if number == 0 {
            client.head();
        }
        client.read_until(&format!("{number}\n"));
    }
    client.send("0\r\n\r\n");
    client.read_until("0\r\n\r\n");
    // Done with each other, and ready for more.
    assert_eq!(client.get("/hello").status, 200);
    drop(client);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn early_hints_reach_http_1_1_clients_before_the_answer() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_get("/");
    let (mut app, _) = thrust.app().request();
    for number in 0..2 {
        app.send(format!("HTTP/1.1 103 Early Hints\r\nlink: </{number}.css>\r\nconnection: close\r\nkeep-alive: x\r\n\r\n"));
        let hints = client.head();
        assert_eq!(hints.status, 103);
        assert_eq!(
            hints.fields,
            [("link".to_owned(), format!("</{number}.css>"))]
        );
    }
    app.answer("ok");
    let response = client.response();
    assert_eq!(
        (response.text().as_str(), response.interim.len()),
        ("ok", 0)
    );
}

#[test]
fn early_hints_in_one_piece_with_the_answer_come_first() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    let (mut app, _) = thrust.app().request();
    for number in 1..=2 {
        app.send(format!(
            "HTTP/1.1 103 Early Hints\r\nlink: </{number}>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}"
        ));
        let response = client.response();
        assert_eq!(response.text(), number.to_string());
        let statuses: Vec<_> = response
            .interim
            .iter()
            .map(|interim| interim.status)
            .collect();
        assert_eq!(statuses, [103, 102]);
        assert_eq!(
            response.interim[0].field("link"),
            Some(format!("</{number}>"))
        );
        if number == 1 {
            app.request();
        }
    }
}

#[test]
fn early_hints_do_not_reach_http_1_0_clients_and_no_client_gets_the_apps_100() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let (mut app, _) = thrust.app().request();
    app.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
    let response = client.response();
    assert_eq!(
        (response.text().as_str(), response.interim.len()),
        ("ok", 0)
    );

    let mut client = thrust.connect();
    client.send_post("/", b"body");
    let (mut app, _) = thrust.app().request();
    app.send("HTTP/1.1 100 Continue\r\n\r\n");
    app.answer("ok");
    let response = client.response();
    assert_eq!(
        (response.text().as_str(), response.interim.len()),
        ("ok", 0)
    );
}

#[test]
fn interim_responses_pass_while_the_body_is_still_coming() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_head("POST", "/", "content-length: 8\r\n");
    let (mut app, _) = thrust.app().request();
    client.send("body");
    app.read(4);
    app.send("HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(client.head().status, 102);
    client.send("more");
    assert_eq!(app.read(4), b"more");
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn an_event_is_passed_on_while_the_app_holds_the_next_one_back() {
    let thrust = played();
    for fields in [
        "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n",
        "content-type: text/plain\r\ntransfer-encoding: chunked\r\n",
    ] {
        let mut client = thrust.connect();
        client.send_get("/events");
        let (mut app, _) = thrust.app().request();
        // The head alone, too: a page waits for it to open its stream.
        app.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        assert_eq!(client.head().status, 200);
        for number in 0..3 {
            app.send(format!("9\r\ndata: {number}\n\n\r\n"));
            client.read_until(&format!("data: {number}\n\n"));
        }
        app.send("0\r\n\r\n");
        client.read_until("0\r\n\r\n");
    }
}

#[test]
fn pieces_of_a_body_with_a_length_or_without_any_are_passed_on_at_once() {
    let thrust = played();
    for fields in ["content-length: 30\r\n", ""] {
        let mut client = thrust.connect();
        client.send_get("/pieces");
        let (mut app, _) = thrust.app().request();
        app.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        assert_eq!(client.head().status, 200);
        for number in 0..3 {
            app.send(format!("piece no {number}"));
            client.read_until(&format!("piece no {number}"));
        }
    }
}

#[test]
fn pieces_of_an_upload_are_passed_on_at_once() {
    let thrust = played();
    for fields in ["content-length: 30\r\n", "transfer-encoding: chunked\r\n"] {
        let mut client = thrust.connect();
        client.send_head("POST", "/pieces", fields);
        let (mut app, _) = thrust.app().request();
        for number in 0..3 {
            let piece = format!("piece no {number}");
            match fields {
                "content-length: 30\r\n" => client.send(&piece),
                _ => client.send(format!("a\r\n{piece}\r\n")),
            }
            app.read_until(&piece);
        }
    }
}

/// Where a slow machine has time to copy.
fn played_for_long() -> Thrust {
    Thrust::builder()
        .tcp()
        .env("THRUSTER_UPSTREAM_IDLE_TIMEOUT", "60")
        .played()
        .start()
}

/// A client and its connection to the app, after a megabyte each way: what is ever kept has been allocated.
fn warm(thrust: &Thrust) -> (Client, AppConnection) {
    let body = "x".repeat(1_000_000);
    let mut client = thrust.connect();
    client.send_head(
        "POST",
        "/warm",
        &format!("content-length: {}\r\n", body.len()),
    );
    let sending = send_all(&client, body.clone().into_bytes());
    let (mut app, _) = thrust.app().request();
    app.discard(body.len());
    let answering = thread::spawn(move || {
        app.answer(&body);
        app
    });
    assert_eq!(client.response().status, 200);
    assert!(sending.join().expect("no panic"));
    (client, answering.join().expect("no panic"))
}

/// How much Thrust has grown since `before`, in bytes.
fn grown(thrust: &Thrust, before: u64) -> u64 {
    resident_memory_of(thrust.pid()).saturating_sub(before)
}

#[test]
fn a_client_that_does_not_read_costs_little_memory() {
    for chunked in [false, true] {
        let thrust = played_for_long();
        let (mut client, mut app) = warm(&thrust);
        let before = resident_memory_of(thrust.pid());
        client.send_get("/large");
        app.request();
        app.send(match chunked {
            false => format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"),
            true => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{LARGE:x}\r\n"),
        });
        app.write_patience(QUIET);
        let mut sent = 0;
        while let Some(taken) = app.try_send(&PIECE) {
            sent += taken;
            assert!(sent < LARGE / 2, "somebody keeps it all");
        }
        let grown = grown(&thrust, before);
        assert!(grown < SOME, "{grown} bytes");
        // It is all there once it is read.
        app.write_patience(PATIENCE);
        let sending = thread::spawn(move || {
            app.send(vec![b'x'; LARGE - sent]);
            app.send(if chunked { "\r\n0\r\n\r\n" } else { "" });
        });
        assert_eq!(client.response().body.len(), LARGE);
        sending.join().unwrap();
    }
}

#[test]
fn an_app_that_does_not_read_costs_little_memory() {
    for chunked in [false, true] {
        let thrust = played_for_long();
        let (mut client, mut app) = warm(&thrust);
        let before = resident_memory_of(thrust.pid());
        client.send_head(
            "POST",
            "/large",
            &match chunked {
                false => format!("content-length: {LARGE}\r\n"),
                true => "transfer-encoding: chunked\r\n".into(),
            },
        );
        if chunked {
            client.send(format!("{LARGE:x}\r\n"));
        }
        app.request();
        client.stream().set_write_timeout(Some(QUIET)).unwrap();
        let mut sent = 0;
        while let Ok(taken) = client.stream().write(&PIECE) {
            sent += taken;
            assert!(sent < LARGE / 2, "somebody keeps it all");
        }
        let grown = grown(&thrust, before);
        assert!(grown < SOME, "{grown} bytes");
        // It all arrives once it is read.
        client.stream().set_write_timeout(Some(PATIENCE)).unwrap();
        let mut rest = vec![b'x'; LARGE - sent];
        if chunked {
            rest.extend(b"\r\n0\r\n\r\n");
        }
        let sending = send_all(&client, rest);
        if chunked {
            app.discard_until("\r\n0\r\n\r\n");
        } else {
            app.discard(LARGE);
        }
        app.answer("got it");
        assert_eq!(client.response().text(), "got it");
        assert!(sending.join().unwrap());
    }
}

#[test]
fn a_large_body_that_everybody_reads_costs_little_memory_either() {
    let thrust = played_for_long();
    let (mut client, mut app) = warm(&thrust);
    let before = resident_memory_of(thrust.pid());
    client.send_get("/down");
    app.request();
    let sending = thread::spawn(move || {
        app.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"
        ));
        app.send(vec![b'x'; LARGE]);
        app
    });
    assert_eq!(client.response().body.len(), LARGE);
    let mut app = sending.join().unwrap();
    client.send_head("POST", "/up", &format!("content-length: {LARGE}\r\n"));
    let sending = send_all(&client, vec![b'x'; LARGE]);
    app.request();
    app.discard(LARGE);
    app.answer("got it");
    assert_eq!(client.response().text(), "got it");
    assert!(sending.join().unwrap());
    let grown = grown(&thrust, before);
    assert!(grown < SOME, "{grown} bytes");
}

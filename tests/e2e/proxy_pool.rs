//! Connections to the app: kept, reused, aged out, found stale, asked once more, never leaked.

use std::time::Instant;

use crate::support::{Builder, Client, End, PATIENCE, Thrust, eventually, millis, seconds};

/// The app wherever an app can be.
fn everywhere() -> [Builder; 3] {
    [
        Thrust::builder().played(),
        Thrust::builder().tcp().played(),
        Thrust::builder().tcp_v6().played(),
    ]
}

/// Where a reset can be told from an end.
fn tcp() -> Thrust {
    Thrust::builder().tcp().played().start()
}

/// A client whose core has one idle connection to the app: the same core serves all that it sends.
fn with_an_idle_connection(thrust: &Thrust) -> (Client, crate::support::AppConnection) {
    let mut client = thrust.connect();
    client.send_get("/first");
    let (mut app, _) = thrust.app().request();
    app.answer("first");
    assert_eq!(client.response().text(), "first");
    (client, app)
}

#[test]
fn a_connection_to_the_app_serves_one_request_after_another() {
    for builder in everywhere() {
        let thrust = builder.start();
        let (mut client, mut app) = with_an_idle_connection(&thrust);
        for number in 0..3 {
            client.send_post(&format!("/{number}"), b"body");
            let request = app.request();
            assert_eq!(request.line, format!("POST /{number} HTTP/1.1"));
            assert_eq!(app.read(4), b"body");
            app.answer("again");
            assert_eq!(client.response().text(), "again");
        }
        thrust.app().assert_no_request();
    }
}

#[test]
fn it_is_reused_after_every_kind_of_body() {
    let thrust = Thrust::builder().played().start();
    let (mut client, mut app) = with_an_idle_connection(&thrust);
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na",
    ];
    for answer in answers {
        client.send_get("/any");
        app.request();
        app.send(answer);
        client.response();
    }
    // The answer to HEAD has no body whatever its length says.
    client.send_head("HEAD", "/any", "");
    app.request();
    app.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
    client.response();
    client.send_get("/last");
    app.request();
    app.answer("last");
    assert_eq!(client.response().text(), "last");
}

#[test]
fn it_is_not_reused_when_the_app_closes_or_leaves_doubt() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nconnection: foo, Close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        // Bytes that nobody asked for would be read as the next answer.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        // Two framings: one of the hops is being lied to (RFC 9112 section 6.3).
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let thrust = tcp();
        let mut client = thrust.connect();
        client.send_get("/");
        let (mut app, _) = thrust.app().request();
        app.send(answer);
        let response = client.response();
        assert_eq!(response.text(), "ok", "{answer:?}");
        // A close that is between the app and us is none of the client's business.
        assert!(!response.connection("close"), "{answer:?}");
        client.send_get("/next");
        let (mut other, request) = thrust.app().request();
        assert_eq!(request.line, "GET /next HTTP/1.1");
        other.answer("next");
        assert_eq!(client.response().text(), "next", "{answer:?}");
        assert_ne!(app.end(), End::Timeout, "we close it: {answer:?}");
    }
}

#[test]
fn an_idle_connection_is_closed_after_the_idle_timeout() {
    for timeout in [1, 2] {
        let thrust = Thrust::builder()
            .env("THRUSTER_UPSTREAM_IDLE_TIMEOUT", timeout.to_string())
            .played()
            .start();
        let begun = Instant::now();
        let (mut client, mut app) = with_an_idle_connection(&thrust);
        assert_eq!(app.end(), End::Eof);
        let took = begun.elapsed();
        assert!(
            took >= seconds(timeout) && took < seconds(timeout) + millis(1_500),
            "{took:?}"
        );
        client.send_get("/next");
        thrust.app().request().0.answer("next");
        assert_eq!(client.response().text(), "next");
    }
}

#[test]
fn each_use_starts_the_idle_time_anew() {
    let thrust = Thrust::builder()
        .env("THRUSTER_UPSTREAM_IDLE_TIMEOUT", "1")
        .played()
        .start();
    let (mut client, mut app) = with_an_idle_connection(&thrust);
    // The answer comes when the connection would have been idle for too long.
    let begun = Instant::now();
    while begun.elapsed() < millis(1_500) {
        client.send_get("/slow");
        app.request();
        assert!(app.is_quiet(), "nothing closes a connection in use");
        app.answer("slow");
        client.response();
    }
    assert_eq!(app.end(), End::Eof);
}

#[test]
fn an_idle_timeout_of_0_keeps_no_connection() {
    let thrust = Thrust::builder()
        .env("THRUSTER_UPSTREAM_IDLE_TIMEOUT", "0")
        .played()
        .start();
    let (mut client, mut app) = with_an_idle_connection(&thrust);
    assert_eq!(app.end(), End::Eof);
    client.send_get("/next");
    thrust.app().request().0.answer("next");
    assert_eq!(client.response().text(), "next");
}

#[test]
fn a_connection_that_the_app_closed_while_idle_is_replaced_for_any_method() {
    for builder in everywhere() {
        let thrust = builder.start();
        for method in ["GET", "POST"] {
            let (mut client, app) = with_an_idle_connection(&thrust);
            drop(app);
            // A body makes it a request that could never be sent twice.
            client.send_head(method, "/next", "content-length: 4\r\n");
            client.send("body");
            let (mut app, _) = thrust.app().request();
            assert_eq!(app.read(4), b"body");
            app.answer("next");
            assert_eq!(client.response().text(), "next");
        }
    }
}

#[test]
fn a_connection_on_which_the_app_speaks_unasked_is_replaced() {
    let thrust = Thrust::builder().played().start();
    let (mut client, mut app) = with_an_idle_connection(&thrust);
    // As some servers say farewell to an idle connection.
    app.send("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    client.send_post("/next", b"body");
    let (mut other, _) = thrust.app().request();
    other.answer("next");
    assert_eq!(client.response().text(), "next");
    // A reset where the farewell was not read to its end.
    assert_ne!(app.end(), End::Timeout);
}

#[test]
fn a_request_that_may_be_repeated_is_sent_once_more_on_a_fresh_connection() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let thrust = tcp();
        let (mut client, mut app) = with_an_idle_connection(&thrust);
        client.send_head(method, "/again", "content-length: 0\r\nx-mark: 1\r\n");
        let first = app.request();
        // It closes as we write: it may have seen the request, and did not answer.
        drop(app);
        let (mut fresh, second) = thrust.app().request();
        assert_eq!(first.raw, second.raw, "the very same request");
        fresh.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-from: fresh\r\n\r\n");
        let response = client.response();
        assert_eq!(response.field("x-from").as_deref(), Some("fresh"));
        // Only once, and in the log one request.
        thrust.app().assert_no_request();
        assert_eq!(thrust.wait_for_request("/again").field("status"), "200");
    }
}

#[test]
fn a_request_that_may_not_be_repeated_is_seen_once_and_answered_502() {
    let bodies = [
        ("POST", ""),
        ("PATCH", ""),
        ("POST", "body"),
        // Idempotent, but its body is gone.
        ("PUT", "body"),
        ("GET", "body"),
    ];
    for (method, body) in bodies {
        let thrust = tcp();
        let (mut client, mut app) = with_an_idle_connection(&thrust);
        let length = body.len();
        client.send_head(method, "/once", &format!("content-length: {length}\r\n"));
        client.send(body);
        app.request();
        app.read(length);
        app.reset();
        assert_eq!(client.response().status, 502, "{method} {body}");
        thrust.app().assert_no_request();
        let logged = thrust.wait_for_request("/once");
        assert_eq!(logged.field("cause"), "upstream_closed");
    }
}

#[test]
fn a_request_is_repeated_once_and_not_more() {
    let thrust = tcp();
    let (mut client, mut app) = with_an_idle_connection(&thrust);
    client.send_get("/again");
    app.request();
    drop(app);
    drop(thrust.app().request());
    assert_eq!(client.response().status, 502);
    thrust.app().assert_no_request();
}

#[test]
fn a_request_is_not_repeated_on_a_fresh_connection_or_after_a_byte() {
    let thrust = tcp();
    let mut client = thrust.connect();
    client.send_get("/fresh");
    drop(thrust.app().request());
    assert_eq!(client.response().status, 502);
    thrust.app().assert_no_request();

    let (mut client, mut app) = with_an_idle_connection(&thrust);
    client.send_get("/byte");
    app.request();
    app.send("H");
    drop(app);
    assert_eq!(client.response().status, 502);
    thrust.app().assert_no_request();
}

#[test]
fn an_answer_before_the_requests_end_leaks_no_connection() {
    for builder in everywhere() {
        let thrust = builder.start();
        let mut held = Vec::new();
        for _ in 0..5 {
            let mut client = thrust.connect();
            client.send_head("POST", "/early", "content-length: 1000000\r\n");
            let (mut app, _) = thrust.app().request();
            app.answer("enough");
            assert_eq!(client.response().text(), "enough");
            // The client keeps its connection and never sends the rest.
            assert_eq!(app.end(), End::Eof, "nobody holds the app's connection");
            held.push(client);
        }
        for client in &mut held {
            assert_eq!(client.end(), End::Eof);
        }
    }
}

#[test]
fn an_answer_without_a_body_before_the_requests_end_leaks_no_connection_either() {
    for answer in ["204 No Content", "304 Not Modified"] {
        let thrust = Thrust::builder().played().start();
        let mut client = thrust.connect();
        client.send_head("POST", "/early", "content-length: 1000000\r\n");
        let (mut app, _) = thrust.app().request();
        app.send(format!("HTTP/1.1 {answer}\r\n\r\n"));
        assert_eq!(client.response().status.to_string(), answer[..3]);
        assert_eq!(app.end(), End::Eof);
        let logged = thrust.wait_for_request("/early");
        assert_eq!(logged.field("status"), answer[..3]);
        assert_eq!(logged.field("cause"), "", "the client got it all");
    }
}

#[test]
fn hundred_requests_one_after_another_use_few_connections() {
    let mut thrust = Thrust::builder().tcp().start();
    let mut client = thrust.connect();
    for _ in 0..100 {
        assert_eq!(client.get("/hello").status, 200);
    }
    // One of ours; the others are looks whether the app accepts, at most once a second.
    let accepted = thrust.count_child_lines(" accepted");
    assert!(accepted < 20, "{accepted}");
    drop(client);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_connect_that_nobody_takes_is_tried_until_the_connect_timeout() {
    // A unix socket says at once that its queue is full, TCP waits by itself: to the client they are the same.
    for builder in [Thrust::builder(), Thrust::builder().tcp()] {
        let thrust = builder
            .env("THRUSTER_UPSTREAM_CONNECT_TIMEOUT", "1")
            .played()
            .start();
        let app = thrust.app().socket();
        app.listen(0).unwrap();
        let address = app.local_addr().unwrap();
        let queued: Vec<_> = (0..200)
            .map(|_| {
                let socket = socket2::Socket::new(address.domain(), socket2::Type::STREAM, None);
                let socket = socket.unwrap();
                socket.set_nonblocking(true).unwrap();
                let _ = socket.connect(&address);
                socket
            })
            .collect();
        let mut client = thrust.connect();
        let asked = Instant::now();
        let response = client.get("/full");
        let took = asked.elapsed();
        assert_eq!(response.status, 504);
        assert!(took >= millis(950) && took < seconds(3), "{took:?}");
        let logged = thrust.wait_for_request("/full");
        assert_eq!(logged.field("cause"), "upstream_timeout");
        drop(queued);
    }
}

#[test]
fn a_connect_goes_through_when_the_app_takes_up_its_work_again() {
    let thrust = Thrust::builder().played().start();
    let app = thrust.app().socket();
    app.listen(0).unwrap();
    let address = app.local_addr().unwrap();
    let fill = || {
        let socket = socket2::Socket::new(address.domain(), socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&address).map(|()| socket)
    };
    let mut queued = Vec::new();
    assert!(eventually(PATIENCE, || match fill() {
        Ok(socket) => {
            queued.push(socket);
            false
        }
        Err(_) => true,
    }));
    let mut client = thrust.connect();
    client.send_post("/full", b"body");
    drop(queued);
    // Accepting makes room: those before it were ours and bring nothing.
    thrust.app().request().0.answer("at last");
    assert_eq!(client.response().text(), "at last");
}

//! The clocks that watch the client: its head, its body, what it takes, and how long it says nothing.
//!
//! The clocks know whole seconds, so these tests take some. Where one sleeps, it is a slow client and not a wait for
//! something to happen.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::support::{
    AppConnection, Builder, Client, End, PATIENCE, Thrust, eventually, millis, seconds, unread,
};

/// More than all buffers between the app and a client that reads nothing.
const MUCH: usize = 40_000_000;

fn clock(name: &str, value: u64) -> Builder {
    Thrust::builder().env(name, value.to_string())
}

/// A client that tells its peer early that it is full.
fn small_client(thrust: &Thrust) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(32 * 1024).expect("a size");
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, thrust.port()).into();
    socket.connect(&address.into()).expect("Thrust listens");
    Client::from_stream(TcpStream::from(socket)).expect("connected")
}

/// Answers with more than anybody has room for, in the background.
fn send_much(mut app: AppConnection) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        app.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {MUCH}\r\n\r\n"));
        app.send(vec![b'x'; MUCH]);
    })
}

/// `since` is before the clock can have started, so that a slow test sees no fast clock.
#[track_caller]
fn assert_took(since: Instant, limit: u64) {
    let took = since.elapsed();
    let allowed = seconds(limit)..seconds(limit) + millis(1_500);
    assert!(allowed.contains(&took), "{took:?} with {limit} s");
}

/// Lets time pass for a slow client.
fn pace(pause: Duration) {
    thread::sleep(pause);
}

#[test]
fn half_a_head_is_408_after_the_read_timeout() {
    for limit in [1, 2] {
        let thrust = clock("HTTP_READ_TIMEOUT", limit).played().start();
        let mut client = thrust.connect();
        let begun = Instant::now();
        client.send("GET /half HTTP/1.1\r\nhost: a\r\n");
        let response = client.response();
        assert_took(begun, limit);
        assert_eq!(response.status, 408);
        assert!(response.connection("close") && response.field("date").is_some());
        assert_eq!(client.end(), End::Eof);
        thrust.wait_for("request refused");
    }
}

#[test]
fn a_head_byte_by_byte_gets_no_more_time() {
    let thrust = clock("HTTP_READ_TIMEOUT", 1).played().start();
    let mut client = thrust.connect().patience(millis(150));
    let begun = Instant::now();
    let head = "GET / HTTP/1.1\r\nhost: a\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n";
    for byte in head.as_bytes().chunks(1) {
        if client.try_send(byte).is_err() {
            break;
        }
        match client.try_response() {
            Ok(response) => {
                assert_eq!(response.status, 408);
                assert_took(begun, 1);
                return;
            }
            Err(failure) => assert_eq!(failure.end, End::Timeout),
        }
    }
    panic!("it got {:?}", begun.elapsed());
}

#[test]
fn half_a_head_behind_a_request_is_408_too() {
    let thrust = clock("HTTP_READ_TIMEOUT", 2).played().start();
    let mut client = thrust.connect();
    client.send("GET /whole HTTP/1.1\r\nhost: a\r\n\r\nGET /half HT");
    thrust.app().request().0.answer("whole");
    assert_eq!(client.response().text(), "whole");
    assert_eq!(client.response().status, 408);
    assert_eq!(client.end(), End::Eof);
}

#[test]
fn half_a_head_behind_a_request_may_be_completed() {
    let thrust = Thrust::builder().played().start();
    let mut client = thrust.connect();
    client.send("GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HT");
    let (mut app, _) = thrust.app().request();
    app.answer("one");
    assert_eq!(client.response().text(), "one");
    // Long enough for an idle connection to have given its buffers back.
    pace(millis(1_500));
    client.send("TP/1.1\r\nhost: b\r\n\r\n");
    let request = app.request();
    assert_eq!(request.line, "GET /two HTTP/1.1");
    assert_eq!(request.field("host"), Some("b"));
    app.answer("two");
    assert_eq!(client.response().text(), "two");
}

#[test]
fn an_empty_line_behind_a_request_is_no_head() {
    // Some clients send one after a body; it must neither cost them the connection nor a 408.
    let thrust = clock("HTTP_READ_TIMEOUT", 1).played().start();
    let mut client = thrust.connect();
    client.send("POST /one HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody\r\n");
    let (mut app, _) = thrust.app().request();
    app.answer("one");
    assert_eq!(client.response().text(), "one");
    app.read(4);
    pace(millis(2_500));
    client.send_get("/two");
    app.request();
    app.answer("two");
    assert_eq!(client.response().text(), "two");
}

#[test]
fn a_client_that_never_sends_is_closed_after_the_read_timeout() {
    for limit in [1, 2] {
        let thrust = clock("HTTP_READ_TIMEOUT", limit).played().start();
        let begun = Instant::now();
        assert_eq!(thrust.connect().end(), End::Eof);
        assert_took(begun, limit);
    }
}

#[test]
fn a_body_without_progress_is_408_after_the_read_timeout() {
    for fields in [
        "content-length: 9\r\n\r\nbody",
        "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n",
    ] {
        let thrust = clock("HTTP_READ_TIMEOUT", 1).played().start();
        let mut client = thrust.connect();
        let begun = Instant::now();
        client.send(format!("POST /stuck HTTP/1.1\r\nhost: a\r\n{fields}"));
        let (mut app, _) = thrust.app().request();
        app.read_until("body");
        let response = client.response();
        assert_took(begun, 1);
        assert_eq!(response.status, 408);
        assert!(response.connection("close"));
        assert_eq!(client.end(), End::Eof);
        assert_eq!(app.end(), End::Eof, "half a request is cancelled");
        let logged = thrust.wait_for_request("/stuck");
        assert_eq!(
            (logged.number("status"), &*logged.field("cause")),
            (408, "body_timeout")
        );
    }
}

#[test]
fn a_slow_body_that_makes_progress_takes_as_long_as_it_takes() {
    let thrust = clock("HTTP_READ_TIMEOUT", 2).played().start();
    let mut client = thrust.connect();
    client.send_head("POST", "/slow", "content-length: 6\r\n");
    let (mut app, _) = thrust.app().request();
    for _ in 0..6 {
        pace(millis(500));
        client.send("x");
        app.read(1);
    }
    app.answer("thanks");
    assert_eq!(client.response().text(), "thanks");
}

#[test]
fn an_app_that_does_not_read_is_not_the_clients_fault() {
    let thrust = clock("HTTP_READ_TIMEOUT", 1).played().start();
    let mut client = thrust.connect();
    client.send_head("POST", "/stuck", &format!("content-length: {MUCH}\r\n"));
    let mut sender = client.stream().try_clone().unwrap();
    let sending = thread::spawn(move || sender.write_all(&vec![b'x'; MUCH]));
    let (mut app, _) = thrust.app().request();
    // The client is stuck for longer than its clock, and has nothing to answer for.
    thrust.assert_no("Request", millis(2_500));
    assert!(!sending.is_finished());
    app.discard(MUCH);
    app.answer("at last");
    assert_eq!(client.response().text(), "at last");
    sending.join().unwrap().unwrap();
}

#[test]
fn the_read_clock_does_not_run_while_the_app_thinks() {
    let thrust = clock("HTTP_READ_TIMEOUT", 1).played().start();
    let mut client = thrust.connect();
    client.send_post("/think", b"body");
    let (mut app, _) = thrust.app().request();
    app.read(4);
    pace(millis(2_500));
    app.answer("thought");
    assert_eq!(client.response().text(), "thought");
}

#[test]
fn a_read_timeout_of_0_waits_for_ever() {
    let thrust = clock("HTTP_READ_TIMEOUT", 0).played().start();
    let mut silent = thrust.connect();
    let mut head = thrust.connect();
    head.send("GET /head HTTP/1.1\r\n");
    let mut body = thrust.connect();
    body.send_head("POST", "/body", "content-length: 4\r\n");
    let (mut app, _) = thrust.app().request();
    pace(millis(2_500));
    body.send("body");
    app.read(4);
    app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody");
    assert_eq!(body.response().text(), "body");
    for (client, text) in [
        (&mut silent, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        (&mut head, "host: a\r\n\r\n"),
    ] {
        client.send(text);
        let (mut app, _) = thrust.app().request();
        app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlate");
        assert_eq!(client.response().text(), "late");
    }
}

#[test]
fn a_client_that_takes_no_byte_is_cut_after_the_write_timeout() {
    for limit in [1, 2] {
        let thrust = clock("HTTP_WRITE_TIMEOUT", limit).played().start();
        let mut client = small_client(&thrust);
        let begun = Instant::now();
        client.send_get("/stuck");
        let (mut app, _) = thrust.app().request();
        app.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {MUCH}\r\n\r\n"));
        // Thrust takes no more of it than the client has room for.
        let mut longest = Duration::ZERO;
        loop {
            let began = Instant::now();
            let taken = app.try_send(&[b'x'; 100_000]);
            longest = longest.max(began.elapsed());
            if taken.is_none() {
                break;
            }
        }
        assert!(begun.elapsed() >= seconds(limit));
        assert!(longest < seconds(limit) + millis(1_500), "{longest:?}");
        let logged = thrust.wait_for_request("/stuck");
        assert_eq!(
            (logged.number("status"), &*logged.field("cause")),
            (200, "write_timeout")
        );
        assert_eq!(logged.field("closed_by"), "thrust");
        // What it had been sent it may still read; that is not all, and it can tell.
        let failure = client.try_response().unwrap_err();
        assert_ne!(failure.end, End::Timeout);
    }
}

#[test]
fn a_slow_client_that_takes_some_bytes_gets_them_all() {
    let thrust = clock("HTTP_WRITE_TIMEOUT", 1).played().start();
    let mut client = small_client(&thrust);
    client.send_get("/slow");
    let (app, _) = thrust.app().request();
    let sending = send_much(app);
    // Far less than frees the kernel's buffer in a second; yet it is taken.
    let begun = Instant::now();
    let (mut piece, mut taken) = (vec![0; 16 * 1024], 0);
    while begun.elapsed() < seconds(5) {
        taken += client.stream().read(&mut piece).unwrap();
        pace(millis(60));
    }
    while taken < MUCH {
        let read = client.stream().read(&mut piece).unwrap();
        assert_ne!(read, 0, "cut after {taken}");
        taken += read;
    }
    sending.join().unwrap();
    assert_eq!(thrust.wait_for_request("/slow").field("cause"), "");
}

#[test]
fn an_app_that_is_silent_for_longer_than_the_write_timeout_is_waited_for() {
    let thrust = clock("HTTP_WRITE_TIMEOUT", 1).played().start();
    let mut client = thrust.connect();
    client.send_get("/pause");
    let (mut app, _) = thrust.app().request();
    pace(millis(1_500));
    app.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst");
    client.head();
    client.read_until("first");
    pace(millis(2_500));
    app.send("after");
    assert_eq!(client.read_until("after"), "after");
}

#[test]
fn a_write_timeout_of_0_waits_for_ever() {
    let thrust = clock("HTTP_WRITE_TIMEOUT", 0).played().start();
    let mut client = small_client(&thrust);
    client.send_get("/stuck");
    let (app, _) = thrust.app().request();
    let sending = send_much(app);
    thrust.assert_no("Request", millis(2_500));
    assert!(!sending.is_finished());
    assert_eq!(client.response().body.len(), MUCH);
    sending.join().unwrap();
}

#[test]
fn an_idle_connection_is_closed_after_the_idle_timeout() {
    for limit in [1, 2, 3] {
        let thrust = clock("HTTP_IDLE_TIMEOUT", limit).played().start();
        let mut client = thrust.connect();
        client.send_get("/");
        let (mut app, _) = thrust.app().request();
        let begun = Instant::now();
        app.answer("ok");
        client.response();
        assert_eq!(client.end(), End::Eof);
        assert_took(begun, limit);
    }
}

#[test]
fn a_connection_that_has_been_idle_for_a_while_serves_on() {
    let thrust = clock("HTTP_IDLE_TIMEOUT", 3).played().start();
    let mut client = thrust.connect();
    client.send_get("/");
    let (mut app, _) = thrust.app().request();
    app.answer("ok");
    client.response();
    for _ in 0..2 {
        // Past the moment at which its buffers are given back.
        pace(millis(1_700));
        client.send_get("/again");
        app.request();
        app.answer("again");
        assert_eq!(client.response().text(), "again");
    }
}

#[test]
fn the_idle_clock_does_not_run_during_a_request() {
    let thrust = clock("HTTP_IDLE_TIMEOUT", 1).played().start();
    let mut client = thrust.connect();
    client.send_get("/");
    let (mut app, _) = thrust.app().request();
    pace(millis(2_500));
    let begun = Instant::now();
    app.answer("slow");
    assert_eq!(client.response().text(), "slow");
    assert_eq!(client.end(), End::Eof);
    assert_took(begun, 1);
}

#[test]
fn an_idle_timeout_of_0_waits_for_ever() {
    let thrust = clock("HTTP_IDLE_TIMEOUT", 0).played().start();
    let mut client = thrust.connect();
    client.send_get("/");
    let (mut app, _) = thrust.app().request();
    app.answer("ok");
    client.response();
    pace(millis(2_500));
    client.send_get("/again");
    app.request();
    app.answer("again");
    assert_eq!(client.response().text(), "again");
}

#[test]
fn no_clock_runs_in_a_tunnel() {
    let thrust = Thrust::builder()
        .env("HTTP_READ_TIMEOUT", "1")
        .env("HTTP_WRITE_TIMEOUT", "1")
        .env("HTTP_IDLE_TIMEOUT", "1")
        .played()
        .start();
    let mut client = thrust.connect();
    client.send_head("GET", "/", "connection: upgrade\r\nupgrade: x\r\n");
    let (mut app, _) = thrust.app().request();
    app.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert_eq!(client.head().status, 101);
    pace(millis(2_500));
    client.send("ping");
    assert_eq!(app.read(4), b"ping");
    app.send("pong");
    client.read_until("pong");
}

#[test]
fn a_client_that_leaves_cancels_its_request() {
    // Before the head, within the body of the answer, and within its own body.
    let thrust = Thrust::builder().tcp().played().start();
    let moments: [(&str, &str, &str); 6] = [
        ("/head", "\r\n", ""),
        ("/thinking", "content-length: 4\r\n\r\nbody", ""),
        (
            "/streaming",
            "\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst",
        ),
        (
            "/chunks",
            "\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        ),
        ("/upload", "content-length: 9\r\n\r\nbody", ""),
        (
            "/echo",
            "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        ),
    ];
    for reset in [false, true] {
        for (target, request, answer) in moments {
            let target = format!("{target}-{reset}");
            let mut client = thrust.connect();
            client.send(format!("POST {target} HTTP/1.1\r\nhost: a\r\n{request}"));
            let (mut app, _) = thrust.app().request();
            if request.contains("body") {
                app.read_until("body");
            }
            if !answer.is_empty() {
                app.send(answer);
                client.read_until("first");
            }
            if reset {
                let stream = client.stream();
                socket2::SockRef::from(stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
            drop(client);
            assert_ne!(app.end(), End::Timeout, "{target}");
            let logged = thrust.wait_for_request(&target);
            assert_eq!(
                (logged.number("status"), &*logged.field("cause")),
                (499, "client_gone"),
                "{target}"
            );
        }
    }
}

#[test]
fn a_client_that_leaves_while_it_is_held_makes_room() {
    let mut thrust = Thrust::builder().app(["--start-when", "up"]).spawn();
    thrust.wait_for("listening");
    let mut client = thrust.connect();
    client.send_get("/held");
    // A client that is gone before its request was read never made one.
    let (port, own) = (thrust.port(), client.stream().local_addr().unwrap().port());
    assert!(eventually(PATIENCE, || unread(port, own) == Some(0)));
    drop(client);
    let logged = thrust.wait_for_request("/held");
    assert_eq!(
        (logged.number("status"), &*logged.field("cause")),
        (499, "client_gone")
    );
    thrust.open_gate("up");
    thrust.wait_for("app ready");
    assert!(!thrust.has_child_line("request GET /held"));
    assert_eq!(thrust.get("/hello").status, 200);
    assert!(
        thrust
            .find(PATIENCE, |line| line.field("path") == "/hello")
            .is_some()
    );
    assert_eq!(thrust.stop(), 143);
}

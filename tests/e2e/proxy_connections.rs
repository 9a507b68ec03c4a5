//! The client's connection: answers in their order, and no more connections than are allowed.

use crate::support::{Client, End, QUIET, Thrust};

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    let piped = (0..50).map(|number| match number % 3 {
        0 => format!("GET /bytes?n={number} HTTP/1.1\r\nhost: a\r\n\r\n"),
        1 => {
            let body = "e".repeat(number);
            format!(
                "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {number}\r\n\r\n{body}"
            )
        }
        _ => {
            let body = "c".repeat(number);
            format!(
                "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{number:x}\r\n{body}\r\n0\r\n\r\n"
            )
        }
    });
    let wire: String = piped.collect();
    client.send(wire);
    for number in 0..50 {
        let response = client.response();
        assert_eq!((response.status, response.body.len()), (200, number));
    }
    drop(client);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_slow_answer_holds_back_those_behind_it() {
    let thrust = Thrust::builder().played().start();
    let mut client = thrust.connect();
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.line, "GET /1 HTTP/1.1");
    assert!(app.is_quiet(), "one at a time");
    app.answer("one");
    assert_eq!(app.request().line, "GET /2 HTTP/1.1");
    app.answer("two");
    assert_eq!(client.response().text(), "one");
    assert_eq!(client.response().text(), "two");
}

#[test]
fn after_a_request_that_closes_those_behind_it_are_nobodys() {
    let thrust = Thrust::builder().played().start();
    let mut client = thrust.connect();
    client.send(
        "GET /1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    let (mut app, _) = thrust.app().request();
    app.answer("one");
    assert_eq!(client.response().text(), "one");
    assert_ne!(client.rest().1, End::Timeout);
    assert!(app.is_quiet());
}

#[test]
fn a_refusal_in_a_pipeline_answers_those_before_it() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\nGET /hello HTTP/1.1\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response().status, 400);
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.stop(), 143);
    assert_eq!(thrust.count_child_lines("request GET"), 1);
}

#[test]
fn connections_beyond_max_connections_wait_and_are_served_later() {
    for limit in [2, 5] {
        let mut thrust = Thrust::builder()
            .env("THRUSTER_MAX_CONNECTIONS", limit.to_string())
            .start();
        let mut inside: Vec<_> = (0..limit)
            .map(|number| {
                let client = thrust.wait_at_gate(&format!("g{number}"));
                client.patience(QUIET)
            })
            .collect();
        // Connected as far as their kernels know, with a request sent.
        let mut waiting: Vec<_> = (0..3).map(|_| thrust.connect().patience(QUIET)).collect();
        for client in &mut waiting {
            // Each leaves room for the next; which of them comes first is the kernel's affair.
            client.send_head("GET", "/hello", "connection: close\r\n");
        }
        for client in &mut waiting {
            let failure = client.try_response().unwrap_err();
            assert_eq!((failure.end, failure.received.len()), (End::Timeout, 0));
        }
        assert!(!thrust.has_child_line("request GET /hello"));
        drop(inside.pop());
        for client in waiting {
            let mut client = client.patience(crate::support::PATIENCE);
            assert_eq!(client.response().status, 200);
        }
        for (number, client) in inside.into_iter().enumerate() {
            thrust.open_gate(&format!("g{number}"));
            assert_eq!(
                client.patience(crate::support::PATIENCE).response().status,
                200
            );
        }
        assert_eq!(thrust.stop(), 143);
    }
}

#[test]
fn max_connections_counts_tunnels_and_forgets_them() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_MAX_CONNECTIONS", "1")
        .start();
    let mut tunnel = thrust.connect();
    tunnel.send_head(
        "GET",
        "/upgrade",
        "connection: upgrade\r\nupgrade: echo\r\n",
    );
    assert_eq!(tunnel.head().status, 101);
    let mut waiting = thrust.connect().patience(QUIET);
    waiting.send_get("/hello");
    assert_eq!(waiting.try_response().unwrap_err().end, End::Timeout);
    drop(tunnel);
    let mut waiting = waiting.patience(crate::support::PATIENCE);
    assert_eq!(waiting.response().status, 200);
    drop(waiting);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn many_clients_at_once_are_all_served() {
    let mut thrust = Thrust::builder().start();
    let port = thrust.port();
    let mut clients: Vec<_> = (0..200).map(|_| Client::connect(port)).collect();
    for round in 0..3 {
        for client in &mut clients {
            client.send_get(&format!("/bytes?n={round}000"));
        }
        for client in &mut clients {
            assert_eq!(client.response().body.len(), round * 1000);
        }
    }
    drop(clients);
    assert_eq!(thrust.stop(), 143);
}

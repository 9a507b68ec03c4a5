//! After a 101: bytes both ways, none lost, each half closed in its own time.

use std::time::Duration;

use nix::sys::signal::Signal::SIGTERM;

use crate::support::{AppConnection, Client, End, PATIENCE, Thrust, millis};

const ASKED: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

/// Both ends of a tunnel.
fn tunnel(thrust: &Thrust) -> (Client, AppConnection) {
    let mut client = thrust.connect();
    client.send_head("GET", "/cable", ASKED);
    let (mut app, _) = thrust.app().request();
    app.send(SWITCHED);
    assert_eq!(client.head().status, 101);
    (client, app)
}

#[test]
fn an_upgrade_is_asked_for_and_granted_with_its_fields() {
    let thrust = Thrust::builder().played().start();
    let mut client = thrust.connect();
    client.send_head("GET", "/cable", ASKED);
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.field("connection"), Some("upgrade"));
    assert_eq!(request.field("upgrade"), Some("websocket"));
    assert_eq!(
        request.field("sec-websocket-key"),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    app.send(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: abc\r\n\
         sec-websocket-protocol: actioncable-v1-json\r\n\r\n",
    );
    let head = client.head();
    assert_eq!(head.status, 101);
    assert!(head.connection("upgrade"));
    assert_eq!(head.field("upgrade").as_deref(), Some("websocket"));
    assert_eq!(head.field("sec-websocket-accept").as_deref(), Some("abc"));
    assert_eq!(
        head.field("sec-websocket-protocol").as_deref(),
        Some("actioncable-v1-json")
    );
    assert_eq!(head.field("content-length"), None);
    assert_eq!(head.field("transfer-encoding"), None);
    let logged = thrust.wait_for_request("/cable");
    assert_eq!(
        (logged.number("status"), &*logged.field("cause")),
        (101, "")
    );
}

#[test]
fn a_websocket_echoes_through_a_real_app() {
    for builder in [Thrust::builder(), Thrust::builder().tcp()] {
        let mut thrust = builder.start();
        let mut client = thrust.connect();
        client.send_head("GET", "/upgrade", ASKED);
        let head = client.head();
        assert_eq!(head.status, 101);
        // Of RFC 6455 section 1.3.
        assert_eq!(
            head.field("sec-websocket-accept").as_deref(),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        client.read_until("welcome\n");
        for size in [1, 1_000, 1_000_000] {
            let mut sender = client.stream().try_clone().unwrap();
            let message = vec![b'x'; size];
            let sending =
                std::thread::spawn(move || std::io::Write::write_all(&mut sender, &message));
            client.read_until(&"x".repeat(size));
            sending.join().unwrap().unwrap();
        }
        drop(client);
        thrust.wait_for_child_line("done GET /upgrade");
        assert_eq!(thrust.stop(), 143);
    }
}

#[test]
fn bytes_sent_together_with_the_request_are_not_lost() {
    let thrust = Thrust::builder().played().start();
    for size in [5, 30_000] {
        let early = "e".repeat(size);
        let mut client = thrust.connect();
        client.send(format!(
            "GET /cable HTTP/1.1\r\nhost: a\r\n{ASKED}\r\n{early}"
        ));
        let (mut app, _) = thrust.app().request();
        assert!(app.is_quiet(), "not before the app has switched");
        app.send(SWITCHED);
        assert_eq!(client.head().status, 101);
        assert_eq!(app.read(size), early.as_bytes());
        client.send("later");
        assert_eq!(app.read(5), b"later");
    }
}

#[test]
fn bytes_sent_together_with_the_101_are_not_lost() {
    let thrust = Thrust::builder().played().start();
    for size in [5, 30_000] {
        let early = "e".repeat(size);
        let mut client = thrust.connect();
        client.send_head("GET", "/cable", ASKED);
        let (mut app, _) = thrust.app().request();
        app.send(format!("{SWITCHED}{early}"));
        assert_eq!(client.head().status, 101);
        assert_eq!(client.read_until(&early), early);
        app.send("later");
        client.read_until("later");
    }
}

#[test]
fn the_client_may_close_its_half_first() {
    let thrust = Thrust::builder().tcp().played().start();
    let (mut client, mut app) = tunnel(&thrust);
    client.send("last words");
    client.finish_sending();
    assert_eq!(app.read(10), b"last words");
    assert_eq!(app.end(), End::Eof);
    app.send("answer");
    client.read_until("answer");
    drop(app);
    assert_eq!(client.end(), End::Eof);
}

#[test]
fn the_app_may_close_its_half_first() {
    let thrust = Thrust::builder().tcp().played().start();
    let (mut client, mut app) = tunnel(&thrust);
    app.send("last words");
    app.finish_sending();
    client.read_until("last words");
    assert_eq!(client.end(), End::Eof);
    client.send("answer");
    assert_eq!(app.read(6), b"answer");
    drop(client);
    assert_eq!(app.end(), End::Eof);
}

#[test]
fn a_client_that_disappears_frees_the_app() {
    let thrust = Thrust::builder().tcp().played().start();
    let (client, mut app) = tunnel(&thrust);
    socket2::SockRef::from(client.stream())
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    assert_ne!(app.end(), End::Timeout);
}

#[test]
fn an_app_that_disappears_frees_the_client() {
    let thrust = Thrust::builder().tcp().played().start();
    let (mut client, mut app) = tunnel(&thrust);
    app.send("last words");
    client.read_until("last words");
    app.reset();
    assert_eq!(
        client.end(),
        End::Eof,
        "a reset would destroy what was not read yet"
    );
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer() {
    for status in ["200 OK", "400 Bad Request", "426 Upgrade Required"] {
        let thrust = Thrust::builder().played().start();
        let mut client = thrust.connect();
        client.send_head("GET", "/cable", ASKED);
        let (mut app, _) = thrust.app().request();
        app.send(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno"));
        let response = client.response();
        assert_eq!(
            (response.status.to_string(), &*response.text()),
            (status[..3].into(), "no")
        );
        // Both connections go on.
        client.send_get("/next");
        app.request();
        app.answer("next");
        assert_eq!(client.response().text(), "next", "{status}");
    }
}

#[test]
fn a_101_without_the_protocol_is_no_answer() {
    let thrust = Thrust::builder().played().start();
    let mut client = thrust.connect();
    client.send_head("GET", "/cable", ASKED);
    let (mut app, _) = thrust.app().request();
    app.send("HTTP/1.1 101 Switching Protocols\r\n\r\n");
    assert_eq!(client.response().status, 502);
    assert_ne!(app.end(), End::Timeout);
}

#[test]
fn an_http_1_0_client_cannot_upgrade() {
    let thrust = Thrust::builder().played().start();
    let mut client = thrust.connect();
    client.send(format!("GET /cable HTTP/1.0\r\nhost: a\r\n{ASKED}\r\n"));
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.field("upgrade"), None);
    app.answer("plain");
    assert_eq!(client.response().text(), "plain");
}

#[test]
fn tunnels_are_counted_as_such() {
    let mut thrust = Thrust::builder().played().start();
    let mut tunnels: Vec<_> = (0..3).map(|_| tunnel(&thrust)).collect();
    // One has ended, and is not counted any more.
    let (mut client, mut app) = tunnels.pop().expect("three");
    client.finish_sending();
    assert_eq!(app.end(), End::Eof);
    drop(app);
    assert_eq!(client.end(), End::Eof);
    drop(client);
    thrust.signal(SIGTERM);
    let draining = thrust.wait_for("draining");
    assert_eq!(
        (draining.number("tunnels"), draining.number("in_flight")),
        (2, 0)
    );
    thrust.wait_exit(PATIENCE);
    for (client, app) in &mut tunnels {
        assert_eq!(client.end(), End::Eof);
        assert_eq!(app.end(), End::Eof);
    }
}

#[test]
fn a_tunnel_pushes_back() {
    // A client that does not read: the app stands still, and our memory too.
    let thrust = Thrust::builder().tcp().played().start();
    let (mut client, mut app) = tunnel(&thrust);
    app.send("warm");
    client.read_until("warm");
    let before = crate::support::resident_memory_of(thrust.pid());
    app.write_patience(millis(300));
    let mut sent = 0;
    while let Some(wrote) = app.try_send(&[b'x'; 100_000]) {
        sent += wrote;
        assert!(sent < 200_000_000, "somebody keeps it all");
    }
    let grown = crate::support::resident_memory_of(thrust.pid()).saturating_sub(before);
    assert!(grown < 4_000_000, "{grown} bytes");
    // And goes on where it stood.
    let end = std::thread::spawn(move || client.rest());
    app.write_patience(PATIENCE);
    app.send("end");
    drop(app);
    let (taken, _) = end.join().unwrap();
    assert_eq!(taken.len(), sent + 3);
}

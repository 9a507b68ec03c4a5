//! PROXY_PROTOCOL: connections that begin with a PROXY header, by hand and by HAProxy.

use std::{
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal::{SIGCONT, SIGSTOP, SIGTERM};

use crate::support::{
    Builder, Client, End, HaProxy, Hammer, PATIENCE, Thrust, alone, eventually,
    frames::Frames,
    millis, seconds,
    secure::{HTTP_1, HTTP_2, Secure, https, https_port},
    state_of,
};

/// Both versions of the same introduction.
const LINE: &str = "PROXY TCP4 203.0.113.9 192.0.2.1 56324 80\r\n";
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x01\xdc\x04\0\x50";

/// Of whom both speak.
const CLIENT: &str = "203.0.113.9:56324";

fn introduced() -> Builder {
    Thrust::builder().env("THRUSTER_PROXY_PROTOCOL", "1")
}

/// The head as the app got it.
fn head(client: &mut Client) -> String {
    let response = client.get("/headers");
    assert_eq!(response.status, 200);
    response.text()
}

fn assert_line(head: &str, line: &str) {
    assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
}

#[test]
fn both_versions_name_the_client_to_the_app_and_to_the_log() {
    for header in [LINE.as_bytes(), BINARY] {
        let thrust = introduced().start();
        let mut client = thrust.connect();
        client.send(header);
        client.send_head("GET", "/headers", "x-forwarded-for: 1.2.3.4\r\n");
        let seen = client.response().text();
        // The client is the first to be heard, and what it says of others is made up.
        assert_line(&seen, "x-forwarded-for: 203.0.113.9");
        assert_line(&seen, "x-forwarded-proto: http");
        let line = thrust.wait_for_request("/headers");
        assert_eq!(line.field("remote_addr"), CLIENT);
        assert_line(&head(&mut client), "x-forwarded-for: 203.0.113.9");
    }
}

#[test]
fn a_header_may_come_in_any_pieces_and_together_with_requests() {
    let thrust = introduced().start();
    for header in [LINE.as_bytes(), BINARY] {
        let mut client = thrust.connect();
        for byte in header {
            client.send([*byte]);
        }
        assert_line(&head(&mut client), "x-forwarded-for: 203.0.113.9");
        let mut client = thrust.connect();
        let request = b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2);
        client.send([header, &request].concat());
        assert_eq!(client.response().status, 200);
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn what_else_a_header_says_is_passed_over_however_long_it_is() {
    let thrust = introduced().start();
    for length in [0, 500, 5_000, 60_000_u16] {
        let mut header = BINARY.to_vec();
        let more = if length == 0 { 0 } else { length + 3 };
        header[14..16].copy_from_slice(&(12 + more).to_be_bytes());
        if length > 0 {
            header.push(0xea);
            header.extend(length.to_be_bytes());
            header.extend(vec![0xff; length.into()]);
        }
        let mut client = thrust.connect();
        client.send(header);
        assert_line(&head(&mut client), "x-forwarded-for: 203.0.113.9");
    }
}

#[test]
fn a_peer_that_speaks_for_itself_is_the_client() {
    let thrust = introduced().start();
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut client = thrust.connect();
        client.send(header);
        assert_line(&head(&mut client), "x-forwarded-for: 127.0.0.1");
    }
}

#[test]
fn https_at_the_proxy_is_https_to_the_app() {
    let thrust = introduced().start();
    let mut client = thrust.connect();
    let mut header = BINARY.to_vec();
    header[15] += 8;
    header.extend([0x20, 0, 5, 1, 0, 0, 0, 0]);
    client.send(header);
    assert_line(&head(&mut client), "x-forwarded-proto: https");
}

#[test]
fn without_a_header_a_connection_ends_without_a_word() {
    let thrust = introduced().start();
    let line = "PROXY TCP4 203.0.113.9 192.0.2.1 563240 80\r\n";
    let (newer, other) = (
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\0",
    );
    let bad: [&[u8]; 6] = [
        b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\0\x05hello",
        line.as_bytes(),
        newer,
        other,
    ];
    for (number, bytes) in bad.into_iter().enumerate() {
        let mut client = thrust.connect();
        client.send(bytes);
        assert_eq!(client.end(), End::Eof, "{bytes:?}");
        let said = thrust.wait_for_nth(number, "connection refused", PATIENCE);
        assert_eq!(said.field("cause"), "no_proxy_header");
    }
    assert!(!thrust.has_child_line("request GET"));
}

#[test]
fn a_header_that_nobody_expects_is_no_request() {
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send(LINE);
    client.send_get("/hello");
    assert_eq!(client.response().status, 400);
}

#[test]
fn only_a_trusted_proxy_may_introduce_anybody() {
    let thrust = introduced()
        .env("THRUSTER_TRUSTED_PROXIES", "10.0.0.0/8")
        .start();
    let mut client = thrust.connect();
    assert_eq!(client.end(), End::Eof, "before it has said anything");
    let said = thrust.wait_for("connection refused");
    assert_eq!(said.field("cause"), "peer_not_trusted");
}

#[test]
fn who_is_introduced_may_be_a_proxy_that_is_trusted() {
    let thrust = introduced()
        .env("THRUSTER_TRUSTED_PROXIES", "127.0.0.1, 203.0.113.0/24")
        .start();
    let ask = |header: &str| {
        let mut client = thrust.connect();
        client.send(header);
        client.send_head("GET", "/headers", "x-forwarded-for: 198.51.100.7\r\n");
        client.response().text()
    };
    assert_line(&ask(LINE), "x-forwarded-for: 198.51.100.7, 203.0.113.9");
    let stranger = LINE.replace("203.0.113.9", "192.0.2.9");
    assert_line(&ask(&stranger), "x-forwarded-for: 192.0.2.9");
}

#[test]
fn the_header_comes_before_the_handshake_and_before_http_2() {
    let thrust = https()
        .env("THRUSTER_PROXY_PROTOCOL", "1")
        .env("H2C_ENABLED", "1")
        .env("TLS_DOMAIN", "test.example")
        .start();
    let connect = |port| {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        tcp.write_all(BINARY).expect("connected");
        tcp
    };
    let mut secure = Secure::over(connect(https_port(&thrust)), HTTP_1);
    let seen = secure.get("/headers");
    assert_line(&seen, "x-forwarded-for: 203.0.113.9");
    assert_line(&seen, "x-forwarded-proto: https");
    let secure = Secure::over(connect(https_port(&thrust)), HTTP_2);
    let mut client = Frames::over(secure);
    client.introduce();
    client.get(1, "/headers");
    assert_line(&client.response(1).text(), "x-forwarded-for: 203.0.113.9");
    // The plain port redirects.
    let mut client = thrust.connect();
    client.send(LINE);
    assert_eq!(client.get("/").status, 301);

    let thrust = introduced().env("H2C_ENABLED", "1").start();
    let mut client = Frames::connect(thrust.port());
    client.send(LINE.as_bytes());
    client.introduce();
    client.get(1, "/headers");
    assert_line(&client.response(1).text(), "x-forwarded-for: 203.0.113.9");
}

/// How long a connection lives that stops after `bytes`.
fn patience_with(port: u16, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    let mut client = Client::connect(port);
    client.send(bytes);
    assert_eq!(client.end(), End::Eof, "and no 408");
    began.elapsed()
}

#[test]
fn a_header_has_five_seconds_or_the_read_timeout() {
    let _alone = alone();
    let hasty = introduced().env("HTTP_READ_TIMEOUT", "1").start();
    let patient = introduced().start();
    let (soon, late) = (hasty.port(), patient.port());
    thread::scope(|scope| {
        for bytes in [&b""[..], &LINE.as_bytes()[..20], &BINARY[..20]] {
            scope.spawn(move || {
                let took = patience_with(soon, bytes);
                assert!(took > millis(900) && took < seconds(4), "{took:?}");
                let took = patience_with(late, bytes);
                assert!(took > millis(4_900) && took < seconds(12), "{took:?}");
            });
        }
    });
    let mut silent = hasty.connect();
    silent.send(LINE);
    assert_eq!(silent.end(), End::Eof, "the first request has its own time");
}

#[test]
fn m16_an_introduced_connection_may_send_its_first_request_after_the_signal() {
    let _alone = alone();
    for before in [LINE.len(), 30, 0] {
        let mut thrust = introduced().start();
        let mut client = thrust.connect();
        let (now, later) = LINE.split_at(before);
        client.send(now);
        thrust.signal(SIGTERM);
        thrust.wait_for("listener closed");
        client.send(later);
        let response = client.get("/hello");
        assert_eq!(response.status, 200, "{before} bytes before");
        assert!(response.connection("close"));
        assert_eq!(client.end(), End::Eof);
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn half_a_header_holds_the_drain_as_half_a_head_does() {
    let _alone = alone();
    let mut thrust = introduced().start();
    let mut client = thrust.connect();
    client.send(&LINE[..20]);
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    // Longer than youth alone would hold it.
    thread::sleep(millis(900));
    assert!(!thrust.has("drain finished"));
    client.send(&LINE[20..]);
    assert_eq!(client.get("/hello").status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m17_introduced_requests_in_the_accept_queue_and_in_buffers_are_served() {
    for header in [LINE.as_bytes(), BINARY] {
        let mut thrust = introduced().start();
        let port = thrust.port();
        let mut clients: Vec<_> = (0..10).map(|_| thrust.connect()).collect();
        thrust.signal(SIGSTOP);
        assert!(eventually(PATIENCE, || state_of(thrust.pid()) == Some('T')));
        clients.extend((0..20).map(|_| Client::connect(port)));
        for client in &mut clients {
            client.send(header);
            client.send_get("/hello");
        }
        thrust.signal(SIGTERM);
        thrust.signal(SIGCONT);
        for client in &mut clients {
            assert_eq!(client.response().status, 200);
            assert_eq!(client.end(), End::Eof);
        }
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn m13_stops_under_introduced_connections_lose_none() {
    for stop in 0..3 {
        let mut thrust = introduced().start();
        let hammer = Hammer::introduced(thrust.port(), 8, LINE);
        thrust.wait_for_nth_child_line(100 + 7 * stop, "done GET /hello");
        hammer.expect_the_end();
        assert_eq!(thrust.stop(), 143);
        hammer.finish().assert_nothing_lost();
    }
}

#[test]
fn haproxy_introduces_its_clients_in_both_versions() {
    let thrust = introduced().start();
    for options in ["send-proxy", "send-proxy-v2"] {
        let Some(haproxy) = HaProxy::before(&thrust, options) else {
            return;
        };
        let mut client = Client::connect_from([127, 0, 0, 2], haproxy.port());
        let path = format!("/status?{options}");
        assert_eq!(client.get(&path).status, 200);
        assert_line(&head(&mut client), "x-forwarded-for: 127.0.0.2");
        let address = client.stream().local_addr().expect("bound");
        let of_it = thrust.find(PATIENCE, |line| {
            line.message() == "Request" && line.field("query") == options
        });
        let logged = of_it.expect("a line").field("remote_addr");
        assert_eq!(logged, address.to_string(), "{options}");
    }
}

#[test]
fn haproxys_own_health_checks_are_no_strangers() {
    let thrust = introduced().start();
    let options = "send-proxy-v2 check check-send-proxy inter 50";
    let Some(haproxy) = HaProxy::before(&thrust, options) else {
        return;
    };
    // It says LOCAL, and leaves; an instance that it took for down it would hand nothing.
    for _ in 0..10 {
        thread::sleep(millis(50));
        let mut client = Client::connect_from([127, 0, 0, 2], haproxy.port());
        assert_line(&head(&mut client), "x-forwarded-for: 127.0.0.2");
    }
    assert!(!thrust.has("connection refused"), "{}", thrust.logs());
}

#[test]
fn haproxy_says_whether_its_client_spoke_tls() {
    let thrust = introduced().env("H2C_ENABLED", "1").start();
    let Some(haproxy) = HaProxy::encrypted_before(&thrust, "send-proxy-v2-ssl") else {
        return;
    };
    let mut client = Secure::connect(haproxy.port(), HTTP_1);
    let seen = client.get("/headers");
    assert_line(&seen, "x-forwarded-proto: https");
    assert_line(&seen, "x-forwarded-for: 127.0.0.1");
}

#[test]
fn a_stop_behind_haproxy_loses_nothing_that_has_arrived() {
    let mut thrust = introduced().start();
    let Some(haproxy) = HaProxy::before(&thrust, "send-proxy-v2") else {
        return;
    };
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(haproxy.port())).collect();
    for client in &mut clients {
        client.send_get("/wait-gate?name=g");
    }
    thrust.wait_for_nth_child_line(7, "waiting g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.open_gate("g");
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
        assert_eq!(client.end(), End::Eof);
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

//! LIFECYCLE with HTTPS, in HTTP/1.1 and HTTP/2.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::Instant,
};

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

use crate::{
    losses::take_one_processor,
    support::{
        End, PATIENCE, QUIET, Thrust, alone, assert_order,
        frames::{ALL_STREAMS, Answer, Frames, PREFACE, SETTINGS, Socket, frame, head},
        is_refused, millis, raise_file_limit, seconds,
        secure::{HTTP_1, HTTP_2, Secure, https, https_port},
    },
};

/// Waits at gate `g`, in HTTP/1.1.
fn wait_at_gate(thrust: &Thrust) -> Secure {
    let mut client = Secure::connect(https_port(thrust), HTTP_1);
    client.send_get("/wait-gate?name=g");
    thrust.wait_for_child_line("waiting g");
    client
}

fn http2(thrust: &Thrust) -> Frames<Secure> {
    let mut client = Frames::over(Secure::connect(https_port(thrust), HTTP_2));
    client.introduce();
    client
}

#[test]
fn both_protocols_are_served_and_the_app_is_told_that_it_is_https() {
    let mut thrust = https().start();
    let mut client = Secure::connect(https_port(&thrust), HTTP_1);
    assert_eq!(client.protocol(), Some(HTTP_1));
    let seen = client.get("/headers");
    assert!(seen.contains("\r\nx-forwarded-proto: https\r\n"), "{seen}");
    assert!(client.get("/hello").contains("hello from"), "and goes on");
    let mut client = http2(&thrust);
    client.get(1, "/headers");
    let seen = client.response(1).text();
    assert!(seen.contains("\r\nx-forwarded-proto: https\r\n"), "{seen}");
    assert_eq!(thrust.wait_for_request("/hello").field("proto"), "HTTP/1.1");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn max_connections_is_one_limit_over_both_ports() {
    let thrust = https().env("THRUSTER_MAX_CONNECTIONS", "1").start();
    let mut first = Secure::connect(https_port(&thrust), HTTP_1);
    assert!(first.get("/hello").contains("hello from"));
    let mut second = thrust.connect().patience(QUIET);
    second.send_get("/hello");
    assert_eq!(
        second.try_response().expect_err("no room").end,
        End::Timeout
    );
    drop(first);
    let mut second = second.patience(PATIENCE);
    assert_ne!(second.response().status, 0);
}

#[test]
fn large_bodies_pass_both_ways() {
    let thrust = https().start();
    let mut client = Secure::connect(https_port(&thrust), HTTP_1);
    let answer = client.get("/bytes?n=3000000");
    assert!(answer.len() > 3_000_000);
    let mut client = http2(&thrust);
    client.get(1, "/bytes?n=3000000");
    assert_eq!(client.response(1).body.len(), 3_000_000);
}

#[test]
fn a_web_socket_passes_over_tls() {
    let thrust = https().start();
    let mut client = Secure::connect(https_port(&thrust), HTTP_1);
    let asked = "GET /upgrade HTTP/1.1\r\nhost: test.example\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n";
    client.write_all(asked.as_bytes()).expect("it reads");
    let mut heard = String::new();
    let mut hear = |client: &mut Secure, needle: &str| {
        let mut piece = [0; 1024];
        while !heard.contains(needle) {
            let count = client.read(&mut piece).expect("it writes");
            heard.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    };
    hear(&mut client, "welcome\n");
    client.write_all(b"over and over\n").expect("it reads");
    hear(&mut client, "over and over\n");
}

#[test]
fn m1_m15_both_listeners_close_before_the_drain() {
    let mut thrust = https().start();
    let mut client = wait_at_gate(&thrust);
    let ports = [thrust.port(), https_port(&thrust)];
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    assert!(ports.into_iter().all(is_refused));
    thrust.wait_for_nth(1, "listener closed", PATIENCE);
    thrust.open_gate("g");
    assert!(client.response().contains("\r\nconnection: close\r\n"));
    assert_eq!(client.end(), End::Eof, "with close_notify");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert_order(&thrust, &["listener closed", "draining", "relaying signal"]);
}

#[test]
fn m8_an_idle_connection_may_ask_once_more_and_ends_with_close_notify() {
    let mut thrust = https().start();
    let mut holder = wait_at_gate(&thrust);
    let mut idle: Vec<_> = (0..10)
        .map(|_| {
            let mut client = Secure::connect(https_port(&thrust), HTTP_1);
            assert!(client.get("/hello").contains("hello from"));
            client
        })
        .collect();
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    for client in &mut idle[..5] {
        let answer = client.get("/hello");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert_eq!(client.end(), End::Eof);
    }
    thrust.open_gate("g");
    holder.response();
    for client in &mut idle[5..] {
        assert_eq!(client.end(), End::Eof);
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m4_idle_connections_do_not_hold_the_drain() {
    let _alone = alone();
    let mut thrust = https().start();
    let mut clients: Vec<_> = (0..30)
        .map(|_| {
            let mut client = Secure::connect(https_port(&thrust), HTTP_1);
            assert!(client.get("/hello").contains("hello from"));
            client
        })
        .collect();
    let mut others: Vec<_> = (0..30).map(|_| http2(&thrust)).collect();
    for client in &mut others {
        client.get(1, "/hello");
        assert!(client.response(1).is_ok());
    }
    thrust.signal(SIGTERM);
    let signal = thrust.wait_for("signal received").at;
    let relayed = thrust.wait_for("relaying signal").at - signal;
    assert!(relayed < millis(5 * 150), "{relayed:?}");
    for client in &mut clients {
        assert_eq!(client.end(), End::Eof);
    }
    for client in &mut others {
        assert_eq!(client.goaway(), (ALL_STREAMS, 0));
        assert_eq!(client.end(), End::Eof);
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m16_requests_that_came_in_one_piece_are_all_answered() {
    // What was decrypted and not read is on no socket any more.
    for round in 0..5 {
        let mut thrust = https().start();
        let mut clients: Vec<_> = (0..10)
            .map(|_| Secure::connect(https_port(&thrust), HTTP_1))
            .collect();
        let mut others: Vec<_> = (0..10).map(|_| http2(&thrust)).collect();
        for client in &mut clients {
            client.get("/hello");
        }
        for (number, (client, other)) in clients.iter_mut().zip(&mut others).enumerate() {
            client.send_get("/hello");
            let requests: Vec<u8> = (0..20)
                .flat_map(|number| head(2 * number + 1, "GET", "/hello", &[], true))
                .collect();
            other.send(&requests);
            if number == 5 {
                thrust.signal(SIGTERM);
            }
        }
        for client in &mut clients {
            assert!(client.response().contains("hello from"), "{round}");
            assert_eq!(client.end(), End::Eof);
        }
        for client in &mut others {
            for number in 0..20 {
                let answer = client.try_response(2 * number + 1);
                let answered = answer.as_ref().is_ok_and(Answer::is_ok);
                assert!(answered, "{round}: {answer:?}");
            }
            assert_eq!(client.end(), End::Eof);
        }
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn m17_m19_a_handshake_under_way_is_finished_and_one_request_served() {
    let mut thrust = https().start();
    let port = https_port(&thrust);
    let mut slow = [HTTP_1, HTTP_2].map(|protocol| {
        let mut client = Secure::begin(port, protocol);
        client.hello();
        client
    });
    // They are under way once their answers have come.
    for client in &slow {
        assert_eq!(client.tcp().peek(&mut [0]).expect("an answer"), 1);
    }
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.assert_no("relaying signal", millis(800));
    let [first, second] = &mut slow;
    first.finish().expect("a handshake");
    let answer = first.get("/hello");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(first.end(), End::Eof);
    second.finish().expect("a handshake");
    let mut second = Frames::over(second);
    second.introduce();
    second.get(1, "/hello");
    assert!(second.response(1).is_ok());
    assert_eq!(second.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m19_a_handshake_that_never_ends_holds_the_drain_for_5_s_or_until_its_deadline() {
    for (timeout, expected) in [("1", 1), ("30", 5)] {
        let mut thrust = https().env("HTTP_DRAIN_TIMEOUT", timeout).start();
        let mut client = Secure::begin(https_port(&thrust), HTTP_1);
        client.hello();
        assert_eq!(client.tcp().peek(&mut [0]).expect("an answer"), 1);
        thrust.signal(SIGTERM);
        let signal = thrust.wait_for("draining").at;
        let relayed = thrust.wait_for("relaying signal").at - signal;
        assert!(relayed > seconds(expected) - millis(200), "{relayed:?}");
        assert!(relayed < seconds(expected + 4), "{relayed:?}");
        // In TLS 1.3 it need not hear from us again to believe that it is done.
        let _ = client.finish();
        assert_ne!(client.end(), End::Reset);
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn a_connection_without_a_handshake_does_not_hold_the_drain() {
    let mut thrust = https().start();
    let mut client = Secure::begin(https_port(&thrust), HTTP_1);
    thread::sleep(millis(600));
    thrust.signal(SIGTERM);
    let signal = thrust.wait_for("draining").at;
    let relayed = thrust.wait_for("relaying signal").at - signal;
    assert!(relayed < seconds(2), "{relayed:?}");
    assert_ne!(client.end(), End::Reset);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn a_handshake_has_10_s_and_what_is_none_is_told_so() {
    let thrust = https().start();
    let port = https_port(&thrust);
    let began = Instant::now();
    let mut silent = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let mut slow = Secure::begin(port, HTTP_1);
    slow.hello();
    let mut other = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    other
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("it reads");
    let mut said = Vec::new();
    other.read_to_end(&mut said).expect("never a reset");
    assert_eq!(said.first(), Some(&21), "an alert: {said:?}");
    assert!(began.elapsed() < seconds(8), "at once");
    assert_eq!(silent.read(&mut [0; 8]).expect("an end"), 0);
    // Past its own state machine, which would go on with the handshake.
    slow.tcp().read_to_end(&mut said).expect("an end");
    let took = began.elapsed();
    assert!(took > seconds(9) && took < seconds(14), "{took:?}");
}

#[test]
fn a_core_has_a_thousand_handshakes_under_way_and_who_comes_next_waits_for_one_to_end() {
    let _alone = alone();
    raise_file_limit();
    let thrust = https().before_exec(take_one_processor).start();
    let port = https_port(&thrust);
    // Each begins, and does not go on.
    let begun: Vec<_> = (0..1_050)
        .map(|_| {
            let mut begun = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            begun.write_all(&[22]).expect("it reads");
            begun
        })
        .collect();
    // Nobody says when their bytes have been read.
    let waits = |next: &mut Secure| {
        next.patience(QUIET).expect("not zero");
        let end = next.finish().map_err(|error| error.kind());
        matches!(end, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
    };
    let mut next = (0..20)
        .map(|_| Secure::begin(port, HTTP_1))
        .find_map(|mut next| waits(&mut next).then_some(next))
        .expect("no room");
    drop(begun);
    next.patience(PATIENCE).expect("not zero");
    next.finish().expect("a handshake");
    assert!(next.get("/hello").contains("hello from"));
}

#[test]
fn m12_what_is_left_at_the_end_is_cut_with_close_notify() {
    let mut thrust = https().start();
    let mut client = Secure::connect(https_port(&thrust), HTTP_1);
    client.send_get("/gated-body?name=never");
    let begun = client.read(&mut [0; 15]).expect("its head");
    assert!(begun > 0);
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.signal_child(SIGKILL);
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
}

#[test]
fn a_client_that_speaks_neither_protocol_is_told_and_one_that_names_none_speaks_http_1() {
    let thrust = https().start();
    let mut client = Secure::begin(https_port(&thrust), b"smtp");
    client.finish().expect_err("no protocol in common");
    let mut client = Secure::connect(https_port(&thrust), HTTP_1);
    assert!(client.get("/hello").contains("hello from"));
}

#[test]
fn half_a_record_is_awaited_like_half_a_head() {
    let mut thrust = https().start();
    let mut holder = wait_at_gate(&thrust);
    let mut client = Secure::connect(https_port(&thrust), HTTP_1);
    client.get("/hello");
    let request = client.encrypt(b"GET /hello HTTP/1.1\r\nhost: test.example\r\n\r\n");
    let mut tcp = client.tcp();
    tcp.write_all(&request[..20]).expect("it reads");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    tcp.write_all(&request[20..]).expect("it reads");
    assert!(client.response().contains("\r\nconnection: close\r\n"));
    thrust.open_gate("g");
    holder.response();
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn a_preface_in_the_last_flight_of_the_handshake_is_heard() {
    let mut thrust = https().start();
    let mut client = Secure::begin(https_port(&thrust), HTTP_2);
    let mut said = PREFACE.to_vec();
    said.extend(frame(SETTINGS, 0, 0, &[]));
    said.extend(head(1, "GET", "/hello", &[], true));
    // It is sent with the client's Finished.
    client.write_all(&said).expect("it reads");
    let mut client = Frames::over(client);
    assert!(client.response(1).is_ok());
    thrust.assert_no("stopped", QUIET);
    assert_eq!(thrust.stop(), 143);
}

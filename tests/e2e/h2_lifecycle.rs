//! LIFECYCLE with HTTP/2 by prior knowledge.

use std::time::Instant;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

use crate::support::{
    End, PATIENCE, QUIET, Thrust, alone,
    frames::{
        ALL_STREAMS, Answer, DATA, END_STREAM, Frames, GOAWAY, PREFACE, SETTINGS, WINDOW_UPDATE,
        head,
    },
    millis, seconds,
};

fn thrust() -> Thrust {
    Thrust::builder().env("H2C_ENABLED", "1").start()
}

/// A client with a request that waits at gate `g`.
fn wait_at_gate(thrust: &Thrust) -> Frames {
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/wait-gate?name=g");
    thrust.wait_for_child_line("waiting g");
    client
}

#[test]
fn m10_goodbye_is_said_in_two_steps_and_open_streams_complete() {
    let mut thrust = thrust();
    let mut client = wait_at_gate(&thrust);
    thrust.signal(SIGTERM);
    assert_eq!(client.goaway(), (ALL_STREAMS, 0));
    assert_eq!(client.goaway(), (1, 0), "after a round trip");
    thrust.assert_no("relaying signal", QUIET);
    thrust.open_gate("g");
    assert!(client.response(1).is_ok());
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let stopped = thrust.wait_for("stopped");
    assert_eq!((stopped.number("drained"), stopped.number("cut")), (1, 0));
}

#[test]
fn m10_streams_opened_before_goodbye_was_heard_are_served() {
    let mut thrust = thrust();
    let mut client = wait_at_gate(&thrust).ignores_pings();
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    client.get(3, "/hello");
    client.get(5, "/slow?ms=100");
    assert!(client.response(3).is_ok());
    assert!(client.response(5).is_ok());
    thrust.open_gate("g");
    assert!(client.response(1).is_ok());
    assert_eq!(client.goaway(), (ALL_STREAMS, 0));
    assert_eq!(client.goaway(), (5, 0), "when the drain ends");
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m16_streams_opened_in_the_same_instant_as_the_signal_are_served() {
    for round in 0..10 {
        let mut thrust = thrust();
        let mut clients: Vec<_> = (0..20).map(|_| Frames::h2c(thrust.port())).collect();
        for client in &mut clients {
            client.get(1, "/hello");
            assert!(client.response(1).is_ok());
        }
        let requests: Vec<u8> = (1..6)
            .flat_map(|number| head(2 * number + 1, "GET", "/hello", &[], true))
            .collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&requests);
            if number == 10 {
                thrust.signal(SIGTERM);
            }
        }
        for client in &mut clients {
            for number in 1..6 {
                let answer = client.try_response(2 * number + 1);
                assert!(
                    answer.as_ref().is_ok_and(Answer::is_ok),
                    "{round}: {answer:?}"
                );
            }
            assert_eq!(client.end(), End::Eof);
        }
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn m16_a_new_connection_s_first_request_is_served_whatever_of_it_has_arrived() {
    let mut thrust = thrust();
    let mut holder = wait_at_gate(&thrust);
    let mut clients: Vec<_> = [0, 1, 10, 24, 24 + 9]
        .map(|length| {
            let mut client = Frames::connect(thrust.port());
            let mut said = PREFACE.to_vec();
            said.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
            client.send(&said[..length]);
            (client, said.split_off(length))
        })
        .into();
    // They are accepted: later ones would be refused.
    assert!(Frames::h2c(thrust.port()).stream().peer_addr().is_ok());
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    for (client, rest) in &mut clients {
        client.send(rest);
        client.get(1, "/hello");
        assert!(client.response(1).is_ok(), "{rest:?}");
    }
    thrust.open_gate("g");
    assert!(holder.response(1).is_ok());
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m4_half_a_head_holds_the_drain() {
    let mut thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/hello");
    assert!(client.response(1).is_ok());
    let request = head(3, "GET", "/hello", &[], true);
    client.send(&request[..20]);
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.assert_no("relaying signal", QUIET);
    client.send(&request[20..]);
    assert!(client.response(3).is_ok());
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m4_idle_connections_do_not_hold_the_drain_whether_they_answer_or_not() {
    let _alone = alone();
    let mut thrust = thrust();
    let mut clients: Vec<_> = (0..100)
        .map(|number| {
            let mut client = Frames::h2c(thrust.port());
            if number % 4 > 0 {
                client.get(1, "/hello");
                assert!(client.response(1).is_ok());
            }
            if number % 2 == 0 {
                client.ignores_pings()
            } else {
                client
            }
        })
        .collect();
    // Youth holds it, and idleness is older.
    std::thread::sleep(millis(600));
    thrust.signal(SIGTERM);
    let signal = thrust.wait_for("signal received").at;
    let relayed = thrust.wait_for("relaying signal").at - signal;
    assert!(relayed < millis(5 * 150), "{relayed:?}");
    for client in &mut clients {
        assert_eq!(client.goaway(), (ALL_STREAMS, 0));
        assert_eq!(client.end(), End::Eof, "never a reset");
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m4_clients_that_hang_in_the_preface_or_never_read_do_not_hang_the_stop() {
    let mut thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_DRAIN_TIMEOUT", "2")
        .start();
    let mut half = Frames::connect(thrust.port());
    half.send(&PREFACE[..20]);
    let mut mute = Frames::connect(thrust.port());
    mute.send(PREFACE);
    let mut deaf = Frames::h2c(thrust.port()).opens_no_windows();
    deaf.get(1, "/bytes?n=10000000");
    deaf.status(1);
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_exit(seconds(10)), 143);
    for client in [&mut half, &mut mute, &mut deaf] {
        assert_eq!(client.end(), End::Eof);
    }
}

#[test]
fn m7_a_response_counts_until_its_last_byte_was_taken() {
    let mut thrust = thrust();
    let mut client = Frames::h2c(thrust.port()).opens_no_windows();
    // More than the first windows.
    client.get(1, "/bytes?n=100000");
    let mut received = 0;
    while received < 65_535 {
        let data = client.find(|frame| frame.kind == DATA).expect("data");
        received += data.payload.len();
    }
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.assert_no("relaying signal", QUIET);
    client.frame(8, 0, 0, &100_000_u32.to_be_bytes());
    client.frame(8, 0, 1, &100_000_u32.to_be_bytes());
    let rest = client.response(1);
    assert_eq!(received + rest.body.len(), 100_000);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert_eq!(thrust.wait_for("drain finished").field("reason"), "done");
}

#[test]
fn m6_whole_responses_that_the_client_has_not_read_outlive_the_deadline() {
    let mut thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_DRAIN_TIMEOUT", "1")
        .start();
    let mut client = Frames::connect(thrust.port());
    client.send(PREFACE);
    // SETTINGS_INITIAL_WINDOW_SIZE: 1 GiB
    client.frame(SETTINGS, 0, 0, &[0, 4, 0x40, 0, 0, 0]);
    client.frame(WINDOW_UPDATE, 0, 0, &0x4000_0000_u32.to_be_bytes());
    let streams: Vec<u32> = (0..120).map(|number| 2 * number + 1).collect();
    for stream in &streams {
        client.get(*stream, "/bytes?n=60000");
    }
    // More than sockets hold; Thrust has all of it.
    for number in 0..streams.len() {
        thrust.wait_for_nth_child_line(number, "done GET /bytes");
    }
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("drain finished").field("reason"), "timeout");
    thrust.wait_for("child exited");
    for stream in streams {
        let answer = client.response(stream);
        assert!(answer.is_ok() && answer.body.len() == 60_000, "{stream}");
    }
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert_eq!(thrust.wait_for("stopped").number("cut"), 0);
}

#[test]
fn m6_stragglers_stay_attached_and_m29_are_cut_when_the_app_is_gone() {
    let mut thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_DRAIN_TIMEOUT", "1")
        .app(["--on-term", "exit-after=1"])
        .start();
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/gated-body?name=a&framing=chunked");
    client.get(3, "/gated-body?name=b&framing=chunked");
    assert_eq!(client.status(1), 0x88);
    assert_eq!(client.status(3), 0x88);
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("drain finished").field("reason"), "timeout");
    thrust.open_gate("a");
    let finished = client.response(1);
    assert!(
        finished.text().ends_with("behind the gate\n"),
        "{finished:?}"
    );
    let cut = client.response(3);
    assert!(cut.reset.is_some(), "{cut:?}");
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert_eq!(thrust.wait_for("stopped").number("cut"), 1);
}

#[test]
fn m12_what_is_left_at_the_end_is_reset_and_the_connection_ends_with_fin() {
    let mut thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/gated-body?name=never");
    client.head(3, "POST", "/upload", &[], false);
    client.frame(DATA, 0, 3, &[0; 10_000]);
    assert_eq!(client.status(1), 0x88);
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.signal_child(SIGKILL);
    assert!(client.response(1).reset.is_some());
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
}

#[test]
fn an_event_stream_is_not_waited_for_and_ends_cleanly_at_the_relay() {
    let mut thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/sse?every_ms=5");
    assert_eq!(client.status(1), 0x88);
    thrust.signal(SIGTERM);
    let draining = thrust.wait_for("draining");
    assert_eq!(
        (draining.number("in_flight"), draining.number("streams")),
        (0, 1)
    );
    let end = client.find(|frame| frame.stream == 1 && frame.flags & END_STREAM != 0);
    assert_eq!(end.expect("an end").kind, DATA);
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert_eq!(thrust.wait_for("stopped").number("cut"), 0);
}

#[test]
fn a_web_socket_is_not_waited_for_and_has_the_last_words_of_the_app() {
    let mut thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .app(["--goodbye", "come back"])
        .start();
    let mut client = Frames::h2c(thrust.port());
    client.head(
        1,
        "CONNECT",
        "/upgrade",
        &[(":protocol", "websocket")],
        false,
    );
    assert_eq!(client.status(1), 0x88);
    client.find(|frame| frame.kind == DATA).expect("a welcome");
    thrust.signal(SIGTERM);
    let draining = thrust.wait_for("draining");
    assert_eq!(
        (draining.number("in_flight"), draining.number("tunnels")),
        (0, 1)
    );
    let rest = client.response(1);
    assert!(rest.text().contains("come back\n"), "{rest:?}");
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert_eq!(thrust.wait_for("stopped").number("cut"), 0);
}

#[test]
fn during_the_delay_an_idle_connection_is_left_open_and_who_asks_is_told_to_go() {
    let mut thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_DRAIN_DELAY", "1")
        .start();
    let mut idle = Frames::h2c(thrust.port());
    idle.get(1, "/hello");
    assert!(idle.response(1).is_ok());
    let mut busy = Frames::h2c(thrust.port());
    thrust.signal(SIGTERM);
    thrust.wait_for("delaying");
    busy.get(1, "/hello");
    assert!(busy.response(1).is_ok());
    assert_eq!(busy.goaway(), (ALL_STREAMS, 0));
    idle.patience(QUIET);
    assert_eq!(idle.find(|frame| frame.kind == GOAWAY), Err(End::Timeout));
    idle.patience(PATIENCE);
    thrust.wait_for("draining");
    assert_eq!(idle.goaway(), (ALL_STREAMS, 0));
    assert_eq!(idle.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn with_no_time_to_drain_idle_connections_end_at_once_and_with_a_goodbye() {
    let mut thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_DRAIN_TIMEOUT", "0")
        .start();
    let mut client = Frames::h2c(thrust.port()).ignores_pings();
    client.get(1, "/hello");
    assert!(client.response(1).is_ok());
    let asked = Instant::now();
    thrust.signal(SIGTERM);
    assert_eq!(client.end(), End::Eof);
    assert!(asked.elapsed() < seconds(5));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

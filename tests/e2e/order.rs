//! LIFECYCLE 2: front closed, drained, child signalled, child gone, we exit. M1 to M12.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGQUIT, SIGTERM};

use crate::support::{
    Client, End, Hammer, PATIENCE, QUIET, Thrust, alone, assert_order, is_refused, millis, seconds,
    voluntary_switches_of,
};

/// A tunnel through the front, past the app's greeting.
fn tunnel(thrust: &Thrust) -> Client {
    let mut client = thrust.connect();
    client.send_head(
        "GET",
        "/upgrade",
        "connection: upgrade\r\nupgrade: echo\r\n",
    );
    assert_eq!(client.head().status, 101);
    client.read_until("welcome\n");
    client
}

#[test]
fn m1_listeners_close_before_the_child_is_signalled() {
    let mut thrust = Thrust::builder()
        .app(["--on-term", "finish-requests"])
        .start();
    let port = thrust.port();
    assert_eq!(thrust.get(&format!("/probe-front?port={port}")).status, 200);
    let mut waiting = thrust.wait_at_gate("g");

    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    assert!(is_refused(port), "the front is closed before the drain");
    thrust.assert_no("relaying signal", QUIET);
    assert!(
        !thrust.has_child_line("signal SIG"),
        "the app knows nothing yet"
    );

    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let done = thrust.wait_for_child_line("done GET /wait-gate");
    let told = thrust.wait_for_child_line("signal SIGTERM");
    assert!(
        done.place < told.place,
        "the child is told only when the drain is done"
    );
    thrust.wait_for_child_line("probe refused");
    assert_order(
        &thrust,
        &[
            "signal received",
            "listener closed",
            "draining",
            "drain finished",
            "relaying signal",
            "child exited",
            "stopped",
        ],
    );
}

#[test]
fn m1_listeners_stay_closed_when_the_drain_times_out() {
    for timeout in [1, 2] {
        let mut thrust = Thrust::builder()
            .env("HTTP_DRAIN_TIMEOUT", timeout.to_string())
            .start();
        let port = thrust.port();
        thrust.get(&format!("/probe-front?port={port}"));
        let _waiting = thrust.wait_at_gate("g");
        let asked = Instant::now();
        thrust.signal(SIGTERM);
        thrust.wait_for_child_line("probe refused");
        assert!(
            asked.elapsed() >= seconds(timeout),
            "the drain has its whole time"
        );
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
        assert_eq!(thrust.wait_for("drain finished").field("reason"), "timeout");
        assert_order(
            &thrust,
            &[
                "listener closed",
                "draining",
                "drain finished",
                "relaying signal",
                "child exited",
                "stopped",
            ],
        );
    }
}

#[test]
fn m2_sigint_drains_and_is_relayed_as_sigint() {
    let mut thrust = Thrust::builder().start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGINT);
    assert_eq!(thrust.wait_for("signal received").field("signal"), "SIGINT");
    thrust.wait_for("draining");
    assert!(is_refused(thrust.port()));
    thrust.assert_no("relaying signal", QUIET);
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 130);
    assert_eq!(thrust.wait_for("relaying signal").field("signal"), "SIGINT");
    thrust.wait_for_child_line("signal SIGINT");
    assert!(!thrust.has_child_line("signal SIGTERM"));
}

#[test]
fn m2_the_child_gets_the_signal_that_arrived_first() {
    for (first, second) in [(SIGTERM, SIGINT), (SIGINT, SIGTERM)] {
        // An app that finishes, so that the request survives a slow machine on which the second comes late and forces.
        let mut thrust = Thrust::builder()
            .app(["--on-term", "finish-requests"])
            .start();
        let mut waiting = thrust.wait_at_gate("g");
        thrust.signal(first);
        thrust.wait_for("draining");
        thrust.signal(second);
        thrust.open_gate("g");
        assert_eq!(waiting.response().status, 200);
        assert_eq!(thrust.wait_exit(PATIENCE), 128 + first as i32);
        assert_eq!(
            thrust.wait_for("relaying signal").field("signal"),
            first.as_str()
        );
        thrust.wait_for_child_line(&format!("signal {first}"));
        assert!(!thrust.has_child_line(&format!("signal {second}")));
    }
}

#[test]
fn m2_stop_signal_is_relayed_instead() {
    for (set, relayed, code) in [("QUIT", SIGQUIT, 131), ("SIGINT", SIGINT, 130)] {
        let mut thrust = Thrust::builder().env("THRUSTER_STOP_SIGNAL", set).start();
        assert_eq!(thrust.stop(), code);
        assert_eq!(
            thrust.wait_for("signal received").field("signal"),
            "SIGTERM"
        );
        assert_eq!(
            thrust.wait_for("relaying signal").field("signal"),
            relayed.as_str()
        );
        thrust.wait_for_child_line(&format!("signal {relayed}"));
        assert!(!thrust.has_child_line("signal SIGTERM"));
    }
}

#[test]
fn m3_hammering_clients_see_only_200_and_then_refused() {
    let mut thrust = Thrust::builder()
        .tcp()
        .app(["--on-term", "close-port-then-exit-after=5"])
        .start();
    let hammer = Hammer::start(thrust.port(), 8);
    // The clients are at work once the app has answered some of each kind.
    thrust.wait_for_nth_child_line(200, "done GET /hello");
    hammer.expect_the_end();
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    hammer.finish().assert_nothing_lost();
    let took = thrust.wait_for("child exited").at - thrust.wait_for_child_line("signal SIGTERM").at;
    assert!(took >= millis(4_900), "we waited for the child: {took:?}");
}

#[test]
fn m4_a_stop_without_connections_does_not_wait() {
    let _alone = alone();
    for timeout in ["5", "30"] {
        let mut thrust = Thrust::builder().env("HTTP_DRAIN_TIMEOUT", timeout).start();
        // A connection that came and went is none.
        drop(thrust.get("/hello"));
        thrust.wait_for_request("/hello");
        let asked = Instant::now();
        thrust.signal(SIGTERM);
        let relayed = thrust.wait_for("relaying signal").at - asked;
        assert!(relayed < 5 * millis(20), "{relayed:?} with {timeout} s");
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
        assert_eq!(thrust.wait_for("drain finished").field("reason"), "done");
    }
}

#[test]
fn m4_a_stop_with_idle_connections_takes_the_quiet_and_no_more() {
    let _alone = alone();
    for timeout in ["5", "30"] {
        let mut thrust = Thrust::builder().env("HTTP_DRAIN_TIMEOUT", timeout).start();
        let mut idle: Vec<_> = (0..10).map(|_| thrust.connect()).collect();
        idle.iter_mut()
            .for_each(|client| assert_eq!(client.get("/hello").status, 200));
        let asked = Instant::now();
        thrust.signal(SIGTERM);
        let relayed = thrust.wait_for("relaying signal").at - asked;
        assert!(relayed >= millis(50), "without the quiet: {relayed:?}");
        assert!(relayed < 5 * millis(150), "{relayed:?} with {timeout} s");
        idle.iter_mut()
            .for_each(|client| assert_eq!(client.end(), End::Eof));
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn m4_a_request_on_the_wire_when_the_last_one_ends_is_answered() {
    let _alone = alone();
    let mut thrust = Thrust::builder().start();
    let mut idle = thrust.connect();
    assert_eq!(idle.get("/hello").status, 200);
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    let response = idle.get("/hello");
    assert_eq!(response.status, 200);
    assert!(response.connection("close"));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m4_a_half_sent_head_holds_the_drain() {
    for used in [false, true] {
        let mut thrust = Thrust::builder().start();
        let mut client = thrust.connect();
        if used {
            assert_eq!(client.get("/hello").status, 200);
        }
        client.send("GET /hello HTTP/1.1\r\nho");
        thrust.signal(SIGTERM);
        thrust.wait_for("draining");
        // Longer than the quiet and than a young connection's 500 ms.
        thrust.assert_no("drain finished", millis(900));
        client.send("st: a.example\r\n\r\n");
        let response = client.response();
        assert_eq!(
            (response.status, response.text().starts_with("hello")),
            (200, true)
        );
        assert!(response.connection("close"));
        assert_eq!(client.end(), End::Eof);
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
        assert_eq!(thrust.wait_for("drain finished").field("reason"), "done");
    }
}

#[test]
fn m4_a_head_that_never_ends_is_answered_408_at_its_own_or_the_drains_deadline() {
    for (drain, read) in [("1", "30"), ("30", "2")] {
        let mut thrust = Thrust::builder()
            .env("HTTP_DRAIN_TIMEOUT", drain)
            .env("HTTP_READ_TIMEOUT", read)
            .start();
        let mut client = thrust.connect();
        client.send("GET /hello HT");
        let asked = Instant::now();
        thrust.signal(SIGTERM);
        let response = client.response();
        assert_eq!(response.status, 408, "drain {drain} s, head {read} s");
        assert!(response.connection("close"));
        assert_eq!(client.end(), End::Eof);
        assert!(asked.elapsed() < seconds(6), "{:?}", asked.elapsed());
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn m4_the_drain_is_event_driven() {
    let _alone = alone();
    let mut thrust = Thrust::builder().start();
    let mut idle = thrust.connect();
    assert_eq!(idle.get("/hello").status, 200);
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    // The last timers of the closing and of young connections are over by then.
    thrust.assert_no("relaying signal", millis(700));
    let before = voluntary_switches_of(thrust.pid());
    thrust.assert_no("relaying signal", seconds(1));
    let switches = voluntary_switches_of(thrust.pid()) - before;
    assert!(
        switches < 20,
        "{switches} times awake in a second of waiting"
    );
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m5_delay_and_drain_share_one_deadline() {
    for (delay, drain) in [(0, 2), (1, 1), (2, 1)] {
        let mut thrust = Thrust::builder()
            .env("HTTP_DRAIN_DELAY", delay.to_string())
            .env("HTTP_DRAIN_TIMEOUT", drain.to_string())
            .start();
        // Each of these holds the drain; one after another they would take a multiple.
        let _waiting: Vec<_> = ["a", "b", "c"].map(|gate| thrust.wait_at_gate(gate)).into();
        let mut half = thrust.connect();
        half.send("GET /hello HT");
        let asked = Instant::now();
        thrust.signal(SIGTERM);
        let relayed = thrust.wait_for("relaying signal").at - asked;
        let budget = seconds(delay + drain);
        assert!(relayed + millis(20) >= budget, "{relayed:?} of {budget:?}");
        assert!(relayed < budget + millis(900), "{relayed:?} of {budget:?}");
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
        assert_eq!(thrust.wait_for("drain finished").field("reason"), "timeout");
    }
}

#[test]
fn m5_the_front_serves_during_the_delay() {
    let mut thrust = Thrust::builder().env("HTTP_DRAIN_DELAY", "1").start();
    thrust.signal(SIGTERM);
    thrust.wait_for("signal received");
    let response = thrust.get("/hello");
    assert_eq!(response.status, 200);
    assert!(response.connection("close"));
    assert!(!thrust.has("listener closed"));
    thrust.wait_for("listener closed");
    assert!(is_refused(thrust.port()));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m5_the_health_path_says_503_from_the_signal_on() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_HTTP_HEALTH_PATH", "/hello")
        .env("HTTP_DRAIN_DELAY", "1")
        .start();
    assert_eq!(
        thrust.get("/hello").status,
        200,
        "the app's own answer while serving"
    );
    thrust.signal(SIGTERM);
    thrust.wait_for("signal received");
    let health = thrust.get("/hello");
    assert_eq!(
        (health.status, health.text().contains("hello from")),
        (503, false),
        "by us, not by the app"
    );
    assert_eq!(
        thrust.get("/bytes?n=5").text(),
        "abcde",
        "all else is served during the delay"
    );
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m5_a_stop_in_starting_skips_the_delay() {
    let mut thrust = Thrust::builder()
        .env("HTTP_DRAIN_DELAY", "30")
        .app(["--start-when", "never"])
        .spawn();
    thrust.wait_for("listening");
    thrust.wait_for_child_line("waiting never");
    let asked = Instant::now();
    assert_eq!(thrust.stop(), 143);
    assert!(asked.elapsed() < seconds(5), "{:?}", asked.elapsed());
    thrust.wait_for_child_line("signal SIGTERM");
}

#[test]
fn m5_held_requests_count_as_in_flight() {
    let mut thrust = Thrust::builder().app(["--start-when", "up"]).spawn();
    thrust.wait_for("listening");
    let mut held = thrust.connect();
    held.send_get("/hello");
    thrust.wait_for_child_line("waiting up");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.assert_no("relaying signal", millis(900));
    thrust.open_gate("up");
    let response = held.response();
    assert_eq!(
        (response.status, response.text().starts_with("hello")),
        (200, true)
    );
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let done = thrust.wait_for_child_line("done GET /hello");
    assert!(done.place < thrust.wait_for_child_line("signal SIGTERM").place);
}

#[test]
fn m6_requests_running_at_the_deadline_are_finished_by_the_app() {
    let mut thrust = Thrust::builder()
        .env("HTTP_DRAIN_TIMEOUT", "1")
        .app(["--on-term", "finish-requests"])
        .start();
    let mut waiting = [thrust.wait_at_gate("g"), thrust.wait_at_gate("g")];
    let mut streaming = thrust.connect();
    streaming.send_get("/gated-body?name=g&framing=chunked");
    let mut streamed = streaming.head();
    thrust.signal(SIGTERM);
    thrust.wait_for_child_line("signal SIGTERM");
    let finished = thrust.wait_for("drain finished");
    assert_eq!(
        (
            finished.field("reason").as_str(),
            finished.number("remaining")
        ),
        ("timeout", 3)
    );
    thrust.open_gate("g");
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
    streaming.try_body(&mut streamed).unwrap();
    assert!(streamed.text().ends_with("behind the gate\n"));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);

    let warnings: Vec<_> = thrust
        .records()
        .into_iter()
        .filter(|record| record.level() == "WARN")
        .collect();
    let [warning] = warnings.as_slice() else {
        panic!("one warning names the stragglers: {warnings:?}")
    };
    assert!(warning.numbers().contains(&3), "how many: {}", warning.text);
    assert!(
        warning.numbers().len() >= 2 || warning.text.contains("oldest"),
        "and how old: {}",
        warning.text
    );
}

#[test]
fn m6_stragglers_are_cut_when_the_child_is_gone() {
    let mut thrust = Thrust::builder().env("HTTP_DRAIN_TIMEOUT", "1").start();
    let mut waiting = thrust.wait_at_gate("g");
    let mut streaming = thrust.connect();
    streaming.send_get("/gated-body?name=g&framing=chunked");
    let mut streamed = streaming.head();
    thrust.wait_for_child_line("waiting g");
    assert_eq!(thrust.stop(), 143);
    let response = waiting.response();
    assert_eq!(response.status, 503, "a stop has begun, so it is not 502");
    assert!(response.field("retry-after").is_some());
    let cut = streaming.try_body(&mut streamed).unwrap_err();
    assert_eq!(
        cut.end,
        End::Eof,
        "a cut is a FIN after the bytes already sent"
    );
    assert!(String::from_utf8_lossy(&cut.received).contains("before the gate\n"));
}

#[test]
fn m7_a_request_counts_until_its_response_body_ends() {
    for framing in ["length", "chunked"] {
        let mut thrust = Thrust::builder().start();
        let mut client = thrust.connect();
        client.send_get(&format!("/gated-body?name=g&framing={framing}"));
        let mut response = client.head();
        thrust.wait_for_child_line("waiting g");
        thrust.signal(SIGTERM);
        assert_eq!(thrust.wait_for("draining").number("in_flight"), 1);
        thrust.assert_no("relaying signal", millis(900));
        thrust.open_gate("g");
        client.try_body(&mut response).unwrap();
        assert_eq!(response.text(), "before the gate\nbehind the gate\n");
        assert_eq!(client.end(), End::Eof);
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
        assert_eq!(thrust.wait_for("drain finished").field("reason"), "done");
    }
}

#[test]
fn m7_a_connection_does_not_count_twice() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send(
        "GET /wait-gate?name=g HTTP/1.1\r\nhost: a\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    thrust.wait_for_child_line("waiting g");
    let _idle = thrust.connect();
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("draining").number("in_flight"), 1);
    thrust.open_gate("g");
    assert_eq!(client.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m7_the_count_goes_down_on_every_path() {
    let mut thrust = Thrust::builder().tcp().start();
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(thrust.get("/close-without-answer").status, 502);
    assert_eq!(thrust.get("/reset").status, 502);
    assert_eq!(thrust.get("/early").status, 403);
    let mut aborted = thrust.connect();
    aborted.send_get("/abort?after=100");
    assert!(aborted.try_response().is_err());
    let mut malformed = thrust.connect();
    malformed.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(malformed.response().status, 400);
    drop(thrust.wait_at_gate("abandoned"));
    thrust.wait_for_child_line("gone GET /wait-gate");
    let mut halfway = thrust.connect();
    halfway.send_get("/gated-body?name=left");
    halfway.head();
    thrust.wait_for_child_line("waiting left");
    drop(halfway);
    thrust.wait_for_child_line("gone GET /gated-body");
    let mut upload = thrust.connect();
    upload.send("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf");
    thrust.wait_for_child_line("request POST /upload");
    drop(upload);
    thrust.wait_for_child_line("gone POST /upload");

    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("draining").number("in_flight"), 1);
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let finished = thrust.wait_for("drain finished");
    assert_eq!(
        (
            finished.field("reason").as_str(),
            finished.number("remaining")
        ),
        ("done", 0)
    );
}

#[test]
fn m7_an_event_stream_stops_counting_and_ends_cleanly_at_the_relay() {
    let mut thrust = Thrust::builder().app(["--on-term", "exit-after=1"]).start();
    let mut client = thrust.connect();
    client.send_get("/sse?every_ms=20");
    let mut response = client.head();
    assert_eq!(
        response.field("content-type").as_deref(),
        Some("text/event-stream")
    );
    let asked = Instant::now();
    thrust.signal(SIGTERM);
    let draining = thrust.wait_for("draining");
    assert_eq!(
        (draining.number("in_flight"), draining.number("streams")),
        (0, 1)
    );
    let relayed = thrust.wait_for("relaying signal");
    assert!(relayed.at - asked < seconds(5), "the stream held the drain");
    client
        .try_body(&mut response)
        .expect("the last chunk, not a cut");
    assert_eq!(client.end(), End::Eof);
    assert!(
        !thrust.has("child exited"),
        "the stream ends at the relay, not at the child's death"
    );
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m7_a_tunnel_does_not_count_and_lives_until_the_app_closes_it() {
    let mut thrust = Thrust::builder().app(["--on-term", "exit-after=1"]).start();
    let mut client = tunnel(&thrust);
    thrust.signal(SIGTERM);
    let draining = thrust.wait_for("draining");
    assert_eq!(
        (draining.number("in_flight"), draining.number("tunnels")),
        (0, 1)
    );
    thrust.wait_for_child_line("signal SIGTERM");
    client.send("still here\n");
    assert_eq!(client.read_until("\n"), "still here\n");
    assert_eq!(client.end(), End::Eof, "cut by the child's death");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m8_a_hundred_idle_connections_do_not_count_and_end_with_eof() {
    let mut thrust = Thrust::builder().start();
    let mut idle: Vec<_> = (0..100).map(|_| thrust.connect()).collect();
    idle.iter_mut()
        .for_each(|client| assert_eq!(client.get("/hello").status, 200));
    let asked = Instant::now();
    thrust.signal(SIGTERM);
    let draining = thrust.wait_for("draining");
    assert_eq!(
        (draining.number("in_flight"), draining.number("idle")),
        (0, 100)
    );
    assert!(thrust.wait_for("relaying signal").at - asked < seconds(5));
    idle.iter_mut()
        .for_each(|client| assert_eq!(client.end(), End::Eof));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m8_each_connection_may_send_one_more_request_while_the_drain_lasts() {
    let mut thrust = Thrust::builder().start();
    let mut kept = thrust.connect();
    assert_eq!(kept.get("/hello").status, 200);
    let mut silent = thrust.connect();
    let mut unused = thrust.connect();
    assert_eq!(unused.get("/hello").status, 200);
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.assert_no("relaying signal", seconds(1));
    for client in [&mut kept, &mut silent] {
        let response = client.get("/hello");
        assert_eq!(
            (response.status, response.text().starts_with("hello")),
            (200, true)
        );
        assert!(response.connection("close"));
        assert_eq!(client.end(), End::Eof);
    }
    assert!(!thrust.has("drain finished"));
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(unused.end(), End::Eof, "at the drain's end");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m9_an_upgrade_counts_until_its_101() {
    let mut thrust = Thrust::builder().app(["--on-term", "exit-after=1"]).start();
    let mut client = thrust.connect();
    client.send_head(
        "GET",
        "/upgrade?gate=g",
        "connection: upgrade\r\nupgrade: websocket\r\n",
    );
    thrust.wait_for_child_line("waiting g");
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("draining").number("in_flight"), 1);
    thrust.assert_no("relaying signal", millis(900));
    thrust.open_gate("g");
    let response = client.head();
    assert_eq!(response.status, 101);
    assert!(response.connection("upgrade"), "{:?}", response.fields);
    client.read_until("welcome\n");
    thrust.wait_for("relaying signal");
    client.send("after the relay\n");
    client.read_until("after the relay\n");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m9_an_upload_still_being_sent_counts() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
    thrust.wait_for_child_line("request POST /upload");
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("draining").number("in_flight"), 1);
    thrust.assert_no("relaying signal", millis(900));
    client.send("half");
    let response = client.response();
    assert_eq!((response.status, &response.text()[..2]), (200, "8 "));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m9_a_client_waiting_for_100_continue_counts() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send_head(
        "POST",
        "/upload?gate=g",
        "content-length: 4\r\nexpect: 100-continue\r\n",
    );
    thrust.wait_for_child_line("waiting g");
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("draining").number("in_flight"), 1);
    thrust.assert_no("relaying signal", millis(900));
    thrust.open_gate("g");
    assert_eq!(client.head().status, 100);
    client.send("body");
    let response = client.response();
    assert_eq!((response.status, &response.text()[..2]), (200, "4 "));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m10_every_final_response_after_the_signal_says_close() {
    let mut thrust = Thrust::builder().start();
    let mut idle: Vec<_> = (0..4).map(|_| thrust.connect()).collect();
    for client in &mut idle {
        let response = client.get("/hello");
        assert_eq!(
            (response.status, response.connection("close")),
            (200, false)
        );
    }
    let mut headed = thrust.connect();
    headed.send_get("/gated-body?name=g");
    let mut begun = headed.head();
    assert!(!begun.connection("close"));
    let mut waiting = thrust.wait_at_gate("g");

    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    let targets = [
        "/early-hints",
        "/status?code=404",
        "/chunked",
        "/close-without-answer",
    ];
    for (client, target) in idle.iter_mut().zip(targets) {
        let response = client.get(target);
        assert!(
            response.connection("close"),
            "{target}: {:?}",
            response.fields
        );
        for interim in &response.interim {
            assert!(!interim.connection("close"), "{:?}", interim.fields);
        }
        assert_eq!(client.end(), End::Eof, "{target}");
    }
    thrust.open_gate("g");
    let response = waiting.response();
    assert_eq!((response.status, response.connection("close")), (200, true));
    headed.try_body(&mut begun).unwrap();
    assert_eq!(
        headed.end(),
        End::Eof,
        "also where the head was out before the signal"
    );
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m10_a_101_during_the_drain_keeps_connection_upgrade() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    assert_eq!(client.get("/hello").status, 200);
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    client.send_head(
        "GET",
        "/upgrade",
        "connection: upgrade\r\nupgrade: websocket\r\n",
    );
    let response = client.head();
    assert_eq!(response.status, 101);
    assert!(
        response.connection("upgrade") && !response.connection("close"),
        "{:?}",
        response.fields
    );
    client.read_until("welcome\n");
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m11_idle_upstream_connections_are_closed_before_the_relay() {
    let mut thrust = Thrust::builder()
        .tcp()
        .app(["--on-term", "exit-after=1"])
        .start();
    // Several at once, so that the pool holds several.
    let mut waiting: Vec<_> = (0..5)
        .map(|number| thrust.wait_at_gate(&format!("g{number}")))
        .collect();
    (0..5).for_each(|number| thrust.open_gate(&format!("g{number}")));
    waiting
        .iter_mut()
        .for_each(|client| assert_eq!(client.response().status, 200));
    assert_eq!(thrust.stop(), 143);
    let signal = thrust.wait_for_child_line("signal SIGTERM");
    assert!(signal.text.contains("connections=0"), "{}", signal.text);
    let lines = thrust.records();
    let late = lines
        .iter()
        .filter(|line| line.place > signal.place && line.is_childs("accepted"));
    assert_eq!(late.count(), 0, "a new upstream connection after the relay");
}

#[test]
fn m11_a_stragglers_upstream_connection_stays() {
    let mut thrust = Thrust::builder()
        .tcp()
        .env("HTTP_DRAIN_TIMEOUT", "1")
        .app(["--on-term", "finish-requests"])
        .start();
    let mut first = thrust.wait_at_gate("first");
    let mut straggler = thrust.wait_at_gate("g");
    thrust.open_gate("first");
    assert_eq!(first.response().status, 200);
    thrust.signal(SIGTERM);
    let signal = thrust.wait_for_child_line("signal SIGTERM");
    assert!(signal.text.contains("connections=1"), "{}", signal.text);
    thrust.open_gate("g");
    assert_eq!(straggler.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m12_a_cut_upload_ends_with_fin_even_while_the_client_sends() {
    let mut thrust = Thrust::builder().env("HTTP_DRAIN_TIMEOUT", "1").start();
    let mut client = thrust.connect();
    client.send_head("POST", "/hang", "content-length: 1000000000\r\n");
    client.send(vec![b'x'; 100_000]);
    thrust.wait_for_child_line("request POST /hang");
    let sender = client.stream().try_clone().unwrap();
    thrust.signal(SIGTERM);
    thread::scope(|scope| {
        // Goes on sending a little at a time: bytes that nobody wants arrive after the FIN.
        scope.spawn(move || {
            use std::io::Write;
            while (&sender).write_all(&[b'x'; 100]).is_ok() {
                thread::sleep(millis(5));
            }
        });
        let response = client.response();
        assert_eq!(response.status, 503);
        assert_eq!(client.end(), End::Eof, "never a reset");
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
        drop(client);
    });
    let exit = thrust.wait_for("stopped").at - thrust.wait_for("child exited").at;
    assert!(exit < 5 * seconds(1), "lingered for {exit:?}");
}

#[test]
fn m12_a_cut_response_ends_with_fin_after_the_bytes_sent() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send_get("/gated-body?name=g");
    let mut response = client.head();
    // A pipelined request that will never be read: closing over it would reset.
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n");
    thrust.wait_for_child_line("waiting g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.signal_child(SIGKILL);
    let cut = client.try_body(&mut response).unwrap_err();
    assert_eq!(cut.end, End::Eof);
    assert!(String::from_utf8_lossy(&cut.received).contains("before the gate\n"));
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
}

#[test]
fn m12_lingering_delays_neither_the_relay_nor_an_exit_that_nobody_writes_to() {
    let _alone = alone();
    let mut thrust = Thrust::builder().start();
    // Idle clients that keep their half open for good: nothing of theirs arrives after our FIN.
    let idle: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut client = thrust.connect();
            assert_eq!(client.get("/hello").status, 200);
            client.stream().try_clone().unwrap()
        })
        .collect();
    let asked = Instant::now();
    thrust.signal(SIGTERM);
    let relayed = thrust.wait_for("relaying signal").at - asked;
    assert!(relayed < 5 * millis(150), "{relayed:?}");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let exit = thrust.wait_for("stopped").at - thrust.wait_for("child exited").at;
    assert!(
        exit < Duration::from_millis(500),
        "lingered for {exit:?} though nobody wrote"
    );
    drop(idle);
}

//! LIFECYCLE 3: closing a listener without a reset, as far as loopback shows it. M13 to M18.
//!
//! What needs a round trip that takes time is tested in a network namespace of its own; that a listener is never shut
//! down (M14) is held by what these see: no reset.

use std::{collections::HashSet, thread, time::Instant};

use nix::sys::signal::Signal::{SIGCONT, SIGSTOP, SIGTERM};

use crate::support::{
    Client, End, Hammer, PATIENCE, Thrust, alone, assert_order, eventually, file_descriptors,
    is_refused, millis, state_of,
};

/// Keeps Thrust from running, so that what clients do piles up in the kernel.
fn freeze(thrust: &Thrust) {
    thrust.signal(SIGSTOP);
    assert!(eventually(PATIENCE, || state_of(thrust.pid()) == Some('T')));
}

#[test]
fn m13_ten_stops_under_new_connections_reset_none() {
    for stop in 0..10 {
        let mut thrust = Thrust::builder().start();
        let hammer = Hammer::start(thrust.port(), 8);
        thrust.wait_for_nth_child_line(100 + 7 * stop, "done GET /hello");
        hammer.expect_the_end();
        assert_eq!(thrust.stop(), 143);
        hammer.finish().assert_nothing_lost();
    }
}

#[test]
fn m13_closing_ends_at_once_when_nothing_is_half_open() {
    let _alone = alone();
    let mut thrust = Thrust::builder().start();
    let mut idle = thrust.connect();
    assert_eq!(idle.get("/hello").status, 200);
    let asked = Instant::now();
    thrust.signal(SIGTERM);
    let closed = thrust.wait_for("listener closed").at - asked;
    // Well below the round trip of 250 ms that it allows to those who need one.
    assert!(closed < millis(100), "{closed:?}");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m13_closing_is_never_worth_more_than_a_debug_line() {
    let mut thrust = Thrust::builder().start();
    assert_eq!(thrust.stop(), 143);
    let loud: Vec<_> = thrust
        .records()
        .into_iter()
        .filter(|line| ["WARN", "ERROR"].contains(&line.level()))
        .collect();
    assert!(loud.is_empty(), "{loud:?}");
}

#[test]
fn m15_listeners_close_before_any_request_is_waited_for() {
    let mut thrust = Thrust::builder().start();
    let mut waiting = thrust.wait_at_gate("g");
    let mut half = thrust.connect();
    half.send("GET /hello HT");
    thrust.signal(SIGTERM);
    thrust.wait_for("listener closed");
    assert!(is_refused(thrust.port()));
    assert!(!thrust.has("drain finished"));
    thrust.wait_for("draining");
    assert_order(&thrust, &["listener closed", "draining"]);
    half.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(half.response().status, 200);
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m16_a_fresh_connection_may_send_its_first_request_after_the_signal() {
    let _alone = alone();
    for wait in [0, 150, 300] {
        let mut thrust = Thrust::builder().start();
        let mut client = thrust.connect();
        let connected = Instant::now();
        thrust.signal(SIGTERM);
        thrust.wait_for("listener closed");
        // Its own 500 ms, not a wait for something to happen.
        thread::sleep(millis(wait).saturating_sub(connected.elapsed()));
        let response = client.get("/hello");
        assert_eq!(
            (response.status, response.text().starts_with("hello")),
            (200, true),
            "after {wait} ms"
        );
        assert!(response.connection("close"));
        assert_eq!(client.end(), End::Eof);
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn m16_a_silent_connection_holds_the_drain_for_its_first_500_ms_only() {
    let _alone = alone();
    let mut thrust = Thrust::builder().start();
    let before = Instant::now();
    let mut client = thrust.connect();
    thrust.signal(SIGTERM);
    let relayed = thrust.wait_for("relaying signal").at;
    assert_eq!(client.end(), End::Eof, "closed, not reset");
    assert!(relayed - before >= millis(490), "{:?}", relayed - before);
    assert!(relayed - before < 5 * millis(500), "{:?}", relayed - before);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m16_a_silent_connection_that_is_old_holds_nothing() {
    let _alone = alone();
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    thread::sleep(millis(600));
    let asked = Instant::now();
    thrust.signal(SIGTERM);
    let relayed = thrust.wait_for("relaying signal").at - asked;
    assert!(
        relayed < millis(450),
        "only the quiet of 50 ms: {relayed:?}"
    );
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m17_connections_that_wait_in_the_accept_queue_are_served() {
    let mut thrust = Thrust::builder().start();
    let port = thrust.port();
    freeze(&thrust);
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(port)).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send_get("/hello"));
    thrust.signal(SIGTERM);
    thrust.signal(SIGCONT);
    for client in &mut clients {
        let response = client.response();
        assert_eq!(
            (response.status, response.text().starts_with("hello")),
            (200, true)
        );
        assert_eq!(client.end(), End::Eof);
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m17_silent_connections_from_the_accept_queue_may_still_ask() {
    let _alone = alone();
    let mut thrust = Thrust::builder().start();
    let port = thrust.port();
    freeze(&thrust);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(port)).collect();
    thrust.signal(SIGTERM);
    thrust.signal(SIGCONT);
    thrust.wait_for("listener closed");
    clients
        .iter_mut()
        .for_each(|client| client.send_get("/hello"));
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.response().status, 200));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m17_requests_that_wait_in_socket_buffers_are_served() {
    let mut thrust = Thrust::builder().start();
    let mut kept: Vec<_> = (0..50).map(|_| thrust.connect()).collect();
    kept.iter_mut()
        .for_each(|client| assert_eq!(client.get("/hello").status, 200));
    freeze(&thrust);
    kept.iter_mut().for_each(|client| client.send_get("/hello"));
    thrust.signal(SIGTERM);
    thrust.signal(SIGCONT);
    for client in &mut kept {
        let response = client.response();
        assert_eq!(
            (response.status, response.text().starts_with("hello")),
            (200, true)
        );
        assert_eq!(client.end(), End::Eof);
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m18_the_child_holds_none_of_our_sockets() {
    let mut thrust = Thrust::builder()
        .tcp()
        .app(["--on-term", "exit-after=1"])
        .start();
    let _client = thrust.wait_at_gate("g");
    let sockets = |pid| -> HashSet<_> {
        let files = file_descriptors(pid).into_iter();
        files
            .filter(|file| file.to_string_lossy().starts_with("socket:"))
            .collect()
    };
    let (ours, childs) = (sockets(thrust.pid()), sockets(thrust.child_pid()));
    assert!(!ours.is_empty() && !childs.is_empty());
    assert!(
        ours.is_disjoint(&childs),
        "{:?}",
        ours.intersection(&childs)
    );
    thrust.open_gate("g");

    thrust.signal(SIGTERM);
    thrust.wait_for_child_line("signal SIGTERM");
    assert!(
        is_refused(thrust.port()),
        "the child lives, and does not keep the port open"
    );
    assert!(!thrust.has("child exited"));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m18_the_child_is_handed_none_of_our_descriptors() {
    // What whoever runs the tests left open passes through us; a socket, a pipe or an epoll of ours must not.
    let script = "for fd in /proc/$$/fd/*; do echo \"fd $(readlink $fd) ${fd##*/}.\"; done";
    let mut thrust = Thrust::builder().script(script).spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 0);
    let records = thrust.records();
    let ours = |line: &str| {
        let number = line
            .rsplit([' ', '.'])
            .nth(1)
            .and_then(|number| number.parse::<u32>().ok());
        let held = |kind| line.contains(kind);
        number.is_some_and(|number| number > 2)
            && (held("socket:") || held("eventpoll") || held("eventfd"))
    };
    let lines: Vec<_> = records
        .iter()
        .filter(|line| line.is_childs("fd "))
        .collect();
    assert!(lines.len() >= 3, "{lines:?}");
    let handed: Vec<_> = lines.iter().filter(|line| ours(&line.text)).collect();
    assert!(handed.is_empty(), "{handed:?}");
}

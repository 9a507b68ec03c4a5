//! What could be lost between two steps of a stop: each of these was, once.

use std::io;

use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGTERM};

use crate::support::{Client, End, PATIENCE, QUIET, Thrust, alone, millis, raise_file_limit};

/// A client half of whose second head is with Thrust already while its first response, which began before any signal,
/// waits at gate `g`.
fn half_a_head_ahead(thrust: &Thrust) -> Client {
    let mut client = thrust.connect();
    client.send_get("/gated-body?name=g&framing=chunked");
    let head = client.head();
    assert!(!head.connection("close"));
    client.read_until("before the gate\n\r\n");
    client.send("GET /hello HTT");
    client
}

/// The rest of the first response, as it is on the wire.
const REST: &str = "10\r\nbehind the gate\n\r\n0\r\n\r\n";

#[test]
fn m4_half_a_pipelined_head_holds_the_drain() {
    let mut thrust = Thrust::builder().start();
    let mut client = half_a_head_ahead(&thrust);
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.open_gate("g");
    assert_eq!(client.read_until("0\r\n\r\n"), REST);
    thrust.assert_no("relaying signal", QUIET);
    client.send("P/1.1\r\nhost: test.example\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 200);
    assert!(response.connection("close"));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn half_a_pipelined_head_outlives_the_buffers_of_an_idle_connection() {
    let mut thrust = Thrust::builder().start();
    let mut client = half_a_head_ahead(&thrust);
    thrust.open_gate("g");
    assert_eq!(client.read_until("0\r\n\r\n"), REST);
    // An idle connection gives its buffers back after a second.
    thrust.assert_no("stopped", millis(1_300));
    client.send("P/1.1\r\nhost: test.example\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(thrust.stop(), 143);
}

/// In the child: one processor, and so one core.
pub(crate) fn take_one_processor() -> io::Result<()> {
    // SAFETY: a set of processors is plain bits, and zero of them are set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: the kernel fills the set, which is as large as it is told.
    unsafe { libc::sched_getaffinity(0, size, &raw mut allowed) };
    // SAFETY: as above.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: both stay within the set.
    let first = (0..1024).find(|cpu| unsafe { libc::CPU_ISSET(*cpu, &allowed) });
    // SAFETY: as above.
    unsafe { libc::CPU_SET(first.unwrap_or(0), &mut one) };
    // SAFETY: the kernel reads the set, which is as large as it is told.
    match unsafe { libc::sched_setaffinity(0, size, &raw const one) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn m21_a_force_takes_effect_at_once_on_one_core_too() {
    let _alone = alone();
    // It was late every other time.
    for _ in 0..4 {
        let mut thrust = Thrust::builder().before_exec(take_one_processor).start();
        let _waiting = thrust.wait_at_gate("g");
        thrust.signal(SIGTERM);
        thrust.wait_for("draining");
        thrust.assert_no("relaying signal", millis(350));
        thrust.signal(SIGINT);
        // From when it was heard: that the machine lets us hear late is no matter here.
        let heard = thrust.wait_for_nth(1, "signal received", PATIENCE).at;
        let relayed = thrust.wait_for("relaying signal").at - heard;
        assert!(relayed < millis(400), "{relayed:?}");
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn m29_the_last_words_of_an_app_reach_its_web_sockets() {
    raise_file_limit();
    for _ in 0..3 {
        let mut thrust = Thrust::builder().app(["--goodbye", "come back"]).start();
        let mut clients: Vec<_> = (0..100).map(|_| tunnel(&thrust)).collect();
        thrust.signal(SIGTERM);
        thrust.wait_for("draining");
        for (number, client) in clients.iter_mut().enumerate() {
            // To some of them the app closes over bytes that it has not read, which is a reset.
            if number % 2 == 0 && client.try_send("still here\n").is_err() {
                break;
            }
        }
        for client in &mut clients {
            let (rest, end) = client.rest();
            let said = String::from_utf8_lossy(&rest);
            assert!(
                said.contains("come back\n") && end == End::Eof,
                "{said:?}, {end:?}"
            );
        }
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
        assert_eq!(thrust.wait_for("stopped").number("cut"), 0);
    }
}

fn tunnel(thrust: &Thrust) -> Client {
    let mut client = thrust.connect();
    client.send_head("GET", "/upgrade", "connection: upgrade\r\nupgrade: raw\r\n");
    assert_eq!(client.head().status, 101);
    client.read_until("welcome\n");
    client
}

#[test]
fn m12_many_cut_at_once_end_with_fin_though_they_still_send() {
    raise_file_limit();
    let mut thrust = Thrust::builder().start();
    let request = "GET /hello HTTP/1.1\r\nhost: test.example\r\n\r\n".repeat(1_000);
    let mut clients: Vec<_> = (0..150)
        .map(|_| {
            let mut client = thrust.connect();
            client.send_get("/gated-body?name=g");
            client.head();
            // More than is read ahead: the rest waits in the kernel, and to close over it is a reset.
            client.send(&request);
            client
        })
        .collect();
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.signal_child(SIGKILL);
    for client in &mut clients {
        let (body, end) = client.rest();
        assert_eq!(
            (String::from_utf8_lossy(&body).as_ref(), end),
            ("before the gate\n", End::Eof)
        );
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
    let stopped = thrust.wait_for("stopped");
    assert_eq!((stopped.number("drained"), stopped.number("cut")), (0, 150));
}

#[test]
fn m43_what_was_drained_and_what_was_cut_is_counted_apart() {
    let mut thrust = Thrust::builder().env("HTTP_DRAIN_TIMEOUT", "1").start();
    let mut finished = thrust.wait_at_gate("early");
    let given_up = thrust.wait_at_gate("late");
    let mut cut = thrust.connect();
    cut.send_get("/gated-body?name=late&framing=chunked");
    let mut cut_response = cut.head();
    let mut events = thrust.connect();
    events.send_get("/sse?every_ms=5");
    let mut event_response = events.head();
    let mut tunnel = tunnel(&thrust);
    thrust.signal(SIGTERM);
    let draining = thrust.wait_for("draining");
    let kinds = ["in_flight", "streams", "tunnels"];
    assert_eq!(kinds.map(|kind| draining.number(kind)), [3, 1, 1]);
    thrust.open_gate("early");
    assert_eq!(finished.response().status, 200);
    drop(given_up);
    events.try_body(&mut event_response).expect("a clean end");
    cut.try_body(&mut cut_response).expect_err("cut");
    assert_eq!(tunnel.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let drain = thrust.wait_for("drain finished");
    assert_eq!(
        (drain.field("reason").as_str(), drain.number("remaining")),
        ("timeout", 1)
    );
    let stopped = thrust.wait_for("stopped");
    assert_eq!((stopped.number("drained"), stopped.number("cut")), (1, 1));
}

//! `MAX_CONNECTIONS`: who is beyond it waits in the kernel's queue, and whoever can be served is.

use nix::sys::signal::Signal::SIGTERM;

use crate::support::{Client, PATIENCE, Thrust};

/// A GET on a connection of its own, which Thrust closes.
fn ask_and_close(thrust: &Thrust) -> Client {
    let mut client = thrust.connect();
    client.send_head("GET", "/hello", "connection: close\r\n");
    client
}

#[test]
fn with_one_place_everybody_is_served_in_turn_whatever_core_they_come_to() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_MAX_CONNECTIONS", "1")
        .start();
    for _ in 0..40 {
        assert_eq!(ask_and_close(&thrust).response().status, 200);
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn who_waits_for_a_place_is_served_when_one_is_free_and_in_a_stop() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_MAX_CONNECTIONS", "1")
        .start();
    let mut first = thrust.wait_at_gate("g");
    let mut waiting: Vec<_> = (0..8).map(|_| ask_and_close(&thrust)).collect();
    thrust.open_gate("g");
    assert_eq!(first.response().status, 200);
    drop(first);
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
    let mut first = thrust.wait_at_gate("h");
    let mut waiting: Vec<_> = (0..8).map(|_| ask_and_close(&thrust)).collect();
    thrust.signal(SIGTERM);
    assert!(thrust.wait_for("listener closed").number("accepted_late") >= 8);
    thrust.open_gate("h");
    for client in waiting.iter_mut().chain([&mut first]) {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

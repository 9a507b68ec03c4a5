//! As PID 1 of a namespace, where the kernel ignores what is not handled and orphans are ours: the same stops again.

use std::time::Instant;

use nix::sys::signal::Signal::{SIGKILL, SIGSTOP, SIGTERM};

use crate::support::{Builder, PATIENCE, Thrust, eventually, pid_1_is_possible, seconds};

/// Thrust as PID 1; none where that cannot be.
fn pid_1() -> Option<Builder> {
    pid_1_is_possible().then(|| Thrust::builder().pid_1())
}

#[test]
fn m31_a_child_that_ignores_term_is_killed_after_upstream_stop_timeout() {
    let Some(builder) = pid_1() else {
        return;
    };
    let mut thrust = builder
        .env("THRUSTER_UPSTREAM_STOP_TIMEOUT", "1")
        .app(["--on-term", "ignore", "--spawn-grandchild"])
        .start();
    let asked = Instant::now();
    assert_eq!(thrust.stop(), 137);
    assert!(asked.elapsed() >= seconds(1) && asked.elapsed() < seconds(5));
    thrust.wait_for_child_line("signal SIGTERM");
}

#[test]
fn m31_a_stopped_child_is_killed() {
    let Some(builder) = pid_1() else {
        return;
    };
    let mut thrust = builder.env("THRUSTER_UPSTREAM_STOP_TIMEOUT", "1").start();
    thrust.signal_child(SIGSTOP);
    assert_eq!(thrust.stop(), 137);
}

#[test]
fn m30_a_child_that_dies_in_the_drain_ends_it() {
    let Some(builder) = pid_1() else {
        return;
    };
    let mut thrust = builder.start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    let died = Instant::now();
    thrust.signal_child(SIGKILL);
    let response = waiting.response();
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some());
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
    assert!(died.elapsed() < seconds(5), "{:?}", died.elapsed());
    assert!(!thrust.has("relaying signal"));
}

#[test]
fn m25_a_child_that_closes_its_port_in_the_drain_finishes_what_it_holds() {
    let Some(builder) = pid_1() else {
        return;
    };
    let mut thrust = builder.start();
    let mut waiting = [thrust.wait_at_gate("g"), thrust.wait_at_gate("g")];
    let mut kept = thrust.connect();
    assert_eq!(kept.get("/hello").status, 200);
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.tell_app("/close-port");
    thrust.wait_for_child_line("port closed");
    // This one takes the kept connection to the app, the next would need a new one.
    kept.send_get("/wait-gate?name=k");
    thrust.wait_for_child_line("waiting k");
    thrust.open_gate("g");
    thrust.open_gate("k");
    for client in waiting.iter_mut().chain([&mut kept]) {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m25_a_neighbour_in_the_namespace_stops_the_app_as_we_are_stopped() {
    for order in ["the app first", "Thrust first"] {
        if !pid_1_is_possible() {
            return;
        }
        let mut thrust = Thrust::builder()
            .beside_pid_1()
            .app(["--on-term", "finish-requests"])
            .start();
        let mut waiting = [thrust.wait_at_gate("g"), thrust.wait_at_gate("h")];
        match order {
            "the app first" => {
                thrust.signal_child(SIGTERM);
                thrust.signal(SIGTERM);
            }
            _ => {
                thrust.signal(SIGTERM);
                thrust.signal_child(SIGTERM);
            }
        }
        thrust.wait_for_child_line("port closed");
        thrust.wait_for("draining");
        thrust.open_gate("g");
        thrust.open_gate("h");
        for client in &mut waiting {
            assert_eq!(client.response().status, 200, "{order}");
        }
        assert_eq!(thrust.wait_exit(PATIENCE), 143, "{order}");
        assert!(!thrust.logs().contains("panicked"), "{order}");
    }
}

#[test]
fn m33_a_child_that_forks_twice_has_its_own_status_and_ours_ends_with_it() {
    let Some(builder) = pid_1() else {
        return;
    };
    // As daemons do: the one that stays is nobody's child but PID 1's, and its own group's.
    let script = "(setsid sh -c 'echo daemon; sleep 30' &); sleep 0.2; exit 3";
    let mut thrust = builder.script(script).spawn();
    thrust.wait_for_child_line("daemon");
    let began = Instant::now();
    assert_eq!(thrust.wait_exit(PATIENCE), 3);
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
}

#[test]
fn m33_orphans_that_die_in_the_drain_are_reaped_meanwhile() {
    let Some(builder) = pid_1() else {
        return;
    };
    let mut thrust = builder
        .stdin_pipe()
        .env("THRUSTER_UPSTREAM_STOP_TIMEOUT", "10")
        .script("trap 'i=0; while [ $i -lt 100 ]; do (: &); i=$((i+1)); done; echo spawned; read line; exit 7' TERM; echo trapped; while :; do sleep 0.05; done")
        .spawn();
    thrust.wait_for_child_line("trapped");
    thrust.signal(SIGTERM);
    thrust.wait_for_child_line("spawned");
    let pid = thrust.pid();
    let reaped = eventually(seconds(5), || crate::support::zombies_below(pid).is_empty());
    assert!(reaped, "zombies while the child is awaited");
    *thrust.stdin() = None;
    assert_eq!(thrust.wait_exit(PATIENCE), 7);
}

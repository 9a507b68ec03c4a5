//! LIFECYCLE 7: how long a stop may take. M40, S41, M42.

use std::{fs, path::Path, time::Instant};

use nix::sys::signal::Signal::SIGTERM;

use crate::support::{End, PATIENCE, Thrust, alone, millis, seconds};

#[test]
fn m40_the_drain_timeout_is_30_s_unless_set() {
    for (value, timeout) in [(None, 30), (Some(""), 30), (Some("7"), 7)] {
        let mut builder = Thrust::builder();
        if let Some(value) = value {
            builder = builder.env("HTTP_DRAIN_TIMEOUT", value);
        }
        let mut thrust = builder.start();
        let mut waiting = thrust.wait_at_gate("g");
        thrust.signal(SIGTERM);
        assert_eq!(thrust.wait_for("draining").number("timeout"), timeout);
        thrust.open_gate("g");
        assert_eq!(waiting.response().status, 200);
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn m40_the_prefixed_name_wins() {
    let mut thrust = Thrust::builder()
        .env("HTTP_DRAIN_TIMEOUT", "9")
        .env("THRUSTER_HTTP_DRAIN_TIMEOUT", "8")
        .start();
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("draining").number("timeout"), 8);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m40_whole_seconds_or_64_before_anything_is_spawned() {
    for value in ["-1", "1.5", "1s", "soon", "99999999999999999999999"] {
        let mut thrust = Thrust::builder().env("HTTP_DRAIN_TIMEOUT", value).spawn();
        assert_eq!(thrust.wait_exit(PATIENCE), 64, "{value}");
        let said = thrust.logs();
        assert!(
            said.contains("HTTP_DRAIN_TIMEOUT") && said.contains(value),
            "{said}"
        );
        assert!(
            !thrust.has("listening") && !thrust.has_child_line("started pid="),
            "{said}"
        );
    }
}

#[test]
fn m40_zero_waits_for_nothing() {
    let _alone = alone();
    let mut thrust = Thrust::builder()
        .env("HTTP_DRAIN_TIMEOUT", "0")
        .app(["--on-term", "exit-after=1"])
        .start();
    let mut waiting = thrust.wait_at_gate("g");
    let mut idle = thrust.connect();
    assert_eq!(idle.get("/hello").status, 200);
    let mut silent = thrust.connect();
    let mut half = thrust.connect();
    half.send("GET /hello HT");
    let asked = Instant::now();
    thrust.signal(SIGTERM);
    let relayed = thrust.wait_for("relaying signal").at - asked;
    assert!(
        relayed < 5 * millis(20),
        "no request, no quiet, no 500 ms: {relayed:?}"
    );
    assert_eq!(idle.end(), End::Eof);
    assert_eq!(silent.end(), End::Eof);
    thrust.open_gate("g");
    assert_eq!(
        waiting.response().status,
        200,
        "not waited for, but not cut either"
    );
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m40_it_is_an_upper_bound() {
    let mut thrust = Thrust::builder().env("HTTP_DRAIN_TIMEOUT", "600").start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(seconds(5)), 143);
}

#[test]
fn s41_the_app_is_killed_a_second_before_the_time_is_over() {
    let _alone = alone();
    for (total, drain) in [(7, 1), (8, 2)] {
        let mut thrust = Thrust::builder()
            .env("THRUSTER_SHUTDOWN_TIMEOUT", total.to_string())
            .app(["--on-term", "ignore"])
            .start();
        let mut waiting = thrust.wait_at_gate("g");
        thrust.signal(SIGTERM);
        let asked = thrust.wait_for("signal received").at;
        let relayed = thrust.wait_for("relaying signal").at - asked;
        assert!(
            relayed >= seconds(drain) - millis(20) && relayed < seconds(drain + 1),
            "{relayed:?}"
        );
        let killed = thrust.wait_for("killing the app").at - asked;
        assert!(
            killed >= seconds(total - 1) - millis(20) && killed < seconds(total),
            "{killed:?}"
        );
        assert_eq!(waiting.response().status, 503, "not lost without a word");
        assert_eq!(thrust.wait_exit(PATIENCE), 137);
    }
}

#[test]
fn s41_the_drain_gets_what_the_delay_and_the_app_leave() {
    for (vars, worst_case) in [
        (
            &[("THRUSTER_SHUTDOWN_TIMEOUT", "10")][..],
            "delay 0 s + drain 4 s + app 5 s",
        ),
        (
            &[
                ("THRUSTER_SHUTDOWN_TIMEOUT", "30"),
                ("HTTP_DRAIN_DELAY", "10"),
            ],
            "delay 10 s + drain 11.5 s + app 7.5 s",
        ),
        (
            &[
                ("THRUSTER_SHUTDOWN_TIMEOUT", "60"),
                ("THRUSTER_UPSTREAM_STOP_TIMEOUT", "15"),
            ],
            "delay 0 s + drain 30 s + app 15 s",
        ),
        (&[], "delay 0 s + drain 30 s + app unlimited"),
    ] {
        let builder = vars
            .iter()
            .fold(Thrust::builder(), |builder, (name, value)| {
                builder.env(name, *value)
            });
        let mut thrust = builder.start();
        assert_eq!(
            thrust.wait_for("ready to stop").field("worst_case"),
            worst_case
        );
        assert_eq!(thrust.stop(), 143);
    }
}

#[test]
fn s41_a_sum_that_does_not_fit_is_refused_with_the_arithmetic() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_SHUTDOWN_TIMEOUT", "30")
        .env("HTTP_DRAIN_DELAY", "25")
        .spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 64);
    let said = thrust.logs();
    let sum = "HTTP_DRAIN_DELAY 25 s + the app's share 7.5 s + 1 s for the exit = 33.5 s, which is more than 30 s";
    assert!(said.contains(sum), "{said}");
    assert!(!thrust.has("listening"), "{said}");
}

#[test]
fn m42_the_readme_carries_the_platforms_and_the_formula() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"))
        .expect("README.md");
    let platforms = [
        "Kubernetes",
        "docker stop",
        "Kamal 2",
        "ECS",
        "systemd",
        "Heroku",
        "Fly",
        "Cloud Run",
    ];
    let settings = [
        "terminationGracePeriodSeconds",
        "stop_grace_period",
        "stop_timeout",
        "stopTimeout",
        "KillMode=mixed",
        "kill_timeout",
    ];
    for word in platforms.into_iter().chain(settings) {
        assert!(readme.contains(word), "{word} is not in the README");
    }
    let words = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let formula = "grace ≥ preStop + delay + drain + the app's own stop + 2 s";
    assert!(words.contains(formula), "{formula} is not in the README");
}

#[test]
fn s41_a_pod_without_a_delay_is_told_what_to_set() {
    let is_told = |delay: &str| {
        let pod = Thrust::builder().env("KUBERNETES_SERVICE_HOST", "10.96.0.1");
        let thrust = pod.env("HTTP_DRAIN_DELAY", delay).start();
        thrust.wait_for("ready to stop");
        let mut records = thrust.records().into_iter();
        records.any(|record| record.message().contains("set HTTP_DRAIN_DELAY=5"))
    };
    assert!(is_told(""));
    assert!(!is_told("0"), "somebody has decided");
}

//! RATE_LIMIT: who asks too often, who is counted with whom, and who is not counted at all.

use std::{thread, time::Instant};

use nix::sys::signal::Signal::SIGTERM;

use crate::support::{Builder, Client, PATIENCE, Thrust, alone, frames::Frames, seconds};

/// So few that what the test takes gives nobody another request.
fn limited(burst: &str) -> Builder {
    Thrust::builder()
        .env("THRUSTER_RATE_LIMIT", "1")
        .env("THRUSTER_RATE_LIMIT_BURST", burst)
}

/// How many of `count` requests with these lines get through.
fn passed(client: &mut Client, count: usize, lines: &str) -> usize {
    let mut passed = 0;
    for _ in 0..count {
        client.send_head("GET", "/hello", lines);
        match client.response().status {
            200 => passed += 1,
            429 => {}
            other => panic!("{other}"),
        }
    }
    passed
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again_and_may() {
    let _alone = alone();
    let thrust = limited("3").start();
    let mut client = thrust.connect();
    let began = Instant::now();
    let answers: Vec<_> = (0..8).map(|_| client.get("/hello")).collect();
    if began.elapsed() < seconds(1) {
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 200, 200, 429, 429, 429, 429, 429]);
        assert_eq!(thrust.count_child_lines("request GET /hello"), 3);
    }
    let refused = answers.last().expect("eight");
    assert_eq!(refused.field("retry-after").as_deref(), Some("1"));
    let line = thrust.find(PATIENCE, |line| line.field("status") == "429");
    assert_eq!(line.expect("a line").field("cause"), "rate_limited");
    // As told, and on the same connection.
    thread::sleep(seconds(1));
    assert_eq!(client.get("/hello").status, 200);
}

#[test]
fn each_client_has_its_own_rate_whatever_core_and_connection_it_comes_to() {
    let _alone = alone();
    let thrust = limited("20").start();
    let began = Instant::now();
    for source in [[127, 0, 0, 2], [127, 0, 0, 3]] {
        let mut clients: Vec<_> = (0..10)
            .map(|_| Client::connect_from(source, thrust.port()))
            .collect();
        let passed: usize = clients.iter_mut().map(|client| passed(client, 4, "")).sum();
        let more = usize::try_from(began.elapsed().as_secs()).expect("soon") + 1;
        assert!((20..=20 + more).contains(&passed), "{passed} of 40");
    }
}

#[test]
fn behind_a_trusted_proxy_clients_are_told_apart_and_households_are_not() {
    let _alone = alone();
    let thrust = limited("5")
        .env("THRUSTER_TRUSTED_PROXIES", "private")
        .start();
    let mut proxy = thrust.connect();
    let began = Instant::now();
    let mut pass = |client: &str| passed(&mut proxy, 7, &format!("x-forwarded-for: {client}\r\n"));
    let counts = [
        pass("198.51.100.1"),
        pass("198.51.100.2"),
        pass("2001:db8::1"),
        pass("2001:db8::ffff:1"),
        pass("2001:db8:0:1::1"),
    ];
    if began.elapsed() < seconds(1) {
        assert_eq!(counts, [5, 5, 5, 0, 5]);
    }
    assert!(!thrust.logs().contains("TRUSTED_PROXIES"));
}

#[test]
fn a_proxy_that_is_not_known_as_one_is_spoken_of_once() {
    let mut thrust = limited("1").start();
    let mut client = thrust.connect();
    passed(&mut client, 5, "x-forwarded-for: 198.51.100.1\r\n");
    assert_eq!(thrust.stop(), 143);
    let said = thrust
        .records()
        .into_iter()
        .filter(|line| line.level() == "WARN" && line.message().contains("TRUSTED_PROXIES would"));
    assert_eq!(said.count(), 1, "{}", thrust.logs());
}

#[test]
fn health_checks_are_not_counted() {
    let thrust = limited("1")
        .env("THRUSTER_HTTP_HEALTH_PATH", "/hello")
        .start();
    let mut client = thrust.connect();
    assert_eq!(passed(&mut client, 20, ""), 20);
    assert_eq!(client.get("/status").status, 200);
    assert_eq!(client.get("/status").status, 429);
}

#[test]
fn requests_of_http_2_and_cached_answers_count_like_all_others() {
    let _alone = alone();
    let thrust = limited("5").env("H2C_ENABLED", "1").start();
    let began = Instant::now();
    let mut client = Frames::h2c(thrust.port());
    (0..10).for_each(|number| client.get(2 * number + 1, "/own?n=10"));
    let answers: Vec<_> = (0..10)
        .map(|number| client.response(2 * number + 1))
        .collect();
    let passed = answers.iter().filter(|answer| answer.is_ok()).count();
    if began.elapsed() < seconds(1) {
        assert_eq!(passed, 5);
    }
    assert_eq!(thrust.get("/own?n=10").status, 429);
}

#[test]
fn it_counts_through_a_drain_and_holds_up_none() {
    let mut thrust = limited("2").start();
    let mut client = thrust.connect();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    assert_eq!(client.get("/hello").status, 200);
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

//! MAX_UPSTREAM_REQUESTS: who waits for a place at the app, for how long, who is next, and that no place is ever lost.

use std::thread;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

use crate::support::{
    Builder, Client, PATIENCE, QUIET, Thrust, alone, frames::Frames, millis, raise_file_limit,
    seconds,
};

/// At most so many requests at the app; who waits is seen in the log.
fn queued(most: &str) -> Builder {
    Thrust::builder()
        .env("THRUSTER_MAX_UPSTREAM_REQUESTS", most)
        .env("THRUSTER_TRUSTED_PROXIES", "private")
        .env("DEBUG", "1")
}

/// A GET in the name of a client, known to wait as the `nth` (from 0).
fn wait_in_line(thrust: &Thrust, nth: usize, ip: &str, target: &str) -> Client {
    let mut client = thrust.connect();
    client.send_head("GET", target, &format!("x-forwarded-for: {ip}\r\n"));
    thrust.wait_for_nth(nth, "waiting for a place at the app", PATIENCE);
    client
}

/// How many of these requests the app had at once, at most.
fn most_at_once(thrust: &Thrust, target: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for record in thrust.records() {
        if record.is_childs(&format!("request GET {target}")) {
            now += 1;
            most = most.max(now);
        } else if record.is_childs(&format!("answering GET {target}")) {
            now -= 1;
        }
    }
    most
}

/// That all of the `most` places can be taken.
fn assert_places(thrust: &Thrust, most: usize, gate: &str) {
    let names: Vec<_> = (0..most).map(|number| format!("{gate}{number}")).collect();
    let mut waiting: Vec<_> = names.iter().map(|name| thrust.wait_at_gate(name)).collect();
    names.iter().for_each(|name| thrust.open_gate(name));
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn no_more_than_these_are_at_the_app_and_all_are_answered() {
    let thrust = queued("2").start();
    let port = thrust.port();
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let mut client = Client::connect(port);
                for _ in 0..5 {
                    assert_eq!(client.get("/slow?ms=10").status, 200);
                }
            });
        }
    });
    assert_eq!(most_at_once(&thrust, "/slow"), 2);
    assert_eq!(thrust.count_child_lines("request GET /slow"), 60);
}

#[test]
fn requests_of_http_2_count_like_all_others() {
    let thrust = queued("3").env("H2C_ENABLED", "1").start();
    let mut client = Frames::h2c(thrust.port());
    (0..20).for_each(|number| client.get(2 * number + 1, "/slow?ms=10"));
    for number in 0..20 {
        assert!(client.response(2 * number + 1).is_ok());
    }
    assert_eq!(most_at_once(&thrust, "/slow"), 3);
}

#[test]
fn without_a_limit_all_go_to_the_app() {
    let thrust = Thrust::builder().start();
    let mut waiting: Vec<_> = (0..40)
        .map(|number| thrust.wait_at_gate(&number.to_string()))
        .collect();
    (0..40).for_each(|number: usize| thrust.open_gate(&number.to_string()));
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn turns_go_round_by_client() {
    let thrust = queued("1").start();
    let mut first = thrust.wait_at_gate("g");
    let arrivals = [
        ("198.51.100.1", "a"),
        ("198.51.100.1", "b"),
        ("198.51.100.1", "c"),
        ("2001:db8::1", "d"),
        ("2001:db8::2", "e"),
        ("198.51.100.2", "f"),
    ];
    let line = arrivals.iter().enumerate();
    let mut line: Vec<_> = line
        .map(|(nth, (ip, name))| wait_in_line(&thrust, nth, ip, &format!("/status?{name}")))
        .collect();
    assert!(!thrust.has_child_line("request GET /status"));
    thrust.open_gate("g");
    assert_eq!(first.response().status, 200);
    for client in &mut line {
        assert_eq!(client.response().status, 200);
    }
    for (_, name) in arrivals {
        thrust.wait_for_child_line(&format!("request GET /status?{name}"));
    }
    let records = thrust.records();
    let served = records.iter().filter_map(|line| {
        let (_, name) = line.text.split_once("request GET /status?")?;
        line.is_childs("").then_some(name.trim())
    });
    assert_eq!(served.collect::<Vec<_>>(), ["a", "d", "f", "b", "e", "c"]);
}

#[test]
fn who_waits_too_long_is_asked_to_come_again() {
    let thrust = queued("1")
        .env("THRUSTER_UPSTREAM_QUEUE_TIMEOUT", "1")
        .start();
    let mut first = thrust.wait_at_gate("g");
    let mut late = wait_in_line(&thrust, 0, "198.51.100.1", "/hello");
    let response = late.response();
    assert_eq!(response.status, 503);
    assert_eq!(response.field("retry-after").as_deref(), Some("1"));
    let line = thrust.wait_for_request("/hello");
    assert_eq!(line.field("cause"), "queue_timeout");
    assert!(line.number("dur") >= 1_000);
    assert!(!thrust.has_child_line("request GET /hello"));
    thrust.open_gate("g");
    assert_eq!(first.response().status, 200);
    assert_eq!(late.get("/hello").status, 200);
}

#[test]
fn a_thousand_wait_and_whoever_waits_least_is_let_in_before_them() {
    let _alone = alone();
    raise_file_limit();
    let thrust = queued("1")
        .env("H2C_ENABLED", "1")
        .env("LOG_REQUESTS", "0")
        .start();
    let mut first = thrust.wait_at_gate("g");
    // One client, for whom a thousand wait already.
    let mut crowd: Vec<_> = (0..10).map(|_| Frames::h2c(thrust.port())).collect();
    for (nth, client) in crowd.iter_mut().enumerate() {
        (0..100).for_each(|stream| client.get(2 * stream + 1, "/hello"));
        thrust.wait_for_nth(100 * nth + 99, "waiting for a place at the app", PATIENCE);
    }
    let mut one_more = thrust.connect();
    let refused = one_more.get("/hello");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.field("retry-after").as_deref(), Some("1"));
    let mut other = wait_in_line(&thrust, 1_000, "198.51.100.1", "/status?other");
    // The last of the crowd had to go for it: `:status: 503` is no indexed field.
    assert_ne!(crowd[9].status(199), 0x88);
    thrust.open_gate("g");
    assert_eq!(first.response().status, 200);
    assert_eq!(other.response().status, 200);
    for (nth, client) in crowd.iter_mut().enumerate() {
        for stream in 0..if nth == 9 { 99 } else { 100 } {
            assert!(client.response(2 * stream + 1).is_ok());
        }
    }
    let before = thrust.find(PATIENCE, |line| line.is_childs("request GET /status?other"));
    let place = before.expect("it was served").place;
    let earlier = thrust.records().into_iter().take(place);
    let earlier = earlier.filter(|line| line.is_childs("request GET /hello"));
    assert!(earlier.count() <= 2, "turns go round");
}

#[test]
fn who_leaves_while_waiting_never_gets_to_the_app() {
    let thrust = queued("1").start();
    let mut first = thrust.wait_at_gate("g");
    let leaves = wait_in_line(&thrust, 0, "198.51.100.1", "/status?leaves");
    let mut stays = wait_in_line(&thrust, 1, "198.51.100.1", "/status?stays");
    drop(leaves);
    let gone = thrust.find(PATIENCE, |line| {
        line.message() == "Request" && line.field("query") == "leaves"
    });
    assert_eq!(gone.expect("a line").field("status"), "499");
    thrust.open_gate("g");
    assert_eq!(first.response().status, 200);
    assert_eq!(stays.response().status, 200);
    assert!(!thrust.has_child_line("request GET /status?leaves"));
}

#[test]
fn what_needs_no_app_waits_for_none() {
    let place = crate::support::Place::new();
    place.file("robots.txt", "none");
    let thrust = queued("1")
        .env("THRUSTER_PUBLIC_FILES_ENABLED", "1")
        .env("THRUSTER_PUBLIC_PATH", place.path())
        .start();
    assert_eq!(thrust.get("/own?n=10").status, 200);
    let mut first = thrust.wait_at_gate("g");
    let cached = thrust.get("/own?n=10");
    assert_eq!(cached.field("x-cache").as_deref(), Some("hit"));
    assert_eq!(thrust.get("/robots.txt").text(), "none");
    thrust.open_gate("g");
    assert_eq!(first.response().status, 200);
}

#[test]
fn a_tunnel_takes_no_place_and_a_stream_does() {
    let thrust = queued("1").start();
    let mut tunnel = thrust.connect();
    tunnel.send_head(
        "GET",
        "/upgrade",
        "connection: upgrade\r\nupgrade: test\r\n",
    );
    assert_eq!(tunnel.head().status, 101);
    assert_eq!(thrust.get("/hello").status, 200, "beside the tunnel");
    let mut events = thrust.connect();
    events.send_get("/sse?every_ms=20&count=0");
    assert_eq!(events.head().status, 200);
    let mut waits = wait_in_line(&thrust, 0, "198.51.100.1", "/status");
    let early = thrust.find(QUIET, |line| line.is_childs("request GET /status"));
    assert!(early.is_none(), "{}", thrust.logs());
    drop(events);
    assert_eq!(waits.response().status, 200);
    tunnel.send("still here");
    tunnel.read_until("still here");
}

#[test]
fn a_client_that_takes_its_time_with_a_small_answer_keeps_no_place() {
    let thrust = queued("1").start();
    let mut slow = thrust.connect();
    slow.send_get("/bytes?n=50000");
    thrust.wait_for_child_line("done GET /bytes");
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(slow.response().body.len(), 50_000);
}

#[test]
fn every_way_out_gives_the_place_back() {
    let thrust = queued("2").start();
    let answered = [
        "/hello",
        "/status?code=404",
        "/chunked?n=3&size=10&delay_ms=1",
        "/trailers",
        "/early-hints",
        "/close-without-answer",
        "/keepalive-close",
        "/own?n=20",
    ];
    let cut = ["/abort?after=10", "/reset"];
    for round in 0..3 {
        for target in answered {
            thrust.get(target);
        }
        for target in cut {
            let mut client = thrust.connect();
            client.send_get(target);
            let _ = client.try_response();
        }
        let mut head = thrust.connect();
        head.send_head("HEAD", "/bytes?n=100000", "");
        assert_eq!(head.response().status, 200);
        for target in [
            "/hang",
            "/sse?every_ms=5&count=0",
            "/stream?n=10000&delay_ms=1",
        ] {
            let mut leaves = thrust.connect();
            leaves.send_get(target);
            thrust.wait_for_nth_child_line(round, &format!("request GET {target}"));
        }
        let mut upload = thrust.connect();
        upload.send_head("POST", "/upload", "content-length: 1000000\r\n");
        upload.send(vec![0; 1000]);
        thrust.wait_for_nth_child_line(round, "request POST /upload");
        drop(upload);
        let mut early = thrust.connect();
        early.send_head("POST", "/early?close=1", "content-length: 1000000\r\n");
        assert_eq!(early.response().status, 403);
        assert_places(&thrust, 2, &format!("round-{round}-"));
    }
}

#[test]
fn a_drain_loses_nobody_who_waits() {
    let mut thrust = queued("1").start();
    let mut first = thrust.wait_at_gate("g");
    let mut line: Vec<_> = (0..5)
        .map(|nth| wait_in_line(&thrust, nth, "198.51.100.1", "/hello"))
        .collect();
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("draining").number("in_flight"), 6);
    thrust.open_gate("g");
    for client in line.iter_mut().chain([&mut first]) {
        let response = client.response();
        assert_eq!(response.status, 200);
        assert!(response.connection("close"));
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert_eq!(thrust.wait_for("drain finished").field("reason"), "done");
    assert_eq!(thrust.wait_for("stopped").number("drained"), 6);
}

#[test]
fn who_waits_when_the_drain_times_out_is_not_left_without_an_answer() {
    let mut thrust = queued("1")
        .env("HTTP_DRAIN_TIMEOUT", "1")
        .app(["--on-term", "close-port-then-exit-after=2"])
        .start();
    let mut first = thrust.wait_at_gate("g");
    let mut waits = wait_in_line(&thrust, 0, "198.51.100.1", "/hello");
    thrust.signal(SIGTERM);
    thrust.wait_for("relaying signal");
    thrust.open_gate("g");
    assert_eq!(first.response().status, 200);
    let response = waits.response();
    assert!([200, 503].contains(&response.status), "{}", response.status);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m30_when_the_app_dies_nobody_waits_for_a_place_there() {
    for stopping in [false, true] {
        let mut thrust = queued("1").start();
        let mut first = thrust.wait_at_gate("g");
        let mut line: Vec<_> = (0..5)
            .map(|nth| wait_in_line(&thrust, nth, "198.51.100.1", "/hello"))
            .collect();
        if stopping {
            thrust.signal(SIGTERM);
            thrust.wait_for("draining");
        }
        thrust.signal_child(SIGKILL);
        for client in line.iter_mut().chain([&mut first]) {
            let status = client.response().status;
            assert!([502, 503].contains(&status), "{status}");
            assert!(!stopping || status == 503, "{status}");
        }
        assert!(thrust.exits_within(seconds(5)));
        assert_eq!(thrust.wait_exit(PATIENCE), 137);
    }
}

#[test]
fn who_waits_for_the_apps_boot_takes_no_place_meanwhile() {
    let thrust = queued("1").app(["--start-when", "up"]).spawn();
    thrust.wait_for("listening");
    let mut clients: Vec<_> = (0..5).map(|_| thrust.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send_get("/slow?ms=10"));
    thrust.assert_no("waiting for a place at the app", millis(100));
    thrust.open_gate("up");
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(most_at_once(&thrust, "/slow"), 1);
}

/// Says what Puma says, and waits until it is known.
fn report(thrust: &Thrust, nth: usize, status: &str) {
    let target = format!("/notify?say=STATUS={status}").replace(' ', "%20");
    assert_eq!(thrust.get(&target).status, 200);
    let told = thrust.wait_for_nth(nth, "app status", PATIENCE);
    assert_eq!(told.field("status"), status);
}

/// Twelve requests at once; how many of them were at the app.
fn crowd(thrust: &Thrust, name: &str) -> usize {
    let (port, target) = (thrust.port(), format!("/slow?ms=30&{name}"));
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| assert_eq!(Client::connect(port).get(&target).status, 200));
        }
    });
    most_at_once(thrust, &target)
}

#[test]
fn auto_follows_the_threads_that_puma_reports() {
    let thrust = queued("auto").start();
    // Nobody knows yet: as many as there are.
    let gates: Vec<_> = (0..8).map(|number| format!("g{number}")).collect();
    let mut waiting: Vec<_> = gates.iter().map(|name| thrust.wait_at_gate(name)).collect();
    gates.iter().for_each(|name| thrust.open_gate(name));
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
    let reports = [
        (
            2,
            "Puma 6.4.2: worker: { 2/2 threads, 2 available, 0 backlog }",
        ),
        (
            5,
            "Puma 6.4.2: cluster: 2/2, worker_status: [{ 1/2 threads, 2 available, 0 backlog },{ 1/3 threads, 3 available, 0 backlog }]",
        ),
        (
            1,
            "Puma 6.4.2: worker: { 1/1 threads, 1 available, 0 backlog }",
        ),
        // One that boots has none yet, and changes nothing.
        (
            1,
            "Puma 6.4.2: cluster: 0/1, worker_status: [{ / threads,  available,  backlog }]",
        ),
    ];
    for (nth, (threads, status)) in reports.into_iter().enumerate() {
        report(&thrust, nth, status);
        assert_eq!(crowd(&thrust, &format!("n{nth}")), threads, "{status}");
    }
    assert_eq!(thrust.count("app reports its threads"), 3);
}

#[test]
fn a_number_is_a_number_whatever_puma_reports() {
    let thrust = queued("2").start();
    report(
        &thrust,
        0,
        "Puma 6.4.2: worker: { 9/9 threads, 9 available, 0 backlog }",
    );
    assert_eq!(crowd(&thrust, "two"), 2);
}

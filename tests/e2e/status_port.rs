//! STATUS_PORT: /livez, /readyz and /startupz through the whole life, who may ask, and what it costs the others.

use std::{net::TcpStream, time::Instant};

use nix::sys::signal::Signal;

use crate::support::{
    Client, End, Hammer, PATIENCE, ReservedPort, Thrust, alone, eventually, is_refused,
    listening_ports_of, millis, seconds,
    status::{ask, json, readiness, status_port, watched},
};

#[test]
fn each_probe_answers_in_text_and_in_json() {
    let mut thrust = watched().start();
    for (path, word) in [
        ("/livez", "alive\n"),
        ("/readyz", "ready\n"),
        ("/startupz", "started\n"),
    ] {
        let answer = ask(&thrust, path);
        assert_eq!((answer.status, &*answer.text()), (200, word));
        assert_eq!(answer.field("cache-control").as_deref(), Some("no-store"));
        for path in [format!("{path}.json"), format!("{path}?format=json")] {
            assert_eq!(json(&thrust, &path)["ok"], true, "{path}");
        }
        let mut client = Client::connect(status_port(&thrust));
        client.send_head("GET", path, "accept: application/json\r\n");
        let answer = client.response();
        assert_eq!(
            answer.field("content-type").as_deref(),
            Some("application/json")
        );
        client.send_head("HEAD", path, "");
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn probes_follow_the_whole_life_and_the_port_closes_last() {
    let mut thrust = watched()
        .app(["--start-when", "boot", "--on-term", "exit-after=1"])
        .env("HTTP_DRAIN_DELAY", "1")
        .spawn();
    thrust.wait_for_child_line("waiting boot");
    let booting = "not ready: the app has not opened its port yet";
    assert_eq!(readiness(&thrust), (503, booting.to_owned()));
    let startup = ask(&thrust, "/startupz");
    assert_eq!(startup.status, 503, "{}", startup.text());
    assert_eq!(ask(&thrust, "/livez").status, 200);

    thrust.open_gate("boot");
    thrust.wait_for("app ready");
    assert_eq!(readiness(&thrust), (200, "ready".to_owned()));
    assert_eq!(ask(&thrust, "/startupz").status, 200);

    let mut held = thrust.wait_at_gate("g");
    let port = status_port(&thrust);
    let mut probe = Client::connect(port);
    thrust.signal(Signal::SIGTERM);
    for (line, reason) in [
        ("delaying", "a stop was asked for"),
        ("draining", "requests in flight are awaited"),
        ("relaying signal", "the app is stopping"),
    ] {
        thrust.wait_for(line);
        if line == "relaying signal" {
            assert!(!is_refused(port), "it is open as long as we live");
        }
        let answer = probe.get("/readyz");
        let expected = format!("not ready: {reason}\n");
        assert_eq!((answer.status, answer.text()), (503, expected));
        assert_eq!(probe.get("/livez").status, 200, "{line}");
        assert_eq!(probe.get("/startupz").status, 200, "{line}");
        if line == "draining" {
            thrust.open_gate("g");
            assert_eq!(held.response().status, 200);
        }
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert!(is_refused(port));
}

#[test]
fn s39_readyz_says_that_the_app_does_not_accept_and_when_it_does_again() {
    let mut thrust = watched().tcp().start();
    let port = thrust.target_port().number();
    let direct = TcpStream::connect(("127.0.0.1", port)).expect("the app listens");
    let mut direct = Client::from_stream(direct).expect("a socket");
    for _ in 0..2 {
        assert_eq!(readiness(&thrust), (200, "ready".to_owned()));
        assert_eq!(direct.get("/close-port").status, 200);
        let away = "not ready: the app does not accept connections".to_owned();
        assert!(eventually(PATIENCE, || readiness(&thrust) == (503, away.clone())));
        assert_eq!(ask(&thrust, "/livez").status, 200);
        assert_eq!(ask(&thrust, "/startupz").status, 200);
        assert_eq!(direct.get("/open-port").status, 200);
        assert!(eventually(PATIENCE, || readiness(&thrust).0 == 200));
    }
    assert_eq!(json(&thrust, "/status.json")["app"]["restarts"], 2);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn s36_readyz_believes_what_the_app_says_of_itself() {
    let mut thrust = watched().start();
    for (word, status, line) in [
        (
            "RELOADING=1",
            503,
            "not ready: the app says that it is reloading",
        ),
        ("READY=1", 200, "ready"),
        (
            "STOPPING=1",
            503,
            "not ready: the app says that it is stopping",
        ),
    ] {
        assert_eq!(thrust.get(&format!("/notify?say={word}")).status, 200);
        let expected = (status, line.to_owned());
        assert!(
            eventually(PATIENCE, || readiness(&thrust) == expected),
            "{word}"
        );
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn it_only_shows_and_never_changes_anything() {
    let mut thrust = watched().start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for path in ["/", "/livez", "/metrics", "/status.json"] {
            let mut client = Client::connect(status_port(&thrust));
            client.send_head(method, path, "content-length: 0\r\n");
            let answer = client.response();
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.field("allow").as_deref(), Some("GET, HEAD"));
        }
    }
    let page = ask(&thrust, "/");
    let policy = page.field("content-security-policy").unwrap_or_default();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert_eq!(page.field("x-frame-options").as_deref(), Some("DENY"));
    assert!(page.text().starts_with("<!doctype html>"));
    let unknown = ask(&thrust, "/nothing");
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("/metrics"), "{}", unknown.text());
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn nothing_of_it_is_on_the_public_port_and_nothing_of_the_app_on_its_own() {
    let mut thrust = watched().start();
    for path in [
        "/livez",
        "/readyz",
        "/startupz",
        "/metrics",
        "/status.json",
        "/events",
    ] {
        let answer = thrust.get(path);
        assert_eq!(
            (answer.status, &*answer.text()),
            (404, "no such path\n"),
            "the app's"
        );
    }
    assert_eq!(ask(&thrust, "/hello").status, 404);
    assert_eq!(json(&thrust, "/status.json")["traffic"]["requests"], 6);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn without_status_port_there_is_none() {
    let mut thrust = Thrust::builder().start();
    assert_eq!(listening_ports_of(thrust.pid()), [thrust.port()].into());
    assert_eq!(thrust.stop(), 143);
    let mut thrust = watched().start();
    let both = [thrust.port(), status_port(&thrust)];
    assert_eq!(listening_ports_of(thrust.pid()), both.into());
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_taken_status_port_is_1_before_anything_is_spawned() {
    let taken = ReservedPort::front();
    taken.listen();
    let number = taken.number().to_string();
    let mut thrust = Thrust::builder()
        .env("THRUSTER_STATUS_PORT", &number)
        .spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 1);
    let logs = thrust.logs();
    let expected =
        format!("port {number} is taken by another process; stop it or set THRUSTER_STATUS_PORT");
    assert!(logs.contains(&expected), "{logs}");
    assert!(!thrust.has("app started"), "{logs}");
}

#[test]
fn equal_ports_are_64() {
    let mut thrust = Thrust::builder()
        .env("HTTP_PORT", "8080")
        .env("THRUSTER_STATUS_PORT", "8080")
        .spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 64);
    let expected = "HTTP_PORT and THRUSTER_STATUS_PORT are both 8080: expected two different ports";
    assert!(thrust.logs().contains(expected), "{}", thrust.logs());
}

#[test]
fn status_bind_is_where_it_listens_and_nowhere_else() {
    let mut thrust = watched().env("THRUSTER_STATUS_BIND", "::1").start();
    let port = status_port(&thrust);
    assert!(is_refused(port), "not on 127.0.0.1");
    let stream = TcpStream::connect(("::1", port)).expect("it listens");
    let mut client = Client::from_stream(stream).expect("a socket");
    assert_eq!(client.get("/livez").status, 200);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn whoever_is_connected_there_never_holds_a_stop() {
    let mut thrust = watched().start();
    let port = status_port(&thrust);
    let mut listening = Client::connect(port);
    listening.send_get("/events");
    assert_eq!(listening.head().status, 200);
    let mut kept = Client::connect(port);
    assert_eq!(kept.get("/livez").status, 200);
    let silent = Client::connect(port);
    let mut half = Client::connect(port);
    half.send("GET /metrics HT");
    // Takes nothing at all, which fills what lies between us and it.
    let mut stuck = Client::connect(port);
    (0..200).for_each(|_| stuck.send_get("/metrics"));
    assert_eq!(json(&thrust, "/status.json")["open"]["connections"], 0);

    let began = Instant::now();
    assert_eq!(thrust.stop(), 143);
    let drained = thrust.wait_for("drain finished").number("took_ms");
    assert!(
        drained < 100,
        "{drained} ms for connections of the status port"
    );
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
    assert_eq!(thrust.wait_for("stopped").number("cut"), 0);
    drop((silent, half, stuck));
}

#[test]
fn who_listens_hears_each_state_and_the_end() {
    let mut thrust = watched().app(["--on-term", "exit-after=1"]).start();
    let mut listening = Client::connect(status_port(&thrust));
    listening.send_get("/events");
    assert_eq!(
        listening.head().field("content-type").as_deref(),
        Some("text/event-stream")
    );
    listening.read_until("event: history\ndata: [");
    listening.read_until("\"state\":\"serving\"");
    let mut held = thrust.wait_at_gate("g");
    thrust.signal(Signal::SIGTERM);
    listening.read_until("\"state\":\"draining\"");
    thrust.open_gate("g");
    assert_eq!(held.response().status, 200);
    listening.read_until("\"state\":\"stopping\"");
    listening.read_until("\"state\":\"stopped\"");
    let last = listening.read_until("event: end");
    assert!(last.contains("\"exit_code\":143"), "{last}");
    let (_, end) = listening.rest();
    assert_eq!(end, End::Eof, "in good order");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn no_more_pages_are_served_than_there_are_seats_and_probes_get_in_all_the_same() {
    let mut thrust = watched().start();
    let port = status_port(&thrust);
    let mut listeners: Vec<_> = (0..33).map(|_| Client::connect(port)).collect();
    let statuses: Vec<_> = listeners
        .iter_mut()
        .map(|client| {
            client.send_get("/events");
            client.head().status
        })
        .collect();
    assert_eq!(statuses[..32], [200; 32]);
    assert_eq!(statuses[32], 503);
    assert_eq!(readiness(&thrust).0, 200);
    drop(listeners);
    let free_again = || {
        let mut client = Client::connect(port);
        client.send_get("/events");
        client.head().status == 200
    };
    assert!(
        eventually(PATIENCE, free_again),
        "who leaves gives up a seat"
    );
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_secret_is_nowhere() {
    const SECRET: &str = "c2VjcmV0LWtleS1vZi1taW5l";
    let mut thrust = watched()
        .env("EAB_KID", "the-kid")
        .env("EAB_HMAC_KEY", SECRET)
        .start();
    for path in [
        "/",
        "/config.json",
        "/status.json",
        "/metrics",
        "/readyz.json",
    ] {
        let answer = ask(&thrust, path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains(SECRET), "{path}");
    }
    let mut listening = Client::connect(status_port(&thrust));
    listening.send_get("/events");
    let heard = listening.read_until("event: status") + &listening.read_until("\n\n");
    assert!(!heard.contains(SECRET));
    let variables = json(&thrust, "/config.json");
    let shown = |name: &str| {
        let all = variables.as_array().expect("a list");
        let one = all.iter().find(|one| one["name"] == name);
        one.unwrap_or_else(|| panic!("no {name}"))["value"].clone()
    };
    assert_eq!(shown("EAB_HMAC_KEY"), "(hidden)");
    assert_eq!(shown("EAB_KID"), "the-kid");
    assert_eq!(shown("THRUSTER_STATUS_PORT"), "0");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn it_answers_within_50_ms_however_busy_the_cores_are() {
    let _alone = alone();
    let mut thrust = watched().env("LOG_REQUESTS", "0").start();
    let hammer = Hammer::start(thrust.port(), 16);
    let mut probe = Client::connect(status_port(&thrust));
    let busy = || json(&thrust, "/status.json")["traffic"]["requests"].as_u64() > Some(1_000);
    assert!(eventually(PATIENCE, busy), "a load");
    let mut took: Vec<_> = (0..101)
        .map(|number| {
            let path = ["/readyz", "/metrics", "/status.json"][number % 3];
            let asked = Instant::now();
            let answer = probe.get(path);
            assert_eq!(answer.status, 200, "{path}");
            asked.elapsed()
        })
        .collect();
    hammer.expect_the_end();
    hammer.finish().assert_nothing_lost();
    took.sort();
    // The median is the promise itself, so it is not given five times of it.
    assert!(
        took[50] < millis(50),
        "median {:?}, worst {:?}",
        took[50],
        took[100]
    );
    assert_eq!(thrust.stop(), 143);
}

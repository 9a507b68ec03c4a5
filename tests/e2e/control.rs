//! `thrustctl`: status, drain, pause, maintenance, the log, and the commands for probes.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    thread,
    time::Instant,
};

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use serde_json::Value;

use crate::support::{
    Builder, Client, PATIENCE, QUIET, Said, Thrust, assert_order, eventually, millis, seconds,
    thrustctl,
};

fn controlled() -> Builder {
    Thrust::builder().controlled()
}

fn status(thrust: &Thrust) -> Value {
    serde_json::from_str(&thrust.do_control(&["status", "--json"])).expect("a line of JSON")
}

/// Polls what is published until it is so.
#[track_caller]
fn await_status(thrust: &Thrust, wanted: impl Fn(&Value) -> bool) {
    let mut last = Value::Null;
    let met = eventually(PATIENCE, || {
        last = status(thrust);
        wanted(&last)
    });
    assert!(met, "{last:#}");
}

/// A GET that waits for its answer.
fn ask(thrust: &Thrust, path: &str) -> Client {
    let mut client = thrust.connect();
    client.send_get(path);
    client
}

#[test]
fn status_says_how_it_is_to_people_and_to_machines() {
    let mut thrust = controlled().start();
    let mut waiting = thrust.wait_at_gate("g");
    let table = thrust.do_control(&["status"]);
    let row = |name: &str| {
        let row = table.lines().find(|line| line.starts_with(name));
        row.unwrap_or_else(|| panic!("no {name} in {table}"))
            .to_owned()
    };
    assert!(row("state ").contains("serving, for "), "{table}");
    assert!(row("ready ").ends_with(" yes"), "{table}");
    assert!(row("app ").contains(&format!("pid {}, accepting", thrust.child_pid())));
    assert!(row("requests ").contains("1 in flight, 0 streams, 0 tunnels"));

    let json = status(&thrust);
    assert_eq!(json["reply"], "status");
    assert_eq!(json["state"], "serving");
    assert_eq!(json["open"]["in_flight"], 1);
    assert_eq!(json["paused"], false);
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn drain_is_a_sigterm_that_is_watched_to_its_end() {
    let mut thrust = controlled().start();
    let mut waiting = thrust.wait_at_gate("g");
    let mut drain = thrust.begin_control(&["drain"]);
    let progress = BufReader::new(drain.stderr.take().expect("piped"));
    let mut progress = progress.lines().map_while(Result::ok);
    let bar = progress.find(|line| line.starts_with("draining"));
    assert!(bar.is_some_and(|bar| bar.contains("s of 30 s, 1 requests")));
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert!(progress.any(|line| line.starts_with("stopped")));
    let said = Said::from(drain.wait_with_output().expect("our child"));
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(
        said.out,
        "1 requests drained, 0 cut; Thrust exits with 143\n"
    );
    thrust.wait_for_child_line("signal SIGTERM");
    assert_order(
        &thrust,
        &[
            "signal received",
            "draining",
            "drain finished",
            "relaying signal",
            "stopped",
        ],
    );
}

#[test]
fn drain_says_when_requests_were_broken_off() {
    let mut thrust = controlled().env("HTTP_DRAIN_TIMEOUT", "1").start();
    let mut half = ask(&thrust, "/gated-body?name=never");
    assert_eq!(half.head().status, 200);
    let said = thrust.control(&["drain"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("1 cut"), "{said:?}");
    drop(half);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn a_drain_goes_on_when_its_watcher_leaves() {
    let mut thrust = controlled().start();
    let mut waiting = thrust.wait_at_gate("g");
    let said = thrust.control(&["drain", "--timeout", "1"]);
    assert_eq!(said.code, 75, "{said:?}");
    assert_eq!(thrust.do_control(&["drain", "--no-wait"]), "stopping\n");
    assert_eq!(status(&thrust)["state"], "draining");
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert!(!thrust.control_socket().exists());
}

#[test]
fn a_drain_whose_thrust_is_killed_has_failed() {
    let mut thrust = controlled().start();
    let waiting = thrust.wait_at_gate("g");
    let drain = thrust.begin_control(&["drain"]);
    thrust.wait_for("draining");
    thrust.signal(SIGKILL);
    let said = Said::from(drain.wait_with_output().expect("our child"));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("without a last word"), "{said:?}");
    thrust.wait_status(PATIENCE);
    drop(waiting);
}

#[test]
fn wait_drained_waits_for_the_drain_of_others() {
    let mut thrust = controlled().app(["--on-term", "exit-after=1"]).start();
    let mut waiting = thrust.wait_at_gate("g");
    assert_eq!(thrust.control(&["wait-drained", "--timeout", "0"]).code, 75);
    let mut drained = thrust.begin_control(&["wait-drained"]);
    let gone = thrust.begin_control(&["wait-drained", "--gone"]);
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thread::sleep(QUIET);
    assert!(drained.try_wait().expect("our child").is_none());
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    let said = Said::from(drained.wait_with_output().expect("our child"));
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!thrust.exits_within(millis(0)), "the app is still stopping");
    let said = Said::from(gone.wait_with_output().expect("our child"));
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let said = thrust.control(&["wait-drained"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("taken for drained"), "{said:?}");
}

#[test]
fn a_pause_holds_what_is_new_and_lets_it_all_go_on() {
    let mut thrust = controlled()
        .env("THRUSTER_HTTP_HEALTH_PATH", "/hello")
        .start();
    assert_eq!(thrust.get("/own?n=9").status, 200);
    let mut before = thrust.wait_at_gate("g");
    assert_eq!(
        thrust.do_control(&["pause"]),
        "paused; 1 requests are still with the app\n"
    );
    let mut held: Vec<_> = (0..5).map(|_| ask(&thrust, "/headers")).collect();
    await_status(&thrust, |status| status["held"] == 5);
    assert!(
        thrust
            .do_control(&["status"])
            .contains("5 requests, paused")
    );
    assert!(!thrust.has_child_line("request GET /headers"));
    let cached = thrust.get("/own?n=9");
    assert_eq!(
        (cached.status, cached.field("x-cache")),
        (200, Some("hit".into()))
    );
    // What was there before goes on, and so does the health check.
    thrust.open_gate("g");
    assert_eq!(before.response().status, 200);
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(
        thrust.do_control(&["pause"]),
        "paused; 0 requests are still with the app\n"
    );
    assert_eq!(
        thrust.do_control(&["resume"]),
        "resumed; 5 requests go on\n"
    );
    for client in &mut held {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(thrust.get("/headers").status, 200);
    assert_eq!(thrust.do_control(&["resume"]), "there was no pause\n");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_pause_holds_so_many_for_so_long() {
    let mut thrust = controlled().start();
    thrust.do_control(&["pause", "--limit", "1", "--timeout", "1"]);
    let began = Instant::now();
    let mut held = ask(&thrust, "/hello");
    await_status(&thrust, |status| status["held"] == 1);
    let refused = thrust.get("/hello");
    assert_eq!(
        (refused.status, refused.field("retry-after")),
        (503, Some("1".into()))
    );
    assert!(
        began.elapsed() < seconds(1),
        "at once: {:?}",
        began.elapsed()
    );
    let late = held.response();
    assert_eq!(
        (late.status, late.field("retry-after")),
        (503, Some("1".into()))
    );
    assert!(began.elapsed() >= seconds(1), "{:?}", began.elapsed());
    assert_eq!(thrust.wait_for_request("/hello").field("cause"), "paused");
    thrust.do_control(&["resume"]);
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_drain_lets_go_what_a_pause_holds() {
    let mut thrust = controlled().start();
    thrust.do_control(&["pause"]);
    let mut held: Vec<_> = (0..3).map(|_| ask(&thrust, "/hello")).collect();
    await_status(&thrust, |status| status["held"] == 3);
    thrust.signal(SIGTERM);
    for client in &mut held {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn nothing_is_paused_once_a_stop_has_begun() {
    let mut thrust = controlled().start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    let said = thrust.control(&["pause"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("a stop is on its way"), "{said:?}");
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn maintenance_closes_to_users_and_not_to_the_health_check() {
    let mut thrust = controlled()
        .env("THRUSTER_HTTP_HEALTH_PATH", "/hello")
        .start();
    thrust.do_control(&["maintenance", "on", "--retry-after", "7"]);
    let closed = thrust.get("/own?n=10");
    assert_eq!(closed.status, 503);
    assert_eq!(closed.field("retry-after"), Some("7".into()));
    assert_eq!(closed.field("cache-control"), Some("no-store".into()));
    assert_eq!(
        closed.field("content-type"),
        Some("text/plain; charset=utf-8".into())
    );
    let mut browser = thrust.connect();
    browser.send_head("GET", "/", "accept: text/html,*/*;q=0.8\r\n");
    let page = browser.response();
    assert_eq!(
        page.field("content-type"),
        Some("text/html; charset=utf-8".into())
    );
    assert!(page.text().contains("Down for maintenance"));
    browser.send_head("HEAD", "/", "accept: text/html\r\n");
    assert_eq!(browser.response().status, 503);

    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(thrust.do_control(&["healthcheck"]), "");
    assert!(thrust.do_control(&["status"]).contains("maintenance  on"));
    assert_eq!(
        thrust.wait_for_request("/own").field("cause"),
        "maintenance"
    );
    assert!(!thrust.has_child_line("request GET /own"));
    thrust.do_control(&["maintenance", "off"]);
    assert_eq!(thrust.get("/own?n=10").status, 200);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn the_page_of_a_maintenance_may_be_the_users_own() {
    let mut thrust = controlled()
        .file("THRUSTER_MAINTENANCE_PAGE", "<h1>Tea time</h1>")
        .start();
    thrust.do_control(&["maintenance", "on"]);
    let mut browser = thrust.connect();
    browser.send_head("GET", "/", "accept: text/html\r\n");
    let page = browser.response();
    assert_eq!(
        (page.status, page.text()),
        (503, "<h1>Tea time</h1>".into())
    );
    assert_eq!(page.field("retry-after"), Some("60".into()));
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn the_log_says_more_and_less_without_a_restart() {
    let mut thrust = controlled().start();
    let debug = |thrust: &Thrust| {
        thrust
            .records()
            .iter()
            .filter(|it| it.level() == "DEBUG")
            .count()
    };
    assert_eq!(debug(&thrust), 0);
    thrust.do_control(&["log-level", "debug"]);
    thrust.signal(nix::sys::signal::Signal::SIGUSR2);
    thrust.wait_for("forwarding signal");
    thrust.do_control(&["log-level", "error"]);
    thrust.do_control(&["resume"]);
    thrust.do_control(&["log-level", "info"]);
    assert_eq!(thrust.stop(), 143);
    // Those that made it louder and more silent; what came then was said to nobody.
    assert_eq!(thrust.count("command received"), 2);
    assert_eq!(thrust.count("stopped"), 1);
}

#[test]
fn a_healthcheck_by_the_socket_tells_ready_from_live() {
    let mut thrust = controlled().app(["--start-when", "up"]).spawn();
    thrust.wait_for_child_line("waiting up");
    await_status(&thrust, |status| status["state"] == "starting");
    let said = thrust.control(&["healthcheck"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("the app has not opened its port yet"),
        "{said:?}"
    );
    assert_eq!(thrust.control(&["healthcheck", "live"]).code, 0);
    thrust.open_gate("up");
    thrust.wait_for("app ready");
    assert_eq!(thrust.control(&["healthcheck", "ready"]).code, 0);

    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    assert_eq!(thrust.control(&["healthcheck"]).code, 1);
    assert_eq!(thrust.control(&["healthcheck", "live"]).code, 0);
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let said = thrust.control(&["healthcheck", "live"]);
    assert_eq!(said.code, 1, "nobody is there: {said:?}");
}

#[test]
fn a_healthcheck_without_a_socket_asks_the_front() {
    let mut thrust = Thrust::builder().start();
    let port = thrust.port().to_string();
    let check = |extra: &[(&str, &OsStr)], probe: &str| {
        let mut environment = vec![("HTTP_PORT", OsStr::new(&port))];
        environment.extend(extra);
        thrustctl(&["healthcheck", probe], &environment).code
    };
    let path = |path: &'static str| ("THRUSTER_HTTP_HEALTH_PATH", OsStr::new(path));
    assert_eq!(check(&[], "ready"), 0);
    assert_eq!(check(&[path("/hello")], "ready"), 0);
    assert_eq!(check(&[path("/early")], "ready"), 1, "403");
    assert_eq!(check(&[], "live"), 0);
    assert_eq!(thrust.stop(), 143);
    assert_eq!(check(&[], "ready"), 1);
    assert_eq!(check(&[], "live"), 1);
}

#[test]
fn a_healthcheck_without_a_socket_asks_the_status_port_before_the_front() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_STATUS_PORT", "0")
        .app(["--start-when", "up"])
        .spawn();
    let address = thrust.wait_for("status port open").field("addr");
    let port = address.rsplit(':').next().expect("a port").to_owned();
    let check = |probe: &str| {
        let status = ("THRUSTER_STATUS_PORT", OsStr::new(&port));
        // Nobody is asked on this one.
        let front = ("HTTP_PORT", OsStr::new("1"));
        thrustctl(&["healthcheck", probe], &[status, front]).code
    };
    assert_eq!((check("ready"), check("live")), (1, 0));
    thrust.open_gate("up");
    thrust.wait_for("app ready");
    assert!(eventually(PATIENCE, || check("ready") == 0));
    assert_eq!(thrust.stop(), 143);
    assert_eq!((check("ready"), check("live")), (1, 1));
}

#[test]
fn what_cannot_be_asked_is_told_by_its_exit_code() {
    for (words, code, said) in [
        (&["status"][..], 64, "no control socket"),
        (
            &["--socket", "/nowhere/control", "status"],
            69,
            "no Thrust at /nowhere/control",
        ),
        (&["bananas"], 64, "unrecognized subcommand"),
        (&["pause", "--limit", "x"], 64, "invalid value 'x'"),
        (&["purge", "tag"], 64, "<TAG>..."),
        (&[], 64, "Usage: thrustctl"),
    ] {
        let told = thrustctl(words, &[]);
        assert_eq!(told.code, code, "{words:?}: {told:?}");
        assert!(told.err.contains(said), "{words:?}: {told:?}");
    }
}

#[test]
fn help_and_completions_name_every_command() {
    let help = thrustctl(&["--help"], &[]);
    assert_eq!(help.code, 0);
    assert!(help.out.contains("Exit codes:"));
    let commands = [
        "status",
        "drain",
        "pause",
        "resume",
        "maintenance",
        "purge",
        "log-level",
        "healthcheck",
        "wait-drained",
        "completions",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let script = thrustctl(&["completions", shell], &[]);
        assert_eq!(script.code, 0, "{shell}");
        for command in commands {
            assert!(script.out.contains(command), "{shell}: {command}");
            assert!(help.out.contains(&format!("\n  {command} ")), "{command}");
        }
    }
}

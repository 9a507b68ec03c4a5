//! LIFECYCLE 8: what the log says at the end, and leaving although nobody reads it. M43 to M46.

use std::{io, thread, time::Instant};

use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGTERM};

use crate::support::{
    Client, PATIENCE, Record, ReservedPort, Thrust, alone, assert_order, millis, seconds,
};

/// The lines of a stop, in their order; `child exited` stands where it happens.
const STOP: [&str; 6] = [
    "signal received",
    "listener closed",
    "draining",
    "drain finished",
    "relaying signal",
    "stopped",
];

#[test]
fn m43_the_lines_of_a_stop_have_their_order_and_fields() {
    let mut thrust = Thrust::builder().start();
    let mut waiting = thrust.wait_at_gate("g");
    let (port, child) = (thrust.port(), thrust.child_pid());
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);

    assert_order(&thrust, &STOP);
    assert_order(&thrust, &["relaying signal", "child exited", "stopped"]);
    for message in STOP.into_iter().chain(["child exited"]) {
        assert_eq!(thrust.count(message), 1, "{message}");
        assert!(thrust.wait_for(message).has("time"), "{message}");
    }
    let line = |message| thrust.wait_for(message);
    assert_eq!(line("signal received").field("signal"), "SIGTERM");
    assert!(
        line("listener closed")
            .field("addr")
            .ends_with(&format!(":{port}"))
    );
    assert!(line("listener closed").has("accepted_late"));
    let draining = line("draining");
    assert_eq!(draining.number("in_flight"), 1);
    for field in ["idle", "streams", "tunnels", "timeout"] {
        draining.number(field);
    }
    let finished = line("drain finished");
    assert_eq!(
        (
            finished.field("reason").as_str(),
            finished.number("remaining")
        ),
        ("done", 0)
    );
    finished.number("took_ms");
    let relayed = line("relaying signal");
    assert_eq!(
        (relayed.field("signal").as_str(), relayed.number("pid")),
        ("SIGTERM", child.into())
    );
    assert!(line("child exited").has("status"));
    line("child exited").number("took_ms");
    let stopped = line("stopped");
    assert_eq!(stopped.number("exit_code"), 143);
    assert_eq!((stopped.number("drained"), stopped.number("cut")), (1, 0));
    stopped.number("total_ms");
}

#[test]
fn m43_the_order_holds_when_the_drain_times_out_is_forced_or_loses_its_child() {
    type End = fn(&Thrust);
    let ends: [(&str, End); 3] = [
        ("timeout", |_| {}),
        ("forced", |thrust| {
            thrust.assert_no("relaying signal", millis(350));
            thrust.signal(SIGINT);
        }),
        ("child_exited", |thrust| thrust.signal_child(SIGKILL)),
    ];
    for (reason, end) in ends {
        let mut thrust = Thrust::builder()
            .env(
                "HTTP_DRAIN_TIMEOUT",
                if reason == "timeout" { "1" } else { "30" },
            )
            .start();
        let _waiting = thrust.wait_at_gate("g");
        thrust.signal(SIGTERM);
        thrust.wait_for("draining");
        end(&thrust);
        let code = thrust.wait_exit(PATIENCE);
        let finished = thrust.wait_for("drain finished");
        assert_eq!(finished.field("reason"), reason);
        let relayed = reason != "child_exited";
        let lines: Vec<_> = STOP
            .into_iter()
            .filter(|message| relayed || *message != "relaying signal")
            .collect();
        assert_order(&thrust, &lines);
        assert_eq!(thrust.has("relaying signal"), relayed);
        let stopped = thrust.wait_for("stopped");
        assert_eq!(stopped.number("exit_code"), u64::try_from(code).unwrap());
        stopped.number("cut");
    }
}

#[test]
fn m43_the_drain_says_every_5_s_how_far_it_is() {
    let mut thrust = Thrust::builder().start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    let begun = thrust.wait_for("draining").at;
    let progress = thrust.find(seconds(8), |line| {
        line.is_ours() && line.at >= begun + millis(4_500)
    });
    let progress = progress.expect("a line after 5 s");
    assert!(
        progress.at - begun < seconds(7),
        "{:?}",
        progress.at - begun
    );
    assert_eq!(progress.number("in_flight"), 1, "{}", progress.text);
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

fn last_of_ours(thrust: &Thrust) -> Record {
    thrust
        .records()
        .into_iter()
        .rfind(Record::is_ours)
        .expect("lines")
}

#[test]
fn m44_stopped_is_the_last_line_on_every_exit_path() {
    type Path = fn(&Thrust);
    let paths: [(&str, i32, Path); 5] = [
        ("a stop", 143, |thrust| thrust.signal(SIGTERM)),
        ("an exit of the app's", 5, |thrust| {
            thrust.tell_app("/exit?code=5");
        }),
        ("a crash of the app's", 137, |thrust| {
            thrust.signal_child(SIGKILL);
        }),
        ("a drain without a child", 137, |thrust| {
            let _waiting = thrust.wait_at_gate("g");
            thrust.signal(SIGTERM);
            thrust.signal_child(SIGKILL);
        }),
        ("two signals", 143, |thrust| {
            thrust.signal(SIGTERM);
            thrust.wait_for("signal received");
            thrust.signal(SIGINT);
        }),
    ];
    for (name, code, take) in paths {
        let mut thrust = Thrust::builder().start();
        take(&thrust);
        assert_eq!(thrust.wait_exit(PATIENCE), code, "{name}");
        let last = last_of_ours(&thrust);
        assert_eq!(
            (last.message(), last.number("exit_code")),
            ("stopped", u64::try_from(code).unwrap()),
            "{name}"
        );
    }
}

#[test]
fn m44_stopped_is_the_last_line_when_nothing_could_be_spawned() {
    for (command, code) in [("no-such-command-anywhere", 127), ("/etc/passwd", 126)] {
        let mut thrust = Thrust::builder().command([command]).spawn();
        assert_eq!(thrust.wait_exit(PATIENCE), code);
        let last = last_of_ours(&thrust);
        assert_eq!(
            (last.message(), last.number("exit_code")),
            ("stopped", u64::try_from(code).unwrap())
        );
    }
}

#[test]
fn m44_no_line_is_lost_at_the_exit() {
    // The access log is written last and least urgently: its lines must be out all the same.
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    for number in 0..100 {
        assert_eq!(client.get(&format!("/hello?{number}")).status, 200);
    }
    assert_eq!(thrust.stop(), 143);
    assert_eq!(thrust.count("Request"), 100);
    assert_eq!(last_of_ours(&thrust).message(), "stopped");
}

/// Stops a Thrust whose log nobody reads, with requests that would each like to write a line.
fn stops_unheard(builder: crate::support::Builder) {
    let _alone = alone();
    let front = ReservedPort::front();
    let mut thrust = builder.env("HTTP_PORT", front.number().to_string()).spawn();
    // Its own lines cannot be seen; the app's are on stderr.
    thrust.wait_for_child_line("port open");
    let mut client = Client::connect(front.number());
    for _ in 0..50 {
        assert_eq!(
            client.get("/hello").status,
            200,
            "a log that nobody reads holds up no request"
        );
    }
    drop(client);
    let asked = Instant::now();
    assert_eq!(thrust.stop(), 143);
    assert!(asked.elapsed() < 5 * seconds(1), "{:?}", asked.elapsed());
    thrust.wait_for_child_line("signal SIGTERM");
}

#[test]
fn m44_a_closed_stdout_does_not_stop_the_shutdown() {
    stops_unheard(Thrust::builder().closed_stdout());
}

#[test]
fn m44_a_blocked_stdout_does_not_stop_the_shutdown() {
    stops_unheard(Thrust::builder().blocked_stdout());
}

#[test]
fn what_a_blocked_reader_does_not_read_is_dropped_counted_and_said() {
    const REQUESTS: u64 = 1_300;
    let _alone = alone();
    let front = ReservedPort::front();
    let mut thrust = Thrust::builder()
        .env("HTTP_PORT", front.number().to_string())
        .blocked_stdout()
        .spawn();
    thrust.wait_for_child_line("port open");
    let mut client = Client::connect(front.number());
    // Each line is more than is gathered before it is handed on.
    let target = format!("/hello?{}", "x".repeat(20_000));
    for _ in 0..REQUESTS {
        assert_eq!(client.get(&target).status, 200, "nobody waits for the log");
    }
    thrust.read_on();
    let said = thrust.wait_for("log lines dropped");
    assert_eq!(said.level(), "WARN");
    assert_eq!(thrust.stop(), 143);
    let records = thrust.records().into_iter();
    let said = records.filter(|line| line.message() == "log lines dropped");
    let dropped: u64 = said.map(|line| line.number("lines")).sum();
    let written = u64::try_from(thrust.count("Request")).expect("few");
    assert!(dropped > 0 && written > 1_000, "{dropped} of {written}");
    assert_eq!(written + dropped, REQUESTS, "none is lost in silence");
}

#[test]
fn m45_an_app_that_goes_away_mid_request_is_a_debug_line_and_no_panic() {
    for target in ["/exit?code=6", "/crash"] {
        let mut thrust = Thrust::builder().start();
        let mut uploads: Vec<_> = (0..4).map(|_| thrust.connect()).collect();
        for upload in &mut uploads {
            upload.send_head("POST", "/upload", "content-length: 100000000\r\n");
            upload.send(vec![b'x'; 1_000_000]);
        }
        thrust.wait_for_nth_child_line(3, "request POST /upload");
        // Writes to the app are under way when it goes.
        thrust.tell_app(target);
        for upload in &mut uploads {
            assert_eq!(upload.response().status, 502);
        }
        assert_eq!(
            thrust.wait_exit(PATIENCE),
            if target == "/crash" { 137 } else { 6 }
        );
        assert!(!thrust.logs().contains("panicked"), "{}", thrust.logs());
        let loud = thrust.records().into_iter().filter(|line| {
            let text = line.text.to_lowercase();
            let level = ["WARN", "ERROR"].contains(&line.level());
            level
                && ["broken pipe", "epipe", "reset", "econnreset"]
                    .iter()
                    .any(|word| text.contains(word))
        });
        assert_eq!(loud.count(), 0, "{}", thrust.logs());
    }
}

#[test]
fn m46_running_out_of_descriptors_backs_off_and_recovers() {
    let _alone = alone();
    let files = few_files();
    let mut thrust = Thrust::builder()
        .before_exec(move || limit_files(files))
        .start();
    let port = thrust.port();
    let mut crowd: Vec<_> = (0..files + 100).map(|_| Client::connect(port)).collect();
    let complaint =
        |line: &Record| line.is_ours() && line.message() != "Request" && complains(line);
    assert!(
        thrust.find(PATIENCE, complaint).is_some(),
        "nothing said about descriptors"
    );
    // A few rounds of backing off, up to a second each.
    thread::sleep(seconds(3));
    assert_eq!(
        thrust
            .records()
            .iter()
            .filter(|line| complaint(line))
            .count(),
        1,
        "one line per 10 s"
    );
    crowd.clear();
    let response = thrust.get("/hello");
    assert_eq!(
        (response.status, response.text().starts_with("hello")),
        (200, true)
    );
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn m46_a_stop_is_heard_while_accepting_fails() {
    let _alone = alone();
    let files = few_files();
    let mut thrust = Thrust::builder()
        .before_exec(move || limit_files(files))
        .start();
    let port = thrust.port();
    let _crowd: Vec<_> = (0..files + 100).map(|_| Client::connect(port)).collect();
    assert!(
        thrust
            .find(PATIENCE, |line| line.is_ours() && complains(line))
            .is_some()
    );
    // Deep in the back-off, where a plain sleep would be long.
    thread::sleep(seconds(2));
    let asked = Instant::now();
    thrust.signal(SIGTERM);
    let heard = thrust.wait_for("signal received").at - asked;
    assert!(heard < 5 * millis(100), "{heard:?}");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert!(asked.elapsed() < seconds(5), "{:?}", asked.elapsed());
}

fn complains(line: &Record) -> bool {
    let text = line.text.to_lowercase();
    ["emfile", "too many open files", "os error 24"]
        .iter()
        .any(|word| text.contains(word))
}

/// Enough to start with on a machine of this size, and soon used up.
fn few_files() -> u64 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    64 + 8 * u64::try_from(cores).expect("cores are few")
}

fn limit_files(files: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: files,
        rlim_max: files,
    };
    // SAFETY: setrlimit reads the limit that it is given.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

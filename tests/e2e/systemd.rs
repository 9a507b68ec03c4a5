//! Under systemd, or under a test that does to Thrust what systemd does: sd_notify(3), sd_listen_fds(3) and
//! sd_watchdog_enabled(3).

use std::{
    net::{TcpListener, UdpSocket},
    thread,
};

use nix::sys::signal::Signal::SIGTERM;

use crate::support::{
    Builder, Client, Hammer, PATIENCE, QUIET, ReservedPort, Supervisor, Thrust, eventually,
    file_descriptors, is_here,
    secure::{HTTP_1, Secure, https},
};

fn supervised(supervisor: &Supervisor) -> Builder {
    Thrust::builder().env("NOTIFY_SOCKET", &supervisor.address)
}

/// The number behind a name.
fn number(notice: &str, name: &str) -> u64 {
    let line = notice.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.strip_prefix('=')?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {notice:?}"))
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("bound").port()
}

#[test]
fn tells_its_supervisor_when_it_serves_and_how_it_stops() {
    for supervisor in [
        Supervisor::on_path(),
        Supervisor::on_abstract_name("thrust-test"),
    ] {
        let mut thrust = supervised(&supervisor).app(["--start-when", "up"]).spawn();
        supervisor.wait_for("STATUS=starting the app");
        thrust.wait_for_child_line("waiting up");
        thrust.open_gate("up");
        let ready = supervisor.wait_for("READY=1");
        assert_eq!(ready.pid, thrust.pid());
        assert_eq!(thrust.get("/hello").status, 200);
        supervisor.wait_for("STATUS=serving");

        let mut waiting = thrust.wait_at_gate("g");
        thrust.signal(SIGTERM);
        supervisor.wait_for("STOPPING=1");
        supervisor.wait_for("STATUS=stopping: 1 requests in flight");
        let extended = number(&supervisor.wait_for("EXTEND").text, "EXTEND_TIMEOUT_USEC");
        // 30 s to drain, and what an app and a kill are given.
        assert!((30_000_000..60_000_000).contains(&extended), "{extended}");
        thrust.open_gate("g");
        assert_eq!(waiting.response().status, 200);
        supervisor.wait_for("STATUS=stopping: waiting for the app");
        supervisor.wait_for("STATUS=stopping: the app is gone");
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
    }
}

#[test]
fn a_long_drain_is_extended_as_it_goes_on() {
    let supervisor = Supervisor::on_path();
    let mut thrust = supervised(&supervisor)
        .env("THRUSTER_UPSTREAM_STOP_TIMEOUT", "3")
        .start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    supervisor.wait_for("1 requests in flight");
    let first = number(&supervisor.wait_for("EXTEND").text, "EXTEND_TIMEOUT_USEC");
    supervisor.wait_for("1 requests in flight");
    let second = number(&supervisor.wait_for("EXTEND").text, "EXTEND_TIMEOUT_USEC");
    assert!(second < first, "what is left: {first}, then {second}");
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn the_app_has_a_socket_of_its_own_and_what_it_says_is_passed_on() {
    let supervisor = Supervisor::on_path();
    let mut thrust = supervised(&supervisor)
        .env("WATCHDOG_USEC", "60000000")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDNAMES", "http")
        .app(["--print-env"])
        .start();
    let told = thrust.wait_for_child_line("NOTIFY_SOCKET=").text;
    assert_ne!(told, format!("NOTIFY_SOCKET={}", supervisor.address));
    for name in ["WATCHDOG_", "LISTEN_"] {
        assert!(!thrust.has_child_line(name), "{}", thrust.logs());
    }
    supervisor.wait_for("READY=1");

    let mut client = thrust.connect();
    let mut say = |words: &str| assert_eq!(client.get(&format!("/notify?say={words}")).status, 200);
    say("STATUS=5-threads");
    supervisor.wait_for("STATUS=serving; app: 5-threads");
    say("RELOADING=1");
    let reloading = supervisor.wait_for("RELOADING=1");
    assert_eq!(reloading.pid, thrust.pid(), "NotifyAccess=main is enough");
    assert!(number(&reloading.text, "MONOTONIC_USEC") > 0);
    say("READY=1");
    supervisor.wait_for("READY=1");
    say("STOPPING=1");
    supervisor.wait_for("STOPPING=1");
    drop(client);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn an_app_that_talks_on_while_it_stops_is_heard_to_the_end() {
    if !is_here("systemd-notify", &["--version"], "systemd") {
        return;
    }
    // More than the socket's queue holds: an app that is not heard never comes to its end.
    let script = "trap 'for i in $(seq 30); do systemd-notify --status=$i; done; exit 7' TERM
        echo trapped; while :; do sleep 0.01; done";
    let supervisor = Supervisor::on_path();
    let mut thrust = supervised(&supervisor).script(script).spawn();
    thrust.wait_for_child_line("trapped");
    thrust.signal(SIGTERM);
    // The very last words may come with its exit, which goes before.
    supervisor.wait_for("app: 20");
    assert_eq!(thrust.wait_exit(PATIENCE), 7);
}

#[test]
fn signs_of_life_go_to_whoever_asks_this_process() {
    let supervisor = Supervisor::on_path();
    let nothing = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let asked = |pid: &str| {
        let words = format!("export WATCHDOG_USEC=200000 WATCHDOG_PID={pid}");
        supervised(&supervisor).passed(&nothing, &words).start()
    };
    let mut thrust = asked("$$");
    for _ in 0..3 {
        supervisor.wait_for("WATCHDOG=1");
    }
    assert_eq!(thrust.stop(), 143);
    supervisor.all();

    let mut thrust = asked("1");
    supervisor.wait_for("READY=1");
    thread::sleep(QUIET);
    assert!(!supervisor.all().contains(&"WATCHDOG=1".to_owned()));
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_supervisor_that_is_gone_changes_nothing() {
    let supervisor = Supervisor::on_path();
    let builder = supervised(&supervisor);
    drop(supervisor);
    let mut thrust = builder.start();
    thrust.wait_for("the supervisor at NOTIFY_SOCKET cannot be told");
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(thrust.stop(), 143);
    assert_eq!(
        thrust.count("the supervisor at NOTIFY_SOCKET cannot be told"),
        1
    );
}

#[test]
fn a_passed_socket_is_the_front_and_never_reaches_the_app() {
    let listener = listener();
    let mut thrust = Thrust::builder()
        .inherits(&listener)
        .app(["--print-env"])
        .start();
    assert_eq!(thrust.port(), port_of(&listener));
    assert_eq!(
        thrust.count("listening"),
        1,
        "HTTP_PORT is not bound beside it"
    );
    assert_eq!(thrust.get("/hello").status, 200);
    assert!(!thrust.has_child_line("LISTEN_"), "{}", thrust.logs());
    let sockets = |pid| -> Vec<_> {
        let all = file_descriptors(pid).into_iter();
        all.filter(|fd| fd.to_string_lossy().starts_with("socket:"))
            .collect()
    };
    let ours = sockets(std::process::id());
    let shared = |pid| sockets(pid).iter().filter(|fd| ours.contains(fd)).count();
    assert_eq!((shared(thrust.pid()), shared(thrust.child_pid())), (1, 0));
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn who_comes_after_the_stop_waits_for_the_next_start() {
    let listener = listener();
    let port = port_of(&listener);
    let mut first = Thrust::builder().inherits(&listener).start();
    let mut waiting = first.wait_at_gate("g");
    first.signal(SIGTERM);
    first.wait_for("draining");
    let mut late = Client::connect(port);
    late.send_get("/hello");
    first.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(first.wait_exit(PATIENCE), 143);
    let mut later = Client::connect(port);
    later.send_get("/hello");

    let mut second = Thrust::builder().inherits(&listener).start();
    for client in [&mut late, &mut later] {
        let response = client.response();
        let served_by = format!("hello from {}\n", second.child_pid());
        assert_eq!((response.status, response.text()), (200, served_by));
    }
    assert_eq!(second.stop(), 143);
}

#[test]
fn a_queue_that_is_not_ours_is_left_as_it_is() {
    let listener = listener();
    let mut first = Thrust::builder()
        .inherits(&listener)
        .env("THRUSTER_MAX_CONNECTIONS", "1")
        .start();
    let mut served = first.wait_at_gate("g");
    let mut queued: Vec<_> = (0..8)
        .map(|_| {
            let mut client = Client::connect(port_of(&listener));
            client.send_head("GET", "/hello", "connection: close\r\n");
            client
        })
        .collect();
    first.signal(SIGTERM);
    assert_eq!(first.wait_for("listener closed").number("accepted_late"), 0);
    first.open_gate("g");
    assert_eq!(served.response().status, 200);
    assert_eq!(first.wait_exit(PATIENCE), 143);

    let mut second = Thrust::builder().inherits(&listener).start();
    for client in &mut queued {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(second.stop(), 143);
}

#[test]
fn a_restart_under_load_loses_and_refuses_nobody() {
    let listener = listener();
    let start = || Thrust::builder().inherits(&listener).start();
    let mut thrust = start();
    let hammer = Hammer::start(port_of(&listener), 8);
    for _ in 0..3 {
        hammer.expect_the_end();
        assert_eq!(thrust.stop(), 143);
        thrust = start();
        assert_eq!(thrust.get("/hello").status, 200);
    }
    let outcomes = hammer.finish();
    outcomes.assert_nothing_lost();
    assert!(!outcomes.0.contains_key("refused"), "{outcomes:?}");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn who_comes_before_the_app_waits_in_the_queue_where_listening_waits() {
    let listener = listener();
    let mut thrust = Thrust::builder()
        .inherits(&listener)
        .env("THRUSTER_WAIT_FOR_TARGET_PORT", "1")
        .app(["--start-when", "up"])
        .spawn();
    thrust.wait_for_child_line("waiting up");
    let mut early = Client::connect(port_of(&listener));
    early.send_get("/hello");
    assert!(!thrust.has("listening"));
    thrust.open_gate("up");
    assert_eq!(early.response().status, 200);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn systemds_own_tool_passes_both_ports_by_name() {
    if !is_here("systemd-socket-activate", &["--version"], "systemd") {
        return;
    }
    // Named against their order. It binds for itself: a port that is only bound may be listened on beside us.
    let ports = [ReservedPort::v4(), ReservedPort::v4()];
    let [secure, plain] = ports.each_ref().map(ReservedPort::number);
    let listen = [secure, plain].map(|port| format!("--listen=127.0.0.1:{port}"));
    let names = "--fdname=https:http".to_owned();
    let mut thrust = https().activated(listen.into_iter().chain([names])).spawn();
    let mut first = None;
    assert!(
        eventually(PATIENCE, || {
            first = Client::try_connect(plain).ok();
            first.is_some()
        }),
        "the tool listens"
    );
    let mut first = first.expect("connected");
    first.send_get("/hello");
    let redirected = first.response();
    let to = format!("https://test.example:{secure}/hello");
    assert_eq!(
        (redirected.status, redirected.field("location")),
        (301, Some(to))
    );
    let mut client = Secure::connect(secure, HTTP_1);
    client.send_get("/hello");
    assert!(client.response().starts_with("HTTP/1.1 200"));
    assert_eq!(thrust.count("listening"), 2);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_socket_that_nobody_would_answer_is_refused() {
    let tcp = listener();
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let one = "export LISTEN_PID=$$ LISTEN_FDS=1";
    let named = |name: &str| format!("{one} LISTEN_FDNAMES={name}");
    for (builder, said) in [
        (Thrust::builder().passed(&udp, one), "it is no TCP socket"),
        (
            Thrust::builder().passed(&tcp, &named("https")),
            "socket 1 of LISTEN_FDS is for HTTPS, but there is no TLS",
        ),
        (
            Thrust::builder().passed(&tcp, "export LISTEN_PID=$$ LISTEN_FDS=x"),
            "LISTEN_FDS=\"x\": expected a number of sockets",
        ),
        (
            https().passed(&tcp, "export LISTEN_PID=$$ LISTEN_FDS=2"),
            "socket 2 of LISTEN_FDS cannot be used: ",
        ),
    ] {
        let mut thrust = builder.spawn();
        assert_eq!(thrust.wait_exit(PATIENCE), 1, "{said}");
        assert!(thrust.logs().contains(said), "{said}: {}", thrust.logs());
        assert!(!thrust.has("app started"));
    }
}

#[test]
fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let tcp = listener();
    let mut thrust = Thrust::builder()
        .passed(&tcp, "export LISTEN_PID=1 LISTEN_FDS=1")
        .start();
    thrust.wait_for("LISTEN_FDS is meant for another process; is something started in between?");
    assert_ne!(thrust.port(), port_of(&tcp));
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(thrust.stop(), 143);
}

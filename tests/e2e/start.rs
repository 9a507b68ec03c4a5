//! LIFECYCLE 5 and 6: from exec to the first answer. M28's failures, M35, S36 to S39.

use std::{
    fs, io,
    net::Ipv6Addr,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::Instant,
};

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

use crate::support::{
    Client, End, PATIENCE, QUIET, Record, ReservedPort, Thrust, assert_order, is_refused, millis,
    raise_file_limit, seconds,
};

#[test]
fn m28_a_command_that_is_not_found_is_127() {
    for command in ["no-such-command-anywhere", "/no/such/path"] {
        let mut thrust = Thrust::builder().command([command]).spawn();
        assert_eq!(thrust.wait_exit(PATIENCE), 127);
        assert!(thrust.logs().contains(command), "{}", thrust.logs());
        assert!(!thrust.has("app started"));
    }
}

#[test]
fn m28_a_command_that_cannot_be_executed_is_126() {
    for command in ["/etc/passwd", "/tmp"] {
        let mut thrust = Thrust::builder().command([command]).spawn();
        assert_eq!(thrust.wait_exit(PATIENCE), 126);
        assert!(thrust.logs().contains(command), "{}", thrust.logs());
    }
}

#[test]
fn m28_any_other_failure_to_spawn_is_1() {
    // A link to itself: ELOOP.
    let path = std::env::temp_dir().join(format!("thrust-loop-{}", std::process::id()));
    symlink(&path, &path).unwrap();
    let mut thrust = Thrust::builder().command([&path]).spawn();
    let code = thrust.wait_exit(PATIENCE);
    fs::remove_file(&path).unwrap();
    assert_eq!(code, 1);
    assert!(
        thrust.logs().contains(path.to_str().unwrap()),
        "{}",
        thrust.logs()
    );
}

#[test]
fn m28_a_failed_spawn_releases_the_listeners() {
    let front = ReservedPort::front();
    let mut thrust = Thrust::builder()
        .env("HTTP_PORT", front.number().to_string())
        .command(["no-such-command-anywhere"])
        .spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 127);
    assert!(is_refused(front.number()));
}

#[test]
fn m28_no_command_is_a_usage_error() {
    let mut thrust = Thrust::builder().command([""; 0]).spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 64);
    assert!(
        thrust.logs().to_lowercase().contains("usage"),
        "{}",
        thrust.logs()
    );
    assert!(!thrust.has("listening"));
}

#[test]
fn m28_a_taken_front_port_is_1_before_anything_is_spawned() {
    let front = ReservedPort::front();
    front.listen();
    let mut thrust = Thrust::builder()
        .env("HTTP_PORT", front.number().to_string())
        .spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 1);
    assert!(
        thrust.logs().contains(&front.number().to_string()),
        "{}",
        thrust.logs()
    );
    assert!(
        !thrust.has("app started") && !thrust.has_child_line("started pid="),
        "{}",
        thrust.logs()
    );
}

#[test]
fn m28_a_port_that_needs_a_privilege_says_how_to_do_without() {
    let from =
        fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if from.trim().parse().is_ok_and(|from: u16| from <= 80) {
        eprintln!("skipped: port 80 needs no privilege here");
        return;
    }
    let drop_privilege = || {
        const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;
        // SAFETY: prctl with integers. Without root it fails, and there is nothing to drop.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0) };
        Ok::<_, io::Error>(())
    };
    // Also the default, which is what most people meet.
    for builder in [
        Thrust::builder().env("HTTP_PORT", "80"),
        Thrust::builder().env("HTTP_PORT", ""),
    ] {
        let mut thrust = builder.before_exec(drop_privilege).spawn();
        assert_eq!(thrust.wait_exit(PATIENCE), 1);
        assert!(
            thrust
                .logs()
                .contains("port 80 needs a privilege; set HTTP_PORT=8080"),
            "{}",
            thrust.logs()
        );
        assert!(!thrust.has_child_line("started pid="));
    }
}

#[test]
fn m28_when_we_are_killed_the_child_gets_term() {
    let mut thrust = Thrust::builder().start();
    thrust.signal(SIGKILL);
    assert!(thrust.wait_status(PATIENCE).code().is_none());
    thrust.wait_for_child_line("signal SIGTERM");
}

#[test]
fn m28_the_thread_that_spawned_the_child_stays() {
    // PR_SET_PDEATHSIG is tied to the thread that spawned: the child of a passing thread would be gone by now.
    let mut thrust = Thrust::builder().start();
    thrust.assert_no("child exited", seconds(1));
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(thrust.stop(), 143);
    assert_eq!(thrust.count_child_lines("signal SIGTERM"), 1);
}

#[test]
fn m35_the_app_is_ready_when_its_port_accepts_and_not_before() {
    for builder in [
        Thrust::builder(),
        Thrust::builder().tcp(),
        Thrust::builder().tcp_v6(),
    ] {
        let mut thrust = builder.app(["--start-when", "up"]).spawn();
        thrust.wait_for("listening");
        thrust.wait_for_child_line("waiting up");
        thrust.assert_no("app ready", QUIET);
        thrust.open_gate("up");
        let ready = thrust.wait_for("app ready");
        assert!(ready.place > thrust.wait_for_child_line("port open").place);
        assert!(ready.has("addr") && ready.has("after_ms"), "{}", ready.text);
        assert_eq!(thrust.get("/hello").status, 200);
        assert_eq!(thrust.stop(), 143);
    }
}

#[test]
fn m35_an_app_on_ipv6_alone_is_found_and_served() {
    let mut thrust = Thrust::builder().tcp_v6().start();
    let addr = thrust.wait_for("app ready").field("addr");
    assert!(addr.contains(&Ipv6Addr::LOCALHOST.to_string()), "{addr}");
    for _ in 0..3 {
        assert_eq!(thrust.get("/hello").status, 200);
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn s37_requests_that_arrive_before_the_app_is_up_are_held() {
    let mut thrust = Thrust::builder().app(["--start-when", "up"]).spawn();
    thrust.wait_for("listening");
    let mut early: Vec<_> = (0..20).map(|_| thrust.connect()).collect();
    early
        .iter_mut()
        .for_each(|client| client.send_get("/hello"));
    early[0].send_post("/upload", b"body");
    thrust.wait_for_child_line("waiting up");
    thrust.assert_no("Request", QUIET);
    thrust.open_gate("up");
    for client in &mut early {
        let response = client.response();
        assert_eq!(
            (response.status, response.text().starts_with("hello")),
            (200, true)
        );
    }
    let response = early[0].response();
    assert_eq!((response.status, &response.text()[..2]), (200, "4 "));
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn s37_held_requests_get_502_and_the_page_after_the_boot_hold_timeout() {
    for timeout in [1, 2] {
        let mut thrust = Thrust::builder()
            .env("THRUSTER_BOOT_HOLD_TIMEOUT", timeout.to_string())
            .file("BAD_GATEWAY_PAGE", "<h1>back soon</h1>")
            .app(["--start-when", "never"])
            .spawn();
        let mut client = thrust.connect();
        let asked = Instant::now();
        let response = client.get("/hello");
        let took = asked.elapsed();
        assert_eq!(
            (response.status, response.text().as_str()),
            (502, "<h1>back soon</h1>")
        );
        assert!(
            response
                .field("content-type")
                .is_some_and(|kind| kind.starts_with("text/html"))
        );
        assert!(
            took >= seconds(timeout) - millis(20) && took < seconds(timeout + 2),
            "{took:?}"
        );
        assert_eq!(thrust.stop(), 143);
    }
}

#[test]
fn s37_a_browser_navigation_gets_the_page_at_once() {
    let navigation = "accept: text/html,application/xhtml+xml\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    let mut thrust = Thrust::builder()
        .file("BAD_GATEWAY_PAGE", "<h1>back soon</h1>")
        .app(["--start-when", "up"])
        .spawn();
    let mut browser = thrust.connect().patience(seconds(5));
    browser.send_head("GET", "/", navigation);
    let response = browser.response();
    assert_eq!(
        (response.status, response.text().as_str()),
        (502, "<h1>back soon</h1>")
    );
    assert!(response.field("retry-after").is_some(), "while booting");
    thrust.open_gate("up");
    thrust.wait_for("app ready");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn s37_a_browser_navigation_is_held_where_there_is_no_page() {
    let mut thrust = Thrust::builder()
        .env("BAD_GATEWAY_PAGE", "")
        .app(["--start-when", "up"])
        .spawn();
    let mut browser = thrust.connect();
    browser.send_head(
        "GET",
        "/hello",
        "accept: text/html\r\nsec-fetch-mode: navigate\r\n",
    );
    thrust.wait_for_child_line("waiting up");
    thrust.assert_no("Request", QUIET);
    thrust.open_gate("up");
    assert_eq!(browser.response().status, 200);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn s37_at_most_a_thousand_requests_are_held() {
    raise_file_limit();
    let mut thrust = Thrust::builder().app(["--start-when", "up"]).spawn();
    let port = thrust.port();
    let mut held: Vec<_> = (0..1_010).map(|_| Client::connect(port)).collect();
    held.iter_mut().for_each(|client| client.send_get("/hello"));
    // Which ones is nobody's business.
    let refused = |line: &Record| line.message() == "Request" && line.field("status") == "503";
    assert!(
        thrust.find_nth(9, PATIENCE, refused).is_some(),
        "ten are turned away"
    );
    thrust.open_gate("up");
    let mut answers = std::collections::BTreeMap::<u16, usize>::new();
    for client in &mut held {
        let response = client.response();
        assert!(response.status == 200 || response.field("retry-after").is_some());
        *answers.entry(response.status).or_default() += 1;
    }
    assert_eq!(
        answers.into_iter().collect::<Vec<_>>(),
        [(200, 1_000), (503, 10)]
    );
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn s36_an_app_that_speaks_for_itself_is_believed() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    thrust.wait_for("app ready");
    let mut say = |word: &str, expected: &str| {
        assert_eq!(client.get(&format!("/notify?say={word}")).status, 200);
        let said = thrust.find(PATIENCE, |line| {
            line.is_ours() && line.message() == expected
        });
        assert!(said.is_some(), "{expected}\n{}", thrust.logs());
    };
    say("RELOADING=1", "app reloading");
    say("STOPPING=1", "app stopping");
    assert_eq!(client.get("/close-port").status, 200);
    let mut late = thrust.connect();
    let refused = late.get("/hello");
    assert_eq!(refused.status, 503, "it is going away, as it said");
    assert_eq!(refused.field("retry-after").as_deref(), Some("1"));
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn s36_the_app_is_listened_to_as_long_as_it_lives() {
    let mut thrust = Thrust::builder()
        .env("HTTP_DRAIN_TIMEOUT", "1")
        .app(["--on-term", "exit-after=5"])
        .start();
    // Far more than the kernel keeps for who does not listen (net.unix.max_dgram_qlen): then the app would wait.
    let mut straggler = thrust.connect();
    straggler.send_get("/notify?say=STATUS=stopping&gate=g&times=2000");
    thrust.wait_for_child_line("waiting g");
    thrust.signal(SIGTERM);
    thrust.wait_for("relaying signal");
    thrust.open_gate("g");
    assert_eq!(straggler.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn s36_the_notify_socket_is_the_childs_own_and_gone_after_the_exit() {
    let mut thrust = Thrust::builder()
        .env("NOTIFY_SOCKET", "/run/not-for-the-app")
        .app(["--print-env"])
        .start();
    let line = thrust.find(PATIENCE, |line| line.text.contains("NOTIFY_SOCKET="));
    let line = line.expect("the child is told where to speak").text;
    let path = line
        .split_once("NOTIFY_SOCKET=")
        .expect("it was found")
        .1
        .trim()
        .to_owned();
    assert!(
        path.len() <= 107 && path != "/run/not-for-the-app",
        "{path}"
    );
    let directory = Path::new(&path).parent().expect("a directory").to_owned();
    let mode = fs::metadata(&directory)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(thrust.stop(), 143);
    assert!(!directory.exists());
}

#[test]
fn s38_with_wait_for_target_port_the_front_opens_when_the_app_is_ready() {
    let front = ReservedPort::front();
    let mut thrust = Thrust::builder()
        .env("HTTP_PORT", front.number().to_string())
        .env("THRUSTER_WAIT_FOR_TARGET_PORT", "1")
        .app(["--start-when", "up"])
        .spawn();
    thrust.wait_for_child_line("waiting up");
    thrust.assert_no("listening", QUIET);
    assert!(is_refused(front.number()));
    thrust.open_gate("up");
    thrust.wait_for("listening");
    let response = Client::connect(front.number()).get("/hello");
    assert_eq!(
        (response.status, response.text().starts_with("hello")),
        (200, true)
    );
    assert_order(&thrust, &["app started", "listening"]);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn s38_a_front_port_lost_while_waiting_stops_the_child_and_is_1() {
    let front = ReservedPort::front();
    let mut thrust = Thrust::builder()
        .env("HTTP_PORT", front.number().to_string())
        .env("THRUSTER_WAIT_FOR_TARGET_PORT", "1")
        .app(["--start-when", "up"])
        .spawn();
    thrust.wait_for_child_line("waiting up");
    // Bound like ours, but first to listen.
    front.listen();
    thrust.open_gate("up");
    thrust.wait_for_child_line("signal SIGTERM");
    assert_eq!(thrust.wait_exit(PATIENCE), 1);
    assert!(
        thrust.logs().contains(&front.number().to_string()),
        "{}",
        thrust.logs()
    );
}

#[test]
fn s38_a_target_port_that_is_somebody_elses_is_1_before_the_spawn() {
    let builder = Thrust::builder()
        .tcp()
        .env("THRUSTER_WAIT_FOR_TARGET_PORT", "1");
    let port = builder.target_port().number().to_string();
    builder.target_port().listen();
    let mut thrust = builder.spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 1);
    assert!(thrust.logs().contains(&port), "{}", thrust.logs());
    assert!(!thrust.has("app started") && !thrust.has_child_line("started pid="));
}

#[test]
fn s38_without_waiting_it_is_one_warning() {
    let builder = Thrust::builder()
        .tcp()
        .stdin_pipe()
        .script("read line; exit 0");
    let port = builder.target_port().number().to_string();
    builder.target_port().listen();
    let mut thrust = builder.spawn();
    thrust.wait_for("app started");
    let warned = thrust
        .records()
        .into_iter()
        .filter(|line| line.level() == "WARN" && line.text.contains(&port))
        .count();
    assert_eq!(warned, 1, "{}", thrust.logs());
    thrust.stdin().take();
    thrust.wait_exit(PATIENCE);
}

#[test]
fn s38_an_app_that_never_comes_up_is_stopped_and_is_1() {
    for timeout in [1, 2] {
        let mut thrust = Thrust::builder()
            .env("THRUSTER_WAIT_FOR_TARGET_PORT", "1")
            .env("THRUSTER_WAIT_FOR_TARGET_PORT_TIMEOUT", timeout.to_string())
            .app(["--start-when", "never"])
            .spawn();
        let started = thrust.wait_for("app started").at;
        let told = thrust.wait_for_child_line("signal SIGTERM").at - started;
        assert!(
            told >= seconds(timeout) - millis(50) && told < seconds(timeout + 2),
            "{told:?}"
        );
        assert_eq!(thrust.wait_exit(PATIENCE), 1);
        assert!(!thrust.has("listening"));
    }
}

#[test]
fn s38_an_app_that_neither_comes_up_nor_goes_is_killed() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_WAIT_FOR_TARGET_PORT", "1")
        .env("THRUSTER_WAIT_FOR_TARGET_PORT_TIMEOUT", "1")
        .env("THRUSTER_UPSTREAM_STOP_TIMEOUT", "1")
        .app(["--start-when", "never", "--on-term", "ignore"])
        .spawn();
    let told = thrust.wait_for_child_line("signal SIGTERM").at;
    assert_eq!(thrust.wait_exit(PATIENCE), 1);
    assert!(told.elapsed() < seconds(5), "{:?}", told.elapsed());
}

#[test]
fn s38_a_stop_while_waiting_is_an_ordinary_stop() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_WAIT_FOR_TARGET_PORT", "1")
        .app(["--start-when", "never"])
        .spawn();
    thrust.wait_for_child_line("waiting never");
    thrust.signal(SIGTERM);
    thrust.wait_for_child_line("signal SIGTERM");
    assert_eq!(thrust.wait_exit(seconds(5)), 143);
    assert!(!thrust.has("listening"));
}

#[test]
fn s39_an_app_that_stops_accepting_is_noticed_and_so_is_its_recovery() {
    for builder in [Thrust::builder().tcp(), Thrust::builder().tcp_v6()] {
        let mut thrust = builder.start();
        // Kept open, since nothing can be asked of a closed port.
        let front = thrust.connect();
        let port = thrust.target_port().number();
        let direct = std::net::TcpStream::connect(("127.0.0.1", port))
            .or_else(|_| std::net::TcpStream::connect(("::1", port)))
            .unwrap();
        let mut direct = Client::from_stream(direct).unwrap();
        assert_eq!(direct.get("/close-port").status, 200);
        thrust.wait_for("app not accepting");
        assert_eq!(direct.get("/open-port").status, 200);
        thrust.wait_for_nth(1, "app ready", PATIENCE);
        assert_eq!(thrust.get("/hello").status, 200);
        drop(front);
        assert_eq!(thrust.stop(), 143);
    }
}

#[test]
fn s39_nothing_else_changes_while_the_app_does_not_accept() {
    let mut thrust = Thrust::builder().tcp().start();
    let mut waiting = thrust.wait_at_gate("g");
    assert_eq!(thrust.get("/close-port").status, 200);
    thrust.wait_for("app not accepting");
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200, "what it holds goes on");
    // A stop goes its ordinary way.
    assert_eq!(thrust.stop(), 143);
    assert_eq!(waiting.end(), End::Eof);
}

//! LIFECYCLE 5: what the child is given, how it ends, and what its end means. M26 to M34.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    time::Instant,
};

use nix::sys::signal::Signal::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};
use socket2::{Domain, Socket, Type};

use crate::support::{
    Client, End, PATIENCE, Thrust, assert_order, children_of, eventually, is_refused, millis,
    parent_of, pid_1_is_possible, seconds, state_of, zombies_below,
};

#[test]
fn m26_the_command_is_executed_as_given_without_a_shell() {
    let mut thrust = Thrust::builder()
        .command(["printf", "%s|", "a b", "$HOME", "*", "", ";exit 3"])
        .spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 0);
    thrust.wait_for_child_line("a b|$HOME|*||;exit 3|");
}

#[test]
fn m26_stdin_stdout_and_stderr_are_inherited() {
    let mut thrust = Thrust::builder()
        .stdin_pipe()
        .script("cat; echo to stderr >&2")
        .spawn();
    writeln!(thrust.stdin().as_mut().unwrap(), "from stdin").unwrap();
    thrust.wait_for_child_line("from stdin");
    *thrust.stdin() = None;
    assert_eq!(thrust.wait_exit(PATIENCE), 0);
    thrust.wait_for_child_line("to stderr");
    assert!(
        thrust.logs().contains("stderr | to stderr"),
        "{}",
        thrust.logs()
    );
}

#[test]
fn m26_port_is_the_target_port_and_set_on_the_child_only() {
    let mut thrust = Thrust::builder()
        .tcp()
        .app(["--print-env"])
        .env("PORT", "1")
        .start();
    let port = thrust.target_port().number();
    thrust.wait_for_child_line(&format!("PORT={port}"));
    assert!(!thrust.records().iter().any(|line| line.text == "PORT=1"));
    let ours = fs::read(format!("/proc/{}/environ", thrust.pid())).unwrap();
    assert!(
        ours.split(|byte| *byte == 0)
            .any(|variable| variable == b"PORT=1")
    );
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn m27_the_child_starts_with_default_signals_and_the_original_file_limit() {
    let mut thrust = Thrust::builder()
        .command(["cat", "/proc/self/status", "/proc/self/limits"])
        .before_exec(|| {
            let limit = libc::rlimit {
                rlim_cur: 256,
                rlim_max: 4096,
            };
            // SAFETY: plain system calls on values of this frame.
            unsafe {
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
                let mut mask = std::mem::zeroed();
                libc::sigemptyset(&raw mut mask);
                libc::sigaddset(&raw mut mask, libc::SIGUSR1);
                libc::sigaddset(&raw mut mask, libc::SIGPIPE);
                libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
                for signal in [libc::SIGHUP, libc::SIGPIPE, libc::SIGUSR2] {
                    libc::signal(signal, libc::SIG_IGN);
                }
            }
            Ok(())
        })
        .spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 0);
    thrust.wait_for_child_line("SigBlk:\t0000000000000000");
    thrust.wait_for_child_line("SigIgn:\t0000000000000000");
    let limit = thrust.wait_for_child_line("Max open files").text;
    let limit: Vec<_> = limit.split_whitespace().collect();
    assert_eq!(limit[3..5], ["256", "4096"]);
}

#[test]
fn m28_we_exit_as_the_child_does() {
    for code in [0, 1, 42, 255] {
        let mut thrust = Thrust::builder().script(&format!("exit {code}")).spawn();
        assert_eq!(thrust.wait_exit(PATIENCE), code);
    }
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGABRT] {
        let mut thrust = Thrust::builder()
            .script(&format!("ulimit -c 0; kill -{signal} $$"))
            .spawn();
        assert_eq!(thrust.wait_exit(PATIENCE), 128 + signal);
    }
}

#[test]
fn m28_a_stopped_child_s_status_may_be_remapped() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_EXIT_CODE_REMAP", "143:0")
        .start();
    assert_eq!(thrust.stop(), 0);
    let mut thrust = Thrust::builder()
        .env("THRUSTER_EXIT_CODE_REMAP", "143:0")
        .script("exit 3")
        .spawn();
    assert_eq!(thrust.wait_exit(PATIENCE), 3);
}

#[test]
fn m29_a_child_that_exits_while_serving_takes_us_with_it() {
    let mut thrust = Thrust::builder().start();
    let mut waiting = [thrust.wait_at_gate("a"), thrust.wait_at_gate("b")];
    let mut last = thrust.connect();
    last.send_get("/exit?code=3");
    for client in waiting.iter_mut().chain([&mut last]) {
        assert_eq!(client.response().status, 502, "no stop has begun");
        assert_eq!(client.end(), End::Eof);
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 3);
    assert_eq!(thrust.count("app started"), 1, "never restarted unasked");
    assert!(!thrust.has("relaying signal"));
    assert!(is_refused(thrust.port()));
}

#[test]
fn m29_a_child_that_crashes_while_serving_takes_us_with_it() {
    let mut thrust = Thrust::builder().start();
    let mut waiting = thrust.wait_at_gate("a");
    thrust.tell_app("/crash");
    assert_eq!(waiting.response().status, 502);
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
}

/// A client whose kernel takes little at a time, so that a response waits in Thrust.
fn slow_client(port: u16) -> Client {
    let connect = || -> io::Result<Client> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_recv_buffer_size(4096)?;
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
        Client::from_stream(socket.into())
    };
    connect().expect("the front is open")
}

#[test]
fn m29_a_response_that_no_longer_needs_the_child_is_finished() {
    let length = 150_000;
    let mut thrust = Thrust::builder().start();
    let mut client = slow_client(thrust.port());
    client.send_get(&format!("/bytes?n={length}"));
    thrust.wait_for_child_line("done GET /bytes");
    thrust.tell_app("/exit?code=4");
    thrust.wait_for("child exited");
    let response = client.response();
    assert_eq!((response.status, response.body.len()), (200, length));
    assert_eq!(thrust.wait_exit(PATIENCE), 4);
}

#[test]
fn m29_a_client_that_reads_nothing_holds_the_exit_for_5_s_at_most() {
    let mut thrust = Thrust::builder().start();
    let mut client = slow_client(thrust.port());
    client.send_get("/bytes?n=150000");
    thrust.wait_for_child_line("done GET /bytes");
    thrust.tell_app("/exit?code=4");
    let gone = thrust.wait_for("child exited").at;
    assert_eq!(thrust.wait_exit(seconds(20)), 4);
    // Five seconds, and the one of a lingering close.
    assert!(gone.elapsed() < seconds(8), "{:?}", gone.elapsed());
}

#[test]
fn m30_a_child_that_dies_in_the_drain_ends_it() {
    let mut thrust = Thrust::builder().start();
    let mut waiting = [thrust.wait_at_gate("a"), thrust.wait_at_gate("b")];
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    let died = Instant::now();
    thrust.signal_child(SIGKILL);
    for client in &mut waiting {
        let response = client.response();
        assert_eq!(response.status, 503, "a stop has begun");
        assert!(
            response.field("retry-after").is_some(),
            "{:?}",
            response.fields
        );
        assert!(response.connection("close"));
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
    assert!(died.elapsed() < 5 * seconds(1), "{:?}", died.elapsed());
    assert!(!thrust.has("relaying signal"));
    assert_eq!(
        thrust.wait_for("drain finished").field("reason"),
        "child_exited"
    );
}

#[test]
fn m30_a_child_that_dies_in_the_delay_ends_it() {
    let mut thrust = Thrust::builder().env("HTTP_DRAIN_DELAY", "30").start();
    let mut waiting = thrust.wait_at_gate("a");
    thrust.signal(SIGTERM);
    thrust.wait_for("signal received");
    let died = Instant::now();
    thrust.signal_child(SIGKILL);
    assert_eq!(waiting.response().status, 503);
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
    assert!(died.elapsed() < 5 * seconds(1), "{:?}", died.elapsed());
    assert!(!thrust.has("relaying signal"));
    assert!(is_refused(thrust.port()));
}

#[test]
fn m31_we_wait_for_a_child_that_ignores_the_signal_and_say_so() {
    let mut thrust = Thrust::builder().app(["--on-term", "ignore"]).start();
    thrust.signal(SIGTERM);
    let relayed = thrust.wait_for("relaying signal");
    for after in [5, 10] {
        let due = relayed.at + seconds(after);
        let said = thrust.find(seconds(8), |line| {
            line.is_ours() && line.at + millis(100) >= due
        });
        let said = said.unwrap_or_else(|| panic!("nothing said {after} s after the relay"));
        assert!(
            said.at < due + seconds(2),
            "{:?} after the relay: {}",
            said.at - relayed.at,
            said.text
        );
    }
    assert!(!thrust.has("child exited"), "no limit by default");
    thrust.signal_child(SIGKILL);
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
}

#[test]
fn m31_upstream_stop_timeout_kills_the_child_and_its_group() {
    for timeout in [1, 2] {
        let mut thrust = Thrust::builder()
            .env("THRUSTER_UPSTREAM_STOP_TIMEOUT", timeout.to_string())
            .app(["--on-term", "ignore", "--spawn-grandchild"])
            .start();
        assert_eq!(children_of(thrust.child_pid()).len(), 1);
        assert_eq!(thrust.stop(), 137);
        let took = thrust.wait_for("child exited").at - thrust.wait_for("relaying signal").at;
        assert!(took >= seconds(timeout) - millis(20), "{took:?}");
        assert!(took < seconds(timeout) + seconds(1), "{took:?}");
    }
}

#[test]
fn m31_a_stopped_child_is_killed_too() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_UPSTREAM_STOP_TIMEOUT", "1")
        .start();
    let child = thrust.child_pid();
    thrust.signal_child(SIGSTOP);
    assert!(eventually(PATIENCE, || state_of(child) == Some('T')));
    thrust.assert_no("child exited", millis(200));
    assert_eq!(thrust.stop(), 137, "a stop (SIGSTOP) is no exit");
}

#[test]
fn m32_the_childs_status_wins_over_a_signal_at_the_same_moment() {
    let mut thrust = Thrust::builder()
        .stdin_pipe()
        .script("read line; exit 9")
        .spawn();
    let child = thrust.child_pid();
    thrust.signal(SIGSTOP);
    assert!(eventually(PATIENCE, || state_of(thrust.pid()) == Some('T')));
    *thrust.stdin() = None;
    assert!(eventually(PATIENCE, || state_of(child) == Some('Z')));
    // Both are waiting for us now.
    thrust.signal(SIGTERM);
    thrust.signal(SIGCONT);
    assert_eq!(thrust.wait_exit(PATIENCE), 9);
    assert!(!thrust.has("relaying signal"));
}

/// Spawns 1,000 orphans, most of them dead at once, then waits for the end of stdin.
const ORPHANS: &str = "i=0; while [ $i -lt 1000 ]; do (: &); i=$((i+1)); done; (sleep 0.2 &); echo spawned; read line; exit 42";

fn reaps_a_thousand_orphans(mut thrust: Thrust) {
    thrust.wait_for_child_line("spawned");
    let reaped = eventually(5 * seconds(1), || {
        // The child itself stays, the late orphan goes; nobody is a zombie.
        zombies_below(thrust.pid()).is_empty() && children_of(thrust.pid()).len() == 1
    });
    assert!(reaped, "{} zombies", zombies_below(thrust.pid()).len());
    *thrust.stdin() = None;
    assert_eq!(thrust.wait_exit(PATIENCE), 42);
}

#[test]
fn m33_as_pid_1_a_thousand_orphans_are_reaped() {
    if pid_1_is_possible() {
        reaps_a_thousand_orphans(
            Thrust::builder()
                .pid_1()
                .stdin_pipe()
                .script(ORPHANS)
                .spawn(),
        );
    }
}

#[test]
fn m33_as_a_subreaper_a_thousand_orphans_are_reaped() {
    let thrust = Thrust::builder()
        .stdin_pipe()
        .script(ORPHANS)
        .before_exec(|| {
            // SAFETY: prctl with integers.
            match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    reaps_a_thousand_orphans(thrust.spawn());
}

#[test]
fn m33_elsewhere_we_adopt_nobody() {
    let mut thrust = Thrust::builder()
        .stdin_pipe()
        .script("(sleep 5 & echo orphan $!.); read line")
        .spawn();
    let line = thrust.wait_for_child_line("orphan ").text;
    let orphan = line
        .trim_start_matches("orphan ")
        .trim_end_matches('.')
        .parse()
        .unwrap();
    assert!(eventually(PATIENCE, || parent_of(orphan) != Some(thrust.child_pid())));
    assert_ne!(
        parent_of(orphan),
        Some(thrust.pid()),
        "we are no subreaper unless somebody made us one"
    );
    // In our child's group; ended here so that it does not hold the test.
    crate::support::kill(orphan, libc::SIGKILL);
    *thrust.stdin() = None;
    assert_eq!(
        thrust.wait_exit(PATIENCE),
        1,
        "read at the end of its input"
    );
}

#[test]
fn m33_orphans_do_not_cost_the_childs_status_as_pid_1() {
    if !pid_1_is_possible() {
        return;
    }
    for code in 1..=10 {
        // Its own death is one among many.
        let script = format!("i=0; while [ $i -lt 50 ]; do (: &); i=$((i+1)); done; exit {code}");
        let mut thrust = Thrust::builder().pid_1().script(&script).spawn();
        assert_eq!(thrust.wait_exit(PATIENCE), code);
    }
}

#[test]
fn m34_a_grandchild_that_holds_stdout_does_not_delay_the_exit() {
    let mut thrust = Thrust::builder()
        .leaves_processes()
        .app(["--spawn-grandchild"])
        .start();
    let grandchild = children_of(thrust.child_pid());
    let asked = Instant::now();
    assert_eq!(thrust.stop(), 143);
    assert!(asked.elapsed() < seconds(5), "{:?}", asked.elapsed());
    assert_ne!(
        state_of(grandchild[0]),
        None,
        "it is still there, with our stdout in its hands"
    );
    assert_order(&thrust, &["child exited", "stopped"]);
}

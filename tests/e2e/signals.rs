//! LIFECYCLE 4: which signal does what, in which state. M20 to M25.

use std::{io, thread, time::Instant};

use nix::sys::signal::Signal::{
    self, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR1, SIGWINCH,
};

use crate::support::{
    End, Hammer, PATIENCE, QUIET, Thrust, alone, assert_order, children_of, eventually, is_refused,
    kill_group, millis, pid_1_is_possible, process_group_of, seconds, signals_of, state_of,
};

#[test]
fn m20_a_signal_before_the_spawn_spawns_nothing() {
    let _alone = alone();
    let mut caught_in_time = 0;
    for attempt in 0..300 {
        let signal = if attempt % 2 == 0 { SIGTERM } else { SIGINT };
        let mut thrust = Thrust::builder().spawn();
        // Freezes it as soon as it has a handler, often before it has spawned anything.
        while !signals_of(thrust.pid(), "SigCgt").contains(&(signal as i32)) {
            std::hint::spin_loop();
        }
        thrust.signal(SIGSTOP);
        assert!(eventually(PATIENCE, || state_of(thrust.pid()) == Some('T')));
        // Between its last look at the signals and the fork it cannot know; bound or not, it can.
        let listening = thrust
            .find(millis(20), |line| line.message() == "listening")
            .is_some();
        if listening || !children_of(thrust.pid()).is_empty() {
            continue;
        }
        thrust.signal(signal);
        let asked = Instant::now();
        thrust.signal(SIGCONT);
        assert_eq!(thrust.wait_exit(PATIENCE), 128 + signal as i32);
        assert!(asked.elapsed() < 5 * millis(100), "{:?}", asked.elapsed());
        assert!(
            !thrust.has("app started") && !thrust.has_child_line("started pid="),
            "{}",
            thrust.logs()
        );
        caught_in_time += 1;
        if caught_in_time == 4 {
            return;
        }
    }
    assert!(
        caught_in_time > 0,
        "in no attempt was the signal there before the spawn"
    );
}

#[test]
fn m20_a_stop_during_start_up_is_not_lost_as_pid_1() {
    if !pid_1_is_possible() {
        return;
    }
    for _ in 0..10 {
        let mut thrust = Thrust::builder().pid_1().spawn();
        while !signals_of(thrust.pid(), "SigCgt").contains(&libc::SIGTERM) {
            std::hint::spin_loop();
        }
        assert_eq!(thrust.stop(), 143);
    }
}

#[test]
fn m20_as_pid_1_a_stop_drains_and_relays() {
    if !pid_1_is_possible() {
        return;
    }
    let mut thrust = Thrust::builder().pid_1().start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.assert_no("relaying signal", QUIET);
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    thrust.wait_for_child_line("signal SIGTERM");
}

#[test]
fn m21_a_repeated_sigterm_changes_nothing_in_any_state() {
    let mut thrust = Thrust::builder()
        .env("HTTP_DRAIN_DELAY", "1")
        .app(["--on-term", "exit-after=1", "--exit-code", "7"])
        .start();
    let mut waiting = thrust.wait_at_gate("g");
    let asked = Instant::now();
    thrust.signal(SIGTERM);
    thrust.wait_for("signal received");
    thrust.signal(SIGTERM);
    thrust.assert_no("listener closed", QUIET);
    thrust.wait_for("draining");
    assert!(asked.elapsed() >= millis(990), "the delay was cut short");
    thrust.signal(SIGTERM);
    thrust.assert_no("relaying signal", QUIET);
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    let told = thrust.wait_for_child_line("signal SIGTERM").at;
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_exit(PATIENCE), 7);
    assert!(
        thrust.wait_for("child exited").at - told >= millis(900),
        "killed before its time"
    );
    assert_eq!(thrust.count("relaying signal"), 1);
    assert_eq!(thrust.wait_for("drain finished").field("reason"), "done");
}

#[test]
fn m21_sigint_forces_from_300_ms_on() {
    for first in [SIGTERM, SIGINT] {
        let mut thrust = Thrust::builder().app(["--on-term", "exit-after=1"]).start();
        let mut waiting = thrust.wait_at_gate("g");
        thrust.signal(first);
        thrust.wait_for("draining");
        thrust.assert_no("relaying signal", millis(350));
        let asked = Instant::now();
        thrust.signal(SIGINT);
        let relayed = thrust.wait_for("relaying signal");
        assert!(relayed.at - asked < seconds(1), "{:?}", relayed.at - asked);
        assert_eq!(
            relayed.field("signal"),
            first.as_str(),
            "still the one that came first"
        );
        assert_eq!(thrust.wait_for("drain finished").field("reason"), "forced");
        assert_order(&thrust, &["draining", "drain finished", "relaying signal"]);
        thrust.open_gate("g");
        assert_eq!(
            waiting.response().status,
            200,
            "the app was given its time to finish"
        );
        assert_eq!(thrust.wait_exit(PATIENCE), 128 + first as i32);
    }
}

#[test]
fn m21_sigint_within_300_ms_forces_nothing() {
    let _alone = alone();
    let mut thrust = Thrust::builder().start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("signal received");
    thrust.signal(SIGINT);
    thrust.assert_no("relaying signal", millis(900));
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m21_one_more_sigint_kills_the_child_and_its_group() {
    let mut thrust = Thrust::builder()
        .app(["--on-term", "ignore", "--spawn-grandchild"])
        .start();
    let grandchild = children_of(thrust.child_pid());
    assert_eq!(grandchild.len(), 1);
    let _waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    thrust.assert_no("relaying signal", millis(350));
    thrust.signal(SIGINT);
    thrust.wait_for_child_line("signal SIGTERM");
    thrust.assert_no("child exited", QUIET);
    thrust.signal(SIGINT);
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
    let gone = eventually(PATIENCE, || {
        matches!(state_of(grandchild[0]), None | Some('Z'))
    });
    assert!(gone, "the grandchild was left behind");
}

#[test]
fn m21_a_force_cuts_the_delay_short() {
    let mut thrust = Thrust::builder().env("HTTP_DRAIN_DELAY", "30").start();
    thrust.signal(SIGTERM);
    thrust.wait_for("signal received");
    thrust.assert_no("listener closed", millis(350));
    thrust.signal(SIGINT);
    assert_eq!(thrust.wait_exit(seconds(5)), 143);
    thrust.wait_for_child_line("signal SIGTERM");
}

#[test]
fn m21_sigquit_after_a_stop_signal_forces_at_once() {
    let _alone = alone();
    let mut thrust = Thrust::builder().start();
    let _waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    let asked = Instant::now();
    thrust.signal(SIGQUIT);
    let relayed = thrust.wait_for("relaying signal");
    assert!(relayed.at - asked < millis(500), "{:?}", relayed.at - asked);
    assert_eq!(relayed.field("signal"), "SIGTERM");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert_eq!(thrust.wait_for("drain finished").field("reason"), "forced");
}

#[test]
fn m21_a_first_sigquit_that_was_sent_is_a_normal_stop_relayed_as_quit() {
    let mut thrust = Thrust::builder().start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGQUIT);
    thrust.wait_for("draining");
    thrust.assert_no("relaying signal", QUIET);
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 131);
    assert_eq!(thrust.wait_for("drain finished").field("reason"), "done");
    thrust.wait_for_child_line("signal SIGQUIT");
}

#[test]
fn m21_sigquit_from_the_terminal_forces() {
    let mut thrust = Thrust::builder()
        .terminal()
        .app(["--on-term", "exit-after=1"])
        .start();
    let _waiting = thrust.wait_at_gate("g");
    let asked = Instant::now();
    thrust.type_on_terminal("\x1c");
    thrust.wait_for_child_line("signal SIGQUIT");
    assert_eq!(thrust.wait_exit(PATIENCE), 131);
    assert!(asked.elapsed() < seconds(6), "the drain was not cut short");
    // Whether such a drain is over before it began, or has begun and is forced, is a matter of words.
    let mut drains = thrust
        .records()
        .into_iter()
        .filter(|line| line.message() == "drain finished");
    assert!(drains.all(|line| line.field("reason") == "forced"));
}

/// What is forwarded, as the app logs it.
fn forwarded() -> Vec<(i32, String)> {
    let named = [
        SIGHUP,
        SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGURG,
        SIGWINCH,
        Signal::SIGPWR,
    ];
    let real_time = [0, 1, 15, libc::SIGRTMAX() - libc::SIGRTMIN()];
    let named = named.map(|signal| (signal as i32, signal.as_str().to_owned()));
    let real_time =
        real_time.map(|number| (libc::SIGRTMIN() + number, format!("SIGRTMIN+{number}")));
    named.into_iter().chain(real_time).collect()
}

/// Sends each, one after another, and waits until the app has it for the `nth` (from 0) time.
fn forward_all(thrust: &Thrust, nth: usize) {
    for (signal, name) in forwarded() {
        thrust.signal_number(signal);
        thrust.wait_for_nth_child_line(nth, &format!("signal {name} "));
    }
}

#[test]
fn m22_other_signals_are_forwarded_in_every_state() {
    let mut thrust = Thrust::builder()
        .env("HTTP_DRAIN_DELAY", "2")
        .app(["--on-term", "ignore", "--start-when", "up"])
        .spawn();
    thrust.wait_for("listening");
    thrust.wait_for_child_line("waiting up");
    forward_all(&thrust, 0); // Starting
    thrust.open_gate("up");
    thrust.wait_for("app ready");
    forward_all(&thrust, 1); // Serving
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("signal received");
    forward_all(&thrust, 2); // Delaying
    thrust.wait_for("draining");
    forward_all(&thrust, 3); // Draining
    assert!(!thrust.has("relaying signal"));
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    thrust.wait_for_child_line("signal SIGTERM");
    forward_all(&thrust, 4); // Stopping
    thrust.signal_child(SIGKILL);
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
}

#[test]
fn m22_forwarding_starts_no_stop() {
    let mut thrust = Thrust::builder().start();
    forward_all(&thrust, 0);
    assert_eq!(thrust.get("/hello").status, 200);
    assert!(!thrust.has("listener closed") && !thrust.has("draining"));
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn m22_the_terminals_own_are_not_forwarded() {
    let mut thrust = Thrust::builder().terminal().start();
    let resizes = 20;
    for number in 0..resizes {
        let size = libc::winsize {
            ws_row: 20 + number,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let terminal = std::os::fd::AsRawFd::as_raw_fd(thrust.terminal());
        // SAFETY: TIOCSWINSZ reads the winsize that it is given.
        let set = unsafe { libc::ioctl(terminal, libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
        thrust.wait_for_nth_child_line(number.into(), "signal SIGWINCH ");
    }
    // One of ours would come a moment after the terminal's.
    thread::sleep(QUIET);
    assert_eq!(
        thrust.count_child_lines("signal SIGWINCH "),
        usize::from(resizes)
    );
    // One that was sent to us alone is.
    thrust.signal(SIGWINCH);
    thrust.wait_for_nth_child_line(resizes.into(), "signal SIGWINCH ");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn m23_signals_to_a_child_that_has_just_gone_are_no_error() {
    for round in 0..20 {
        let mut thrust = Thrust::builder().start();
        let mut client = thrust.connect();
        client.send_get("/exit?code=9");
        // Around the moment of its death, a little later in each round.
        let start = Instant::now();
        while start.elapsed() < millis(round) / 4 {
            std::hint::spin_loop();
        }
        for signal in [SIGHUP, SIGUSR1, SIGWINCH] {
            thrust.signal(signal);
        }
        let code = thrust.wait_exit(PATIENCE);
        assert_eq!(code, 9);
        assert!(
            !thrust.logs().contains("ESRCH") && !thrust.logs().contains("panicked"),
            "{}",
            thrust.logs()
        );
        let errors = thrust
            .records()
            .into_iter()
            .filter(|line| line.level() == "ERROR")
            .count();
        assert_eq!(errors, 0, "{}", thrust.logs());
    }
}

#[test]
fn m24_without_a_terminal_the_child_has_its_own_group() {
    let mut thrust = Thrust::builder().start();
    let (ours, child) = (thrust.pid(), thrust.child_pid());
    assert_eq!(process_group_of(child), Some(child));
    assert_eq!(process_group_of(ours), Some(ours));
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn m24_a_group_wide_signal_does_not_reach_the_child_first() {
    let mut thrust = Thrust::builder().start();
    let mut waiting = thrust.wait_at_gate("g");
    kill_group(thrust.pid(), libc::SIGTERM);
    thrust.wait_for("draining");
    thrust.assert_no("relaying signal", QUIET);
    assert!(!thrust.has_child_line("signal SIGTERM"));
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m24_with_a_terminal_the_child_shares_our_group_and_reads_it() {
    let mut thrust = Thrust::builder()
        .terminal()
        .script("echo 'name?'; read name; echo \"hello $name\"; read end")
        .spawn();
    thrust.wait_for_child_line("name?");
    assert_eq!(process_group_of(thrust.child_pid()), Some(thrust.pid()));
    thrust.type_on_terminal("world\n");
    thrust.wait_for_child_line("hello world");
    thrust.type_on_terminal("\n");
    assert_eq!(thrust.wait_exit(PATIENCE), 0);
}

#[test]
fn m24_one_ctrl_c_is_enough_and_is_not_relayed_a_second_time() {
    let mut thrust = Thrust::builder()
        .terminal()
        .env("HTTP_DRAIN_DELAY", "30")
        .app(["--on-term", "finish-requests"])
        .start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.type_on_terminal("\x03");
    thrust.wait_for_child_line("signal SIGINT");
    thrust.wait_for("draining"); // the delay is skipped
    assert!(is_refused(thrust.port()));
    thrust.open_gate("g");
    assert_eq!(
        waiting.response().status,
        200,
        "what the app holds completes"
    );
    assert_eq!(thrust.wait_exit(seconds(5)), 130);
    assert_eq!(thrust.count_child_lines("signal SIGINT"), 1);
    assert!(!thrust.has("relaying signal"));
}

#[test]
fn m24_with_a_terminal_signals_that_were_sent_are_relayed() {
    for signal in [SIGINT, SIGTERM] {
        let mut thrust = Thrust::builder().terminal().start();
        let mut waiting = thrust.wait_at_gate("g");
        thrust.signal(signal);
        thrust.wait_for("draining");
        thrust.assert_no("relaying signal", QUIET);
        thrust.open_gate("g");
        assert_eq!(waiting.response().status, 200);
        assert_eq!(thrust.wait_exit(PATIENCE), 128 + signal as i32);
        assert_eq!(
            thrust.wait_for("relaying signal").field("signal"),
            signal.as_str()
        );
        thrust.wait_for_child_line(&format!("signal {signal}"));
    }
}

#[test]
fn m24_a_forced_kill_spares_a_shared_group() {
    // Killing the group that we share would kill us, and we would not exit with the child's status.
    let mut thrust = Thrust::builder()
        .terminal()
        .env("THRUSTER_UPSTREAM_STOP_TIMEOUT", "1")
        .app(["--on-term", "ignore"])
        .start();
    assert_eq!(thrust.stop(), 137);
}

#[test]
fn m25_an_app_stopped_at_the_same_moment_finishes_what_it_holds_and_the_rest_gets_503() {
    let mut thrust = Thrust::builder()
        .app(["--on-term", "finish-requests"])
        .start();
    let mut waiting = thrust.wait_at_gate("g");
    // No request yet, so that the app has no other connection of ours to serve it on.
    let mut late = [thrust.connect(), thrust.connect()];
    thrust.signal_child(SIGTERM);
    thrust.signal(SIGTERM);
    thrust.wait_for_child_line("port closed");
    thrust.wait_for("draining");
    for client in &mut late {
        let response = client.get("/hello");
        assert_eq!(response.status, 503);
        assert!(
            response.field("retry-after").is_some(),
            "{:?}",
            response.fields
        );
        assert!(response.connection("close"));
        assert_eq!(client.end(), End::Eof);
    }
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m25_an_app_that_is_told_a_moment_before_us_costs_nobody_a_502() {
    let _alone = alone();
    let mut thrust = Thrust::builder()
        .app(["--on-term", "finish-requests"])
        .start();
    // It was away before, for every core, and that was no stop.
    for _ in 0..6 {
        assert_eq!(thrust.get("/close-without-answer").status, 502);
    }
    let mut waiting = thrust.wait_at_gate("g");
    let mut late = thrust.connect();
    thrust.signal_child(SIGTERM);
    thrust.wait_for_child_line("port closed");
    late.send_get("/hello");
    // Time enough to find the port closed.
    thread::sleep(millis(10));
    thrust.signal(SIGTERM);
    let response = late.response();
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some());
    assert!(response.connection("close"));
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m25_where_every_process_is_told_and_twice_clients_see_no_502_and_no_reset() {
    let _alone = alone();
    for on_term in [
        "close-port-then-exit-after=1",
        "finish-requests",
        "exit-after=1",
    ] {
        let mut thrust = Thrust::builder()
            .env("HTTP_DRAIN_TIMEOUT", "15")
            .app(["--on-term", on_term])
            .start();
        let mut slow = thrust.wait_at_gate("g");
        let hammer = Hammer::start(thrust.port(), 6);
        thrust.wait_for_request("/hello");
        hammer.expect_the_end();
        // As Heroku does; as systemd does without KillMode=mixed.
        for _ in 0..2 {
            thrust.signal(SIGTERM);
            thrust.signal_child(SIGTERM);
        }
        thrust.wait_for_child_line("signal SIGTERM");
        thrust.wait_for("draining");
        thrust.open_gate("g");
        assert_eq!(slow.response().status, 200, "{on_term}");
        assert_eq!(thrust.wait_exit(PATIENCE), 143, "{on_term}");
        let outcomes = hammer.finish().0;
        let is_good = |what: &String| {
            ["200", "refused", "crossed"].contains(&what.as_str()) || what.starts_with("503 ")
        };
        assert!(outcomes.keys().all(is_good), "{on_term}: {outcomes:?}");
        assert!(outcomes.contains_key("200"), "{on_term}: {outcomes:?}");
        assert!(thrust.count("relaying signal") <= 1, "{on_term}");
        assert!(!thrust.logs().contains("panicked"), "{on_term}");
    }
}

#[test]
fn m25_an_app_that_is_gone_at_the_same_moment_leaves_its_status_and_503() {
    for round in 0..10 {
        let mut thrust = Thrust::builder().start();
        let mut waiting = thrust.wait_at_gate("g");
        // Both orders; each process hears of it at its own time.
        if round % 2 == 0 {
            thrust.signal(SIGTERM);
            thrust.signal_child(SIGTERM);
        } else {
            thrust.signal_child(SIGTERM);
            thrust.signal(SIGTERM);
        }
        let response = waiting.response();
        assert!([502, 503].contains(&response.status), "{}", response.status);
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
        assert!(!thrust.logs().contains("panicked"), "{}", thrust.logs());
    }
}

#[test]
fn m21_on_a_terminal_the_second_ctrl_c_forces_and_the_third_kills() {
    let mut thrust = Thrust::builder()
        .terminal()
        .app(["--on-term", "ignore"])
        .start();
    let _waiting = thrust.wait_at_gate("g");
    thrust.type_on_terminal("\x03");
    thrust.wait_for("draining");
    thrust.assert_no("drain finished", millis(350));
    thrust.type_on_terminal("\x03");
    assert_eq!(thrust.wait_for("drain finished").field("reason"), "forced");
    // The app had both from the terminal.
    thrust.wait_for_nth_child_line(1, "signal SIGINT");
    assert!(!thrust.has("relaying signal"));
    thrust.type_on_terminal("\x03");
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
}

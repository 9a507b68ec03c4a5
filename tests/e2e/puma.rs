//! A real Puma behind the real Thrust: Debian's `puma` and `ruby`, and `examples/puma`.

use std::{env, fs, path::Path};

use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGUSR1, SIGUSR2};

use crate::support::{
    Builder, Client, End, Hammer, PATIENCE, Thrust, alone, assert_order, eventually, is_here,
};

/// Thrust in front of Puma with these further arguments; none, with the reason printed, where there is no Puma. With CI
/// set, there must be.
fn puma(arguments: &[&str]) -> Option<Builder> {
    if !["ruby", "puma"]
        .iter()
        .all(|program| is_here(program, &["--version"], program))
    {
        return None;
    }
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/puma/puma.rb");
    let config = config.to_str().expect("a path that can be written down");
    let command = ["puma", "-C", config]
        .into_iter()
        .chain(arguments.iter().copied());
    Some(Thrust::builder().tcp().command(command))
}

/// Started, and so far that Puma itself heeds signals; it listens before it does.
fn started(arguments: &[&str]) -> Option<Thrust> {
    let thrust = puma(arguments)?.start();
    thrust.wait_for_child_line("Use Ctrl-C to stop");
    Some(thrust)
}

#[test]
fn says_hello() {
    let Some(mut thrust) = started(&[]) else {
        return;
    };
    let mut client = thrust.connect();
    for _ in 0..3 {
        let response = client.get("/hello");
        assert_eq!(response.status, 200);
        let pid = thrust.child_pid();
        assert_eq!(response.text(), format!("hello from {pid}\n"));
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn streams_as_it_goes() {
    let Some(mut thrust) = started(&[]) else {
        return;
    };
    let mut client = thrust.connect();
    // It would take hours: whoever gathers it before it is sent sends nothing.
    client.send_get("/stream?n=100000");
    let head = client.head();
    assert_eq!(head.field("transfer-encoding").as_deref(), Some("chunked"));
    for number in 0..3 {
        client.read_until(&format!("line {number}\n"));
    }
    // Nor does it run on once its client has gone.
    drop(client);
    assert_eq!(thrust.stop(), 143);
    assert_eq!(thrust.wait_for("drain finished").field("reason"), "done");
}

#[test]
fn takes_an_upload_of_100_mb() {
    const LENGTH: usize = 100 * 1024 * 1024;
    let Some(mut thrust) = started(&[]) else {
        return;
    };
    // No piece ends where the pattern does.
    let pattern: Vec<u8> = (0..251).collect();
    let piece = pattern.repeat(4_000);
    for framing in ["counted", "chunked"] {
        let mut client = thrust.connect();
        let field = match framing {
            "counted" => format!("content-length: {LENGTH}\r\n"),
            _ => "transfer-encoding: chunked\r\n".into(),
        };
        client.send_head("POST", "/upload", &field);
        let mut left = LENGTH;
        while left > 0 {
            let length = left.min(piece.len());
            if framing == "chunked" {
                client.send(format!("{length:x}\r\n"));
            }
            client.send(&piece[..length]);
            if framing == "chunked" {
                client.send("\r\n");
            }
            left -= length;
        }
        if framing == "chunked" {
            client.send("0\r\n\r\n");
        }
        let response = client.response();
        assert_eq!(response.status, 200, "{framing}");
        // zlib's crc32 of the first 100 MiB of that pattern.
        assert_eq!(response.text(), format!("{LENGTH} 04f89f2c"), "{framing}");
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn m3_a_slow_request_gets_its_200_across_a_stop() {
    let Some(mut thrust) = started(&[]) else {
        return;
    };
    let mut client = thrust.connect();
    client.send_get("/slow?s=1.5");
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("draining").number("in_flight"), 1);
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "slow\n"));
    assert!(response.connection("close"));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    assert_order(&thrust, &["draining", "drain finished", "relaying signal"]);
    assert_eq!(thrust.wait_for("drain finished").field("reason"), "done");
}

#[test]
fn m6_puma_finishes_what_runs_at_the_drains_deadline() {
    let Some(builder) = puma(&[]) else {
        return;
    };
    let mut thrust = builder.env("HTTP_DRAIN_TIMEOUT", "1").start();
    let mut client = thrust.connect();
    client.send_get("/slow?s=2.5");
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_for("draining").number("in_flight"), 1);
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "slow\n"));
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let finished = thrust.wait_for("drain finished");
    assert_eq!(
        (
            finished.field("reason").as_str(),
            finished.number("remaining")
        ),
        ("timeout", 1)
    );
    let stopped = thrust.wait_for("stopped");
    assert_eq!((stopped.number("drained"), stopped.number("cut")), (1, 0));
}

/// A WebSocket, its welcome read.
fn web_socket(thrust: &Thrust) -> Client {
    let mut client = thrust.connect();
    client.send_head(
        "GET",
        "/ws",
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    );
    let head = client.head();
    assert_eq!(head.status, 101);
    // The example of RFC 6455 section 1.3.
    let accept = head.field("sec-websocket-accept");
    assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client.read_until("\x07welcome");
    client
}

/// A frame as clients send it: final, masked.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let length = u8::try_from(payload.len()).expect("short");
    assert!(length < 126, "longer ones have another form");
    let masked = payload
        .iter()
        .zip(MASK.iter().cycle())
        .map(|(byte, mask)| byte ^ mask);
    let head = [0x80 | opcode, 0x80 | length];
    head.into_iter().chain(MASK).chain(masked).collect()
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

#[test]
fn echoes_over_a_web_socket() {
    let Some(mut thrust) = started(&[]) else {
        return;
    };
    let mut client = web_socket(&thrust);
    for said in ["one", "and another", "and\na third"] {
        client.send(frame(TEXT, said.as_bytes()));
        client.read_until(said);
    }
    client.send(frame(CLOSE, &1000_u16.to_be_bytes()));
    let (rest, end) = client.rest();
    assert_eq!(
        (rest.as_slice(), end),
        (&[0x88, 2, 0x03, 0xe8][..], End::Eof)
    );
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_web_socket_lives_until_puma_ends() {
    let Some(mut thrust) = started(&[]) else {
        return;
    };
    let mut client = web_socket(&thrust);
    let mut slow = thrust.connect();
    slow.send_get("/slow?s=1");
    thrust.signal(SIGTERM);
    let draining = thrust.wait_for("draining");
    assert_eq!(
        (draining.number("in_flight"), draining.number("tunnels")),
        (1, 1)
    );
    client.send(frame(TEXT, b"still here"));
    client.read_until("still here");
    assert_eq!(slow.response().status, 200);
    assert_eq!(client.end(), End::Eof);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn m28_sigterm_is_143_and_sigint_is_0() {
    for (signal, code) in [(SIGTERM, 143), (SIGINT, 0)] {
        let Some(mut thrust) = started(&[]) else {
            return;
        };
        assert_eq!(thrust.get("/hello").status, 200);
        thrust.signal(signal);
        assert_eq!(thrust.wait_exit(PATIENCE), code, "{signal}");
        assert_eq!(
            thrust.wait_for("relaying signal").field("signal"),
            signal.as_str()
        );
    }
}

/// Sends `signal` to Thrust and waits for what Puma says about it; Puma then serves on.
fn forwarded(thrust: &Thrust, signal: Signal, line: &str) {
    let before = thrust.count_child_lines(line);
    thrust.signal(signal);
    thrust.wait_for_nth_child_line(before, line);
    // Between two workers there may be nobody: Puma itself holds the port and the request.
    assert_eq!(thrust.get("/hello").status, 200, "after {signal}");
}

#[test]
fn m22_ttin_and_usr1_reach_a_cluster() {
    let Some(mut thrust) = started(&["-w", "1"]) else {
        return;
    };
    thrust.wait_for_child_line("Worker 0 (PID");
    forwarded(&thrust, SIGTTIN, "Worker 1 (PID");
    forwarded(&thrust, SIGUSR1, "Starting phased worker restart");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn m22_usr2_restarts_puma_behind_us() {
    let Some(mut thrust) = started(&[]) else {
        return;
    };
    let child = thrust.child_pid();
    forwarded(&thrust, SIGUSR2, "Restarting...");
    thrust.wait_for_child_line("Inherited tcp://");
    // It has replaced itself, so it still is our child.
    assert_eq!(thrust.get("/hello").text(), format!("hello from {child}\n"));
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn m22_hup_reopens_pumas_log() {
    let directory = env::temp_dir().join(format!("thrust-puma-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a temporary directory");
    let (log, old) = (directory.join("log"), directory.join("log.1"));
    // Without a log file of its own HUP stops a Puma.
    let Some(mut thrust) = started(&["--redirect-stdout", log.to_str().expect("plain")]) else {
        return;
    };
    assert!(eventually(PATIENCE, || log.exists()));
    fs::rename(&log, &old).expect("the log is ours");
    thrust.signal(SIGHUP);
    assert!(eventually(PATIENCE, || log.exists()), "no new log");
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(thrust.stop(), 143);
    fs::remove_dir_all(&directory).expect("the directory is ours");
}

#[test]
fn m25_told_at_the_same_moment_and_twice_it_finishes_what_it_holds_and_nobody_sees_a_502() {
    let _alone = alone();
    let Some(mut thrust) = started(&[]) else {
        return;
    };
    let mut slow = thrust.connect();
    slow.send_get("/slow?s=2");
    let hammer = Hammer::start(thrust.port(), 4);
    thrust.wait_for_request("/hello");
    hammer.expect_the_end();
    for _ in 0..2 {
        thrust.signal(SIGTERM);
        thrust.signal_child(SIGTERM);
    }
    assert_eq!(slow.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let outcomes = hammer.finish().0;
    let is_good = |what: &String| {
        ["200", "refused", "crossed"].contains(&what.as_str()) || what.starts_with("503 ")
    };
    assert!(outcomes.keys().all(is_good), "{outcomes:?}");
    assert!(outcomes.contains_key("refused"), "{outcomes:?}");
}

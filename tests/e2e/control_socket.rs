//! The control socket itself: whose it is, what may stand in its place, and what may be said to it.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    time::Instant,
};

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use serde_json::Value;

use crate::support::{
    Builder, PATIENCE, Place, Thrust, eventually, file_descriptors, is_here, seconds,
};

fn at(path: &str) -> Builder {
    Thrust::builder().env("THRUSTER_CONTROL_SOCKET", path)
}

/// What comes back for these bytes, to the end.
fn say(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    // It may have answered and left before all is said.
    let _ = stream.write_all(bytes);
    let mut heard = String::new();
    let _ = stream.read_to_string(&mut heard);
    heard
}

fn reply(heard: &str) -> String {
    let value: Value = serde_json::from_str(heard).unwrap_or_else(|_| panic!("{heard:?}"));
    value["reply"].as_str().expect("a reply").to_owned()
}

#[test]
fn it_is_ours_alone_never_the_apps_and_gone_after_the_exit() {
    let mut thrust = Thrust::builder().controlled().start();
    let path = thrust.control_socket();
    let mode = fs::symlink_metadata(&path).expect("a socket").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let before = file_descriptors(thrust.pid()).len();
    for _ in 0..20 {
        thrust.do_control(&["status"]);
    }
    let open = || file_descriptors(thrust.pid()).len();
    assert!(
        eventually(PATIENCE, || open() <= before),
        "{} of {before}",
        open()
    );
    assert_eq!(thrust.stop(), 143);
    assert!(!path.exists());
}

#[test]
fn one_left_behind_by_a_killed_thrust_is_taken_over() {
    let place = Place::new();
    let path = place.at("control");
    let mut killed = at(&path).start();
    killed.signal(SIGKILL);
    killed.wait_status(PATIENCE);
    assert!(Path::new(&path).exists());
    let mut thrust = at(&path).start();
    assert_eq!(
        reply(&say(Path::new(&path), b"{\"command\":\"status\"}\n")),
        "status"
    );
    assert_eq!(thrust.stop(), 143);
    assert!(!Path::new(&path).exists());
}

#[test]
fn what_stands_in_its_place_and_is_not_ours_is_left_as_it_is() {
    let place = Place::new();
    let refused = |name: &str, said: &str| {
        let mut thrust = at(&place.at(name)).spawn();
        assert_eq!(thrust.wait_exit(PATIENCE), 1, "{name}");
        assert!(thrust.logs().contains(said), "{name}: {}", thrust.logs());
        assert!(!thrust.has("app started"), "{name}");
    };
    place.file("file", "data");
    refused("file", "is there, and no socket");
    assert_eq!(
        fs::read_to_string(place.at("file")).expect("still there"),
        "data"
    );

    let target = UnixListener::bind(place.at("target")).expect("the place is ours");
    drop(target);
    symlink(place.at("target"), place.at("link")).expect("the place is ours");
    refused("link", "is a symbolic link");
    assert!(Path::new(&place.at("target")).exists(), "what it leads to");

    let living = UnixListener::bind(place.at("living")).expect("the place is ours");
    refused("living", "another process listens on");
    UnixStream::connect(place.at("living")).expect("it is still there");
    drop(living);

    refused("not/there", "its directory must be there");
}

#[test]
fn a_second_thrust_does_not_take_it_away() {
    let place = Place::new();
    let path = place.at("control");
    let mut first = at(&path).start();
    let mut second = at(&path).spawn();
    assert_eq!(second.wait_exit(PATIENCE), 1);
    assert_eq!(
        reply(&say(Path::new(&path), b"{\"command\":\"status\"}\n")),
        "status"
    );
    // Another has the name: it is not ours to remove.
    fs::remove_file(&path).expect("the place is ours");
    let successor = UnixListener::bind(&path).expect("the place is ours");
    assert_eq!(first.stop(), 143);
    UnixStream::connect(&path).expect("it is still there");
    drop(successor);
}

#[test]
fn nobody_but_root_and_who_we_are_is_heard() {
    if !is_here(
        "setpriv",
        &["--reuid=65534", "--clear-groups", "true"],
        "util-linux",
    ) {
        return;
    }
    let mut thrust = Thrust::builder().controlled().start();
    let path = thrust.control_socket();
    let stranger = || {
        let words = [
            "--reuid=65534",
            "--clear-groups",
            env!("CARGO_BIN_EXE_thrustctl"),
        ];
        let mut command = Command::new("setpriv");
        command.args(words).arg("--socket").arg(&path).arg("status");
        let output = command.output().expect("setpriv is here");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said) = stranger();
    assert_eq!(code, Some(69), "by the file's mode: {said}");
    // Though somebody should open the file to all.
    fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("the file is ours");
    let (code, said) = stranger();
    assert_eq!(code, Some(69), "by who it is: {said}");
    assert_eq!(
        thrust
            .wait_for("a command of another user's is not heard")
            .number("uid"),
        65534
    );
    assert_eq!(thrust.do_control(&["resume"]), "there was no pause\n");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn nonsense_is_refused_in_words_and_without_harm() {
    let mut thrust = Thrust::builder().controlled().start();
    let path = thrust.control_socket();
    let long = vec![b'x'; 64 * 1024];
    for bytes in [
        &b"\n"[..],
        b"status\n",
        b"{\"command\":\"bananas\"}\n",
        b"{\"command\":\"pause\",\"limit\":-1,\"seconds\":1}\n",
        b"\xff\xfe\n",
        &long,
    ] {
        let heard = say(&path, bytes);
        // What is cut off in the middle may end with a reset, and no word.
        if bytes.len() < long.len() {
            assert_eq!(reply(&heard), "refused", "{heard}");
        }
    }
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn whoever_says_nothing_keeps_nobody_out_for_long() {
    let mut thrust = Thrust::builder().controlled().start();
    let path = thrust.control_socket();
    let silent: Vec<_> = (0..16)
        .map(|_| UnixStream::connect(&path).expect("it listens"))
        .collect();
    let heard = say(&path, b"{\"command\":\"status\"}\n");
    assert!(heard.contains("too many commands at once"), "{heard}");
    let began = Instant::now();
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("an end");
        assert!(heard.contains("no command came"), "{heard}");
    }
    assert!(began.elapsed() < seconds(10), "{:?}", began.elapsed());
    assert_eq!(reply(&say(&path, b"{\"command\":\"status\"}\n")), "status");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn who_is_connected_neither_holds_the_drain_nor_the_exit() {
    let mut thrust = Thrust::builder().controlled().start();
    let path = thrust.control_socket();
    let silent = UnixStream::connect(&path).expect("it listens");
    let mut watcher = UnixStream::connect(&path).expect("it listens");
    watcher
        .write_all(b"{\"command\":\"watch\"}\n")
        .expect("it reads");
    // Takes nothing in: its watch is full at some time.
    let began = Instant::now();
    assert_eq!(thrust.stop(), 143);
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
    let mut heard = String::new();
    watcher.read_to_string(&mut heard).expect("an end");
    let last: Value = serde_json::from_str(heard.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (&last["state"], &last["exit_code"]),
        (&"stopped".into(), &143.into())
    );
    drop(silent);
}

#[test]
fn it_answers_to_the_end_of_a_drain() {
    let mut thrust = Thrust::builder().controlled().start();
    let mut waiting = thrust.wait_at_gate("g");
    thrust.signal(SIGTERM);
    thrust.wait_for("draining");
    let heard = say(&thrust.control_socket(), b"{\"command\":\"status\"}\n");
    let status: Value = serde_json::from_str(&heard).expect("JSON");
    assert_eq!(status["state"], "draining");
    assert_eq!(status["stop"]["signal"], "SIGTERM");
    thrust.open_gate("g");
    assert_eq!(waiting.response().status, 200);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
    let refused = UnixStream::connect(thrust.control_socket()).expect_err("it is gone");
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

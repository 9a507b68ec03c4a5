use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use nix::sys::signal::Signal;

use crate::support::{
    Client, End, PATIENCE, Place, Thrust, eventually, file_descriptors, kill, millis, noise,
    resident_memory_of, seconds,
};

const MIB: usize = 1024 * 1024;

fn send(client: &mut Client, path: &str, fields: &str) {
    client.send_head(
        "GET",
        "/named",
        &format!("answer: x-sendfile: {path}\r\n{fields}"),
    );
}

/// How many of Thrust's descriptors are files of this place.
fn open_files(thrust: &Thrust, place: &Place) -> usize {
    let files = file_descriptors(thrust.pid());
    files
        .iter()
        .filter(|path| path.starts_with(place.path()))
        .count()
}

#[test]
fn files_of_any_length_come_byte_for_byte() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    let contents = noise(3 * MIB + 5);
    let around = [16 * 1024, 64 * 1024, 256 * 1024, MIB];
    let around = around.into_iter().flat_map(|at| [at - 1, at, at + 1]);
    for length in [0, 1].into_iter().chain(around).chain([contents.len()]) {
        let path = place.file("file", &contents[..length]);
        send(&mut client, &path, "");
        assert!(client.response().body == contents[..length], "{length}");
    }
    send(
        &mut client,
        &place.at("file"),
        "range: bytes=300001-2900000, 17-17, 0-299999\r\n",
    );
    let body = client.response().body;
    for part in [300_001..2_900_001, 17..18, 0..300_000] {
        let part = &contents[part];
        assert!(body.windows(part.len()).any(|window| window == part));
    }
    assert!(eventually(PATIENCE, || open_files(&thrust, &place) == 0));
}

#[test]
fn sendfile_sends_them() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let path = place.file("file", noise(100_000));
    let trace = place.at("trace");
    let strace = Command::new("strace")
        .args(["-f", "-e", "trace=sendfile", "-o", &trace, "-p"])
        .arg(thrust.pid().to_string())
        .stderr(Stdio::piped())
        .spawn();
    let attached = strace.ok().and_then(|mut strace| {
        let said = BufReader::new(strace.stderr.take().expect("piped")).lines();
        let attached = said
            .map_while(Result::ok)
            .any(|line| line.contains("attached"));
        attached.then_some(strace)
    });
    let Some(mut strace) = attached else {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "strace cannot look");
        return eprintln!("skipped: strace is not installed, or may not look");
    };
    let mut client = thrust.connect();
    // Small ones are cheaper to read.
    for path in [&path, &place.file("small", "small")] {
        send(&mut client, path, "");
        client.response();
    }
    let calls = || fs::read_to_string(&trace).unwrap_or_default();
    let sent = eventually(PATIENCE, || calls().contains("= 100000"));
    kill(strace.id(), libc::SIGINT);
    strace.wait().expect("our child");
    assert!(sent, "{}", calls());
    assert_eq!(calls().matches("sendfile(").count(), 1, "{}", calls());
}

#[test]
fn without_room_for_what_stands_in_for_them_they_are_read() {
    let place = Place::new();
    let contents = noise(2 * MIB + 5);
    let path = place.file("file", &contents);
    let builder = Thrust::builder().before_exec(|| {
        let room = libc::rlimit {
            rlim_cur: 900 << 20,
            rlim_max: 900 << 20,
        };
        // SAFETY: setrlimit reads the limit that it is given.
        match unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const room) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    });
    let thrust = builder.start();
    let mut client = thrust.connect();
    for _ in 0..3 {
        send(&mut client, &path, "");
        assert!(client.response().body == contents);
    }
}

#[test]
fn a_hundred_at_once_are_whole_and_take_no_memory() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let (port, contents) = (thrust.port(), noise(4 * MIB + 3));
    let path = place.file("file", &contents);
    thrust.get("/hello");
    let before = resident_memory_of(thrust.pid());
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let mut client = Client::connect(port);
                send(&mut client, &path, "");
                assert!(client.response().body == contents);
            });
        }
    });
    let after = resident_memory_of(thrust.pid());
    assert!(after < before + 16 * MIB as u64, "{before} to {after}");
    assert!(eventually(PATIENCE, || open_files(&thrust, &place) == 0));
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let contents = noise(MIB);
    let mut client = thrust.connect();
    let lengths = [MIB, 5, 300_000, 20_000, MIB - 1];
    for (number, length) in lengths.into_iter().enumerate() {
        send(
            &mut client,
            &place.file(&number.to_string(), &contents[..length]),
            "",
        );
    }
    for length in lengths {
        assert!(client.response().body == contents[..length], "{length}");
    }
}

#[test]
fn offsets_are_not_limited_to_32_bits() {
    let place = Place::new();
    let (path, file) = place.sparse("huge", 5 << 30);
    let end = noise(300_000);
    file.write_all_at(&end, (5 << 30) - 300_000).unwrap();
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    send(&mut client, &path, "range: bytes=-300000\r\n");
    let response = client.response();
    assert!(response.status == 206 && response.body == end);
    send(
        &mut client,
        &path,
        "range: bytes=5368709119-, 4294967296-4294967297\r\n",
    );
    let response = client.response();
    assert!(
        response
            .text()
            .contains("bytes 4294967296-4294967297/5368709120\r\n\r\n\0\0\r\n")
    );
    client.send_head("HEAD", "/named", &format!("answer: x-sendfile: {path}\r\n"));
    let length = client.response().field("content-length");
    assert_eq!(length.as_deref(), Some("5368709120"));
}

#[test]
fn a_file_that_is_cut_off_ends_its_response_and_nothing_else() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let (path, file) = place.sparse("file", 64 << 20);
    let mut client = thrust.connect();
    send(&mut client, &path, "");
    let mut response = client.head();
    assert_eq!(
        response.field("content-length").as_deref(),
        Some("67108864")
    );
    file.set_len(100).unwrap();
    let failure = client.try_body(&mut response).unwrap_err();
    assert!(
        matches!(failure.end, End::Eof | End::Reset),
        "{:?}",
        failure.end
    );
    assert!(failure.received.len() < 64 << 20);
    assert_eq!(
        thrust.wait_for_request("/named").field("cause"),
        "file_failed"
    );
    assert_eq!(thrust.get("/hello").status, 200);
    assert!(eventually(PATIENCE, || open_files(&thrust, &place) == 0));
}

#[test]
fn a_file_that_is_replaced_goes_on_as_it_was() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let contents = noise(32 * MIB);
    let path = place.file("file", &contents);
    let mut client = thrust.connect();
    send(&mut client, &path, "");
    let mut response = client.head();
    fs::rename(place.file("new", "the new one"), &path).unwrap();
    client.try_body(&mut response).unwrap();
    assert!(response.body == contents);
    send(&mut client, &path, "");
    assert_eq!(client.response().text(), "the new one");
}

#[test]
fn a_client_that_leaves_takes_its_file_along() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let (path, _) = place.sparse("file", 64 << 20);
    let mut clients: Vec<_> = (0..10).map(|_| thrust.connect()).collect();
    for client in &mut clients {
        send(client, &path, "");
        client.head();
    }
    // Those of one core share it, and have it for as long as one of them is there.
    thread::sleep(seconds(2));
    assert!((1..=10).contains(&open_files(&thrust, &place)));
    drop(clients);
    assert!(eventually(PATIENCE, || open_files(&thrust, &place) == 0));
    let record = thrust.wait_for_request("/named");
    assert_eq!(
        (record.number("status"), record.field("cause")),
        (499, "client_gone".into())
    );
}

#[test]
fn a_client_that_takes_nothing_is_cut_and_one_that_is_slow_is_not() {
    let place = Place::new();
    let thrust = Thrust::builder().env("HTTP_WRITE_TIMEOUT", "1").start();
    let (path, _) = place.sparse("file", 64 << 20);
    let (another, _) = place.sparse("another", 64 << 20);
    let (mut idle, mut slow) = (thrust.connect(), thrust.connect());
    send(&mut idle, &another, "");
    send(&mut slow, &path, "");
    slow.head();
    let began = Instant::now();
    let mut taken = 0;
    while began.elapsed() < seconds(3) {
        let mut piece = vec![0; 256 * 1024];
        taken += std::io::Read::read(&mut slow.stream(), &mut piece).unwrap();
        thread::sleep(millis(50));
    }
    assert!(
        taken > 0 && open_files(&thrust, &place) == 1,
        "the idle one is gone"
    );
    let (rest, _) = idle.rest();
    assert!(rest.len() < 64 << 20);
}

#[test]
fn others_are_served_while_a_large_file_is_sent() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let (path, _) = place.sparse("file", 8 << 30);
    let ports = thrust.port();
    // As many as keep every core busy.
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || {
                let mut client = Client::connect(ports);
                send(&mut client, &path, "");
                let mut piece = vec![0; MIB];
                let end = Instant::now() + seconds(2);
                while Instant::now() < end {
                    std::io::Read::read(&mut client.stream(), &mut piece).unwrap();
                }
            })
        })
        .collect();
    let mut client = thrust.connect();
    let answered = (0..20).filter(|_| {
        let asked = Instant::now();
        client.get("/hello");
        asked.elapsed() < seconds(1)
    });
    assert_eq!(answered.count(), 20);
    for client in busy {
        client.join().unwrap();
    }
}

#[test]
fn a_download_outlives_the_stop_signal_and_is_whole() {
    let place = Place::new();
    let mut thrust = Thrust::builder().start();
    let contents = noise(32 * MIB);
    let path = place.file("file", &contents);
    let mut client = thrust.connect();
    send(&mut client, &path, "");
    let mut response = client.head();
    thrust.signal(Signal::SIGTERM);
    assert_eq!(thrust.wait_for("draining").number("in_flight"), 1);
    assert!(!thrust.has("relaying signal"));
    client.try_body(&mut response).unwrap();
    assert!(response.body == contents);
    thrust.wait_exit(PATIENCE);
    let stopped = thrust.wait_for("stopped");
    assert_eq!((stopped.number("drained"), stopped.number("cut")), (1, 0));
}

#[test]
fn a_download_needs_no_app_to_end() {
    let place = Place::new();
    let mut thrust = Thrust::builder().start();
    let contents = noise(32 * MIB);
    let path = place.file("file", &contents);
    let mut client = thrust.connect();
    send(&mut client, &path, "");
    let mut response = client.head();
    thrust.tell_app("/exit?code=3");
    thrust.wait_for("child exited");
    client.try_body(&mut response).unwrap();
    assert!(response.body == contents);
    assert_eq!(thrust.wait_exit(PATIENCE), 3);
}

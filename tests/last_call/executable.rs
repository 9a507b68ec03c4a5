use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::net::TcpListener;

use crate::{
    delay_link::{DelayLink, FRONT},
    load::{Load, Tally, answer},
};

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Ports of a namespace of our own.
const HTTP_PORT: u16 = 8080;
const TARGET_PORT: u16 = 3000;

/// Tells this test binary that it is the app.
const APP: &str = "LAST_CALL_APP";

/// Thrust under test, killed when the test fails.
struct Front(Child);

/// The words before the executable's that take from it what no container has.
const UNPRIVILEGED: [&str; 3] = [
    "setpriv",
    "--bounding-set=-net_admin",
    "--inh-caps=-net_admin",
];

impl Front {
    fn spawn(before: &[&str]) -> Self {
        let app = std::env::current_exe().unwrap();
        let mut words = before.iter().copied().chain([env!("CARGO_BIN_EXE_thrust")]);
        let front = Command::new(words.next().unwrap())
            .args(words)
            .arg(app)
            .args(["executable::app", "--exact", "--nocapture"])
            .env(APP, "1")
            .env("HTTP_PORT", HTTP_PORT.to_string())
            .env("TARGET_PORT", TARGET_PORT.to_string())
            .stdout(Stdio::null())
            .spawn();
        Self(front.unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }

    fn exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it does not exit"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ten_stops_of_the_executable_reset_nobody() {
    ten_stops(&[]);
}

#[test]
fn ten_stops_without_the_privilege_to_filter_reset_nobody() {
    ten_stops(&UNPRIVILEGED);
}

fn ten_stops(before: &'static [&str]) {
    let Some(link) = DelayLink::or_skip(ROUND_TRIP) else {
        return;
    };
    let mut sum = Tally::default();
    for _ in 0..10 {
        let tally = stop(&link, before);
        eprintln!("executable: {tally}");
        sum.add(tally);
    }
    eprintln!("executable, 10 stops: {sum}");
    assert_eq!((sum.reset, sum.other), (0, vec![]));
    assert!(!sum.refused.is_empty(), "no client came after the close");
}

fn stop(link: &DelayLink, before: &'static [&str]) -> Tally {
    let front = link.front.spawn(move || Front::spawn(before));
    let mut front = front.join().unwrap();
    let target = SocketAddr::from((FRONT, HTTP_PORT));
    let load = Load::default();
    let clients = link.clients.spawn({
        let load = load.clone();
        move || {
            await_answer(target);
            load.run(target)
        }
    });
    load.warm_up();
    let signal = Instant::now();
    front.signal(Signal::SIGTERM);
    // Long enough for the last call, and for some who come after it.
    std::thread::sleep(ROUND_TRIP * 3);
    load.end();
    let tally = clients.join().unwrap();
    assert!(
        tally.refused.iter().all(|at| *at > signal),
        "refused before the signal"
    );
    // 128 + SIGTERM: what became of the app, to which the signal was relayed.
    assert_eq!(front.exit().code(), Some(143));
    tally
}

/// Blocks until the app answers through the front.
fn await_answer(target: SocketAddr) {
    let start = Instant::now();
    while !try_once(target).is_ok_and(|response| response.starts_with("HTTP/1.1 200 ")) {
        assert!(
            start.elapsed() < Duration::from_secs(15),
            "no answer from {target}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn try_once(target: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(target)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: front\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

/// Not a test but the app, when Thrust starts this binary as its child; it dies of SIGTERM.
#[test]
fn app() {
    if std::env::var_os(APP).is_none() {
        return;
    }
    let port = std::env::var("PORT").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(serve(port));
}

async fn serve(port: u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(stream));
    }
}

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use crate::{engine::Engine, manifest::Probe};

/// How long a probe waits, and by when a pod says what it is to say.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pod by its only container.
#[derive(Debug)]
pub(crate) struct Pod<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) container: String,
}

impl Pod<'_> {
    pub(crate) fn inspect(&self, format: &str) -> String {
        self.engine.inspect(&self.container, format)
    }

    pub(crate) fn logs(&self) -> String {
        self.engine.tell(&["logs", &self.container])
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        let began = Instant::now();
        while !self.logs().contains(text) {
            assert!(began.elapsed() < PATIENCE, "no {text} in\n{}", self.logs());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its network, which a thread may enter.
    pub(crate) fn network(&self) -> File {
        File::open(format!("/proc/{}/ns/net", self.inspect("{{.State.Pid}}"))).unwrap()
    }

    /// The status of the answer; 0 without one.
    pub(crate) fn probe(&self, probe: &Probe) -> u16 {
        let network = self.network();
        let ask = move || {
            // SAFETY: setns(2) takes a descriptor that lives, and moves this thread alone.
            let entered = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "setns: {}", io::Error::last_os_error());
            ask(probe).unwrap_or(0)
        };
        thread::scope(|scope| scope.spawn(ask).join().unwrap())
    }

    /// TERM, and KILL after so many seconds.
    pub(crate) fn stop(&self, seconds: u64) {
        let time = seconds.to_string();
        self.engine
            .tell(&["stop", "--time", &time, &self.container]);
    }
}

fn ask(probe: &Probe) -> io::Result<u16> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, probe.port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    write!(
        socket,
        "GET {} HTTP/1.1\r\nHost: pod\r\nUser-Agent: kube-probe\r\nConnection: close\r\n\r\n",
        probe.path
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

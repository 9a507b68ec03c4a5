use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::network::{Namespace, Node, address};

const PORT: u16 = 8080;

/// The executable with the scripted app behind it, which hangs up as soon as it is told to stop.
#[derive(Debug)]
pub(crate) struct Pod {
    number: u8,
    process: Child,
    _network: Namespace,
}

impl Pod {
    /// Returns once it is ready.
    pub(crate) fn start(node: &Node, number: u8, delay: Duration) -> Self {
        let network = node.plug_in(number);
        let mut process = network.run(|| command(delay).spawn().unwrap());
        wait_until_ready(process.stdout.take().unwrap());
        Self {
            number,
            process,
            _network: network,
        }
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> String {
        format!("{} port {PORT}", address(self.number))
    }

    pub(crate) fn terminate(&mut self) {
        kill(self.pid(), Signal::SIGTERM).unwrap();
    }

    /// Its exit code, once it has ended.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Its app ends with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(delay: Duration) -> Command {
    let executable = Path::new(env!("CARGO_BIN_EXE_thrust"));
    let mut command = Command::new(executable);
    command
        .arg(executable.with_file_name("examples").join("upstream"))
        .args(["--on-term", "close-port-then-exit-after=1"])
        .env_clear()
        .env("HTTP_PORT", PORT.to_string())
        .env("HTTP_DRAIN_DELAY", delay.as_secs().to_string())
        .env("LOG_REQUESTS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Reads on afterwards, so that nobody waits for us.
fn wait_until_ready(stdout: ChildStdout) {
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    while !line.contains("\"app ready\"") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it has ended");
    }
    thread::spawn(move || lines.read_to_end(&mut Vec::new()));
}

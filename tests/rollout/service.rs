use std::{
    env, fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::network::{Node, address};

const PORT: u16 = 80;

/// By when it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections go where the next of its places leads. There is one more of these than replicas.
#[derive(Debug)]
pub(crate) struct Service {
    haproxy: Child,
    /// Of its socket.
    directory: PathBuf,
}

impl Service {
    pub(crate) fn or_skip(node: &Node) -> Option<Self> {
        let found = Command::new("haproxy").arg("-v").output();
        match found {
            Ok(_) => Some(Self::start(node)),
            Err(error) if env::var_os("CI").is_some() => panic!("haproxy: {error}"),
            Err(error) => {
                eprintln!("SKIPPED: needs haproxy: {error}");
                None
            }
        }
    }

    fn start(node: &Node) -> Self {
        let directory = env::temp_dir().join(format!("thrust-rollout-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let config = directory.join("haproxy.cfg");
        let (socket, own) = (directory.join("socket"), address(Node::OWN));
        let text = format!(
            "global
                stats socket {socket} level admin
            defaults
                mode tcp
                retries 0
                timeout connect 5s
                timeout client 60s
                timeout server 60s
            frontend service
                bind {own}:{PORT}
                default_backend pods
            backend pods
                balance roundrobin
                server pod0 {own}:1 disabled
                server pod1 {own}:1 disabled
                server pod2 {own}:1 disabled\n",
            socket = socket.display(),
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&config);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let haproxy = node.run(|| command.spawn().unwrap());
        let service = Self { haproxy, directory };
        let began = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(began.elapsed() < PATIENCE, "HAProxy does not start");
            thread::sleep(Duration::from_millis(10));
        }
        service
    }

    /// Where clients ask.
    pub(crate) fn address(&self) -> (String, u16) {
        (address(Node::OWN), PORT)
    }

    /// An endpoint, as `ADDRESS port PORT`.
    pub(crate) fn add(&self, place: usize, endpoint: &str) {
        self.tell(&format!("set server pods/pod{place} addr {endpoint}"));
        self.tell(&format!("set server pods/pod{place} state ready"));
    }

    /// Connections that it has stay as they are.
    pub(crate) fn remove(&self, place: usize) {
        self.tell(&format!("set server pods/pod{place} state maint"));
    }

    /// How many connections no pod took.
    pub(crate) fn refused(&self) -> u64 {
        let table = self.tell("show stat");
        let mut lines = table.lines();
        let columns = lines.next().unwrap().split(',');
        let column = columns.clone().position(|name| name == "econ").unwrap();
        let row = lines
            .find(|line| line.starts_with("pods,BACKEND,"))
            .unwrap();
        row.split(',').nth(column).unwrap().parse().unwrap()
    }

    fn tell(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(self.directory.join("socket")).unwrap();
        socket.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(!answer.contains("No such"), "{command}: {answer}");
        answer
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.haproxy.kill();
        let _ = self.haproxy.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

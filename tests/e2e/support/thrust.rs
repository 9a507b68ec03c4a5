//! The executable under test, with its app behind it.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, Command, ExitStatus, Stdio},
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::openpty,
    sys::signal::Signal,
};

use super::{
    Client, PATIENCE, PlayedApp, Record, ReservedPort,
    control::control_socket,
    eventually,
    lines::Lines,
    lock::{Turn, shared},
    process::{children_of, executable_of, kill, marked, state_of},
    seconds,
};

/// What runs in the child, between fork and exec.
type BeforeExec = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// Where the app listens and Thrust looks for it.
#[derive(Debug)]
enum Target {
    /// A unix socket in the test's directory.
    Socket,
    /// A port of the app's own, and the address to bind.
    Port(ReservedPort, &'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stdin {
    Null,
    Pipe,
    Terminal,
}

/// Which of Thrust's outputs the test reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stdout {
    Read,
    /// Nobody has the other end: writes fail with EPIPE.
    Closed,
    /// Nobody reads the other end, and it is full.
    Blocked,
}

/// How to start Thrust: by default with `examples/upstream.rs` on a unix socket, and a front port that the kernel
/// chooses.
pub(crate) struct Builder {
    env: Vec<(OsString, OsString)>,
    files: Vec<(&'static str, String)>,
    app: Vec<OsString>,
    command: Option<Vec<OsString>>,
    target: Target,
    is_played: bool,
    stdin: Stdin,
    stdout: Stdout,
    is_pid_1: bool,
    /// Whether another process is PID 1 of its namespace.
    has_neighbours: bool,
    activation: Option<Activation>,
    is_controlled: bool,
    leaves_processes: bool,
    before_exec: Vec<BeforeExec>,
}

/// Who passes it sockets, or asks it for signs of life, as systemd does.
enum Activation {
    /// A shell, which moves this socket to descriptor 3, says these words, and becomes Thrust.
    Shell(OwnedFd, String),
    /// systemd's own tool, with these options.
    Tool(Vec<String>),
}

impl Builder {
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Further options of the example app.
    pub(crate) fn app(mut self, options: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.app
            .extend(options.into_iter().map(|option| option.as_ref().to_owned()));
        self
    }

    /// Runs this instead of the example app; nothing waits for it to be ready.
    pub(crate) fn command(mut self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command = Some(
            words
                .into_iter()
                .map(|word| word.as_ref().to_owned())
                .collect(),
        );
        self
    }

    /// Lets `sh` run a script instead of the example app.
    pub(crate) fn script(self, script: &str) -> Self {
        self.command(["sh", "-c", script])
    }

    /// The app on 127.0.0.1.
    pub(crate) fn tcp(mut self) -> Self {
        self.target = Target::Port(ReservedPort::v4(), "127.0.0.1");
        self
    }

    /// The app on ::1 only.
    pub(crate) fn tcp_v6(mut self) -> Self {
        self.target = Target::Port(ReservedPort::v6(), "::1");
        self
    }

    /// The test plays the app (see [`Thrust::app`]); the child sleeps.
    pub(crate) fn played(mut self) -> Self {
        self.is_played = true;
        self.command(["sleep", "600"])
    }

    /// The port that the app will be told to use.
    pub(crate) fn target_port(&self) -> &ReservedPort {
        match &self.target {
            Target::Port(port, _) => port,
            Target::Socket => panic!("the app is on a unix socket"),
        }
    }

    /// Sets a variable to the path of a file with these contents.
    pub(crate) fn file(mut self, variable: &'static str, contents: &str) -> Self {
        self.files.push((variable, contents.to_owned()));
        self
    }

    pub(crate) fn stdin_pipe(mut self) -> Self {
        self.stdin = Stdin::Pipe;
        self
    }

    /// A terminal of its own as stdin, with Thrust in the foreground.
    pub(crate) fn terminal(mut self) -> Self {
        self.stdin = Stdin::Terminal;
        self
    }

    pub(crate) fn closed_stdout(mut self) -> Self {
        self.stdout = Stdout::Closed;
        self
    }

    pub(crate) fn blocked_stdout(mut self) -> Self {
        self.stdout = Stdout::Blocked;
        self
    }

    /// As PID 1 of a namespace; see [`pid_1_is_possible`].
    pub(crate) fn pid_1(mut self) -> Self {
        self.is_pid_1 = true;
        self
    }

    /// In a namespace of pids that it shares, with another PID 1; see [`pid_1_is_possible`].
    pub(crate) fn beside_pid_1(mut self) -> Self {
        self.has_neighbours = true;
        self
    }

    /// With this socket passed as systemd does, and held by the test as by systemd; `words` are for a shell, in whose `$$`
    /// is Thrust's pid.
    pub(crate) fn passed(mut self, socket: impl AsFd, words: &str) -> Self {
        let socket = socket.as_fd().try_clone_to_owned().expect("a descriptor");
        self.activation = Some(Activation::Shell(socket, words.to_owned()));
        self
    }

    /// With a listener passed as the one socket of a unit.
    pub(crate) fn inherits(self, listener: &TcpListener) -> Self {
        self.passed(listener, "export LISTEN_FDS=1 LISTEN_PID=$$")
    }

    /// Started by `systemd-socket-activate` with these options, at the first connection.
    pub(crate) fn activated(mut self, options: impl IntoIterator<Item = String>) -> Self {
        self.activation = Some(Activation::Tool(options.into_iter().collect()));
        self
    }

    /// With a control socket in the test's directory.
    pub(crate) fn controlled(mut self) -> Self {
        self.is_controlled = true;
        self
    }

    /// Processes other than the app may outlive Thrust (they are ended with the test).
    pub(crate) fn leaves_processes(mut self) -> Self {
        self.leaves_processes = true;
        self
    }

    /// Runs in Thrust's process just before it becomes Thrust: limits, masks, users.
    ///
    /// Only async-signal-safe calls are allowed there.
    pub(crate) fn before_exec(
        mut self,
        action: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.before_exec.push(Box::new(action));
        self
    }

    /// Starts Thrust and waits until it serves the app.
    pub(crate) fn start(self) -> Thrust {
        let thrust = self.spawn();
        thrust.wait_for("listening");
        thrust.wait_for("app ready");
        thrust
    }

    /// Starts Thrust and waits for nothing.
    pub(crate) fn spawn(mut self) -> Thrust {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let turn = shared();
        let number = COUNT.fetch_add(1, SeqCst);
        // Short: a unix socket's path has 107 bytes at most.
        let directory = env::temp_dir().join(format!("thrust-{}-{number}", process::id()));
        fs::create_dir_all(directory.join("gates")).expect("a temporary directory");
        let marker = format!("THRUST_TEST_RUN={}-{number}", process::id());

        let app = self.is_played.then(|| match &self.target {
            Target::Socket => PlayedApp::on_socket(&directory.join("app")),
            Target::Port(port, _) => PlayedApp::on_port(port),
        });

        let mut command = self.command_line();
        self.environment(&mut command, &directory, &marker);
        command.args(self.child(&directory));
        let master = self.stdin(&mut command);
        let unread = self.outputs(&mut command);
        for action in std::mem::take(&mut self.before_exec) {
            // SAFETY: `Builder::before_exec` allows only async-signal-safe calls.
            unsafe { command.pre_exec(action) };
        }
        // SAFETY: setrlimit and close_range are async-signal-safe.
        unsafe { command.pre_exec(shed_surroundings) };
        let started = Instant::now();
        let mut process = command
            .spawn()
            .expect("the executable is built with its tests");
        let lines = Lines::default();
        if self.stdout == Stdout::Read {
            lines.follow("stdout", process.stdout.take().expect("piped"));
        }
        lines.follow("stderr", process.stderr.take().expect("piped"));
        let mut thrust = Thrust {
            stdin: process.stdin.take(),
            pid_fd: pid_fd(process.id()),
            pid: process.id(),
            process,
            lines,
            directory,
            marker,
            master,
            unread,
            status: None,
            started,
            app,
            builder: self,
            _turn: turn,
        };
        // Only now: what panics from here on cleans up.
        if thrust.builder.is_elsewhere() {
            thrust.pid = pid_below(thrust.pid);
        }
        thrust
    }

    fn command_line(&self) -> Command {
        let executable = env!("CARGO_BIN_EXE_thrust");
        match &self.activation {
            Some(Activation::Shell(_, words)) => {
                let script = format!("exec 3<&0 </dev/null; {words}; exec \"$@\"");
                let mut command = Command::new("sh");
                command.args(["-c", &script, "sh", executable]);
                return command;
            }
            Some(Activation::Tool(options)) => {
                let mut command = Command::new("systemd-socket-activate");
                command.args(options);
                for name in self.names() {
                    command.arg("-E").arg(name);
                }
                command.arg(executable);
                return command;
            }
            None if !self.is_elsewhere() => return Command::new(executable),
            None => {}
        }
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        if self.has_neighbours {
            command.args(["sh", "-c", "\"$@\" & wait $!", "sh"]);
        }
        command.arg(executable);
        command
    }

    /// Whether pids are others here than there.
    fn is_elsewhere(&self) -> bool {
        self.is_pid_1 || self.has_neighbours
    }

    /// Those that `environment` sets, which systemd's tool does not pass on of itself.
    fn names(&self) -> impl Iterator<Item = OsString> {
        let ours = [
            "THRUST_TEST_RUN",
            "HTTP_PORT",
            "THRUSTER_TARGET_SOCKET",
            "TARGET_PORT",
            "LLVM_PROFILE_FILE",
        ];
        let files = self.files.iter().map(|(name, _)| OsString::from(name));
        let told = self.env.iter().map(|(name, _)| name.clone());
        ours.map(OsString::from)
            .into_iter()
            .chain(files)
            .chain(told)
    }

    /// Little is inherited, so that the tests mean the same everywhere.
    fn environment(&self, command: &mut Command, directory: &Path, marker: &str) {
        command.env_clear();
        for name in ["PATH", "HOME", "LLVM_PROFILE_FILE"] {
            command.envs(env::var_os(name).map(|value| (name, value)));
        }
        command.envs(marker.split_once('='));
        command.env("HTTP_PORT", "0");
        match &self.target {
            Target::Socket => command.env("THRUSTER_TARGET_SOCKET", directory.join("app")),
            Target::Port(port, _) => command.env("TARGET_PORT", port.number().to_string()),
        };
        for (variable, contents) in &self.files {
            let path = directory.join(variable);
            fs::write(&path, contents).expect("the directory is ours");
            command.env(variable, path);
        }
        if self.is_controlled {
            command.env("THRUSTER_CONTROL_SOCKET", control_socket(directory));
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
    }

    fn child(&self, directory: &Path) -> Vec<OsString> {
        if let Some(command) = &self.command {
            return command.clone();
        }
        let mut words = vec![
            upstream().into(),
            "--log".into(),
            "-".into(),
            "--gates".into(),
        ];
        words.push(directory.join("gates").into());
        match &self.target {
            Target::Socket => words.extend(["--socket".into(), directory.join("app").into()]),
            Target::Port(_, address) => words.extend(["--bind".into(), address.into()]),
        }
        words.extend(self.app.iter().cloned());
        words
    }

    fn stdin(&self, command: &mut Command) -> Option<OwnedFd> {
        if let Some(Activation::Shell(socket, _)) = &self.activation {
            command.stdin(socket.try_clone().expect("a descriptor"));
            command.process_group(0);
            return None;
        }
        match self.stdin {
            Stdin::Terminal => {
                let pty = openpty(None, None).expect("a pseudo-terminal");
                close_on_exec(&pty.master);
                command.stdin(pty.slave);
                // SAFETY: setsid and ioctl are async-signal-safe.
                unsafe { command.pre_exec(become_its_session) };
                return Some(pty.master);
            }
            Stdin::Pipe => command.stdin(Stdio::piped()),
            Stdin::Null => command.stdin(Stdio::null()),
        };
        command.process_group(0);
        None
    }

    /// Returns what must stay open, unread.
    fn outputs(&self, command: &mut Command) -> Option<io::PipeReader> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.stdout == Stdout::Read {
            return None;
        }
        let (reader, writer) = io::pipe().expect("a pipe");
        if self.stdout == Stdout::Blocked {
            fill(&writer);
        }
        command.stdout(writer);
        (self.stdout == Stdout::Blocked).then_some(reader)
    }
}

/// A running Thrust, its lines, and its app.
pub(crate) struct Thrust {
    /// `unshare` when Thrust is PID 1, else Thrust.
    process: Child,
    pid_fd: OwnedFd,
    pid: u32,
    lines: Lines,
    directory: PathBuf,
    marker: String,
    stdin: Option<ChildStdin>,
    master: Option<OwnedFd>,
    unread: Option<io::PipeReader>,
    status: Option<ExitStatus>,
    /// When it was spawned.
    pub(crate) started: Instant,
    app: Option<PlayedApp>,
    builder: Builder,
    _turn: Rc<Turn>,
}

impl Thrust {
    pub(crate) fn builder() -> Builder {
        Builder {
            env: Vec::new(),
            files: Vec::new(),
            app: Vec::new(),
            command: None,
            target: Target::Socket,
            is_played: false,
            stdin: Stdin::Null,
            stdout: Stdout::Read,
            is_pid_1: false,
            has_neighbours: false,
            activation: None,
            is_controlled: false,
            leaves_processes: false,
            before_exec: Vec::new(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The app's pid, as this side of any namespace sees it.
    pub(crate) fn child_pid(&self) -> u32 {
        let started = self.wait_for("app started");
        if self.builder.is_elsewhere() {
            return children_of(self.pid)
                .into_iter()
                .min()
                .expect("the app lives");
        }
        u32::try_from(started.number("pid")).expect("pids fit")
    }

    /// The front port.
    pub(crate) fn port(&self) -> u16 {
        let addr = self.wait_for("listening").field("addr");
        let port = addr.rsplit(':').next().and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {addr}"))
    }

    /// The port that the app is told to use.
    pub(crate) fn target_port(&self) -> &ReservedPort {
        self.builder.target_port()
    }

    /// The app's unix socket.
    pub(crate) fn target_socket(&self) -> PathBuf {
        self.directory.join("app")
    }

    /// The app that the test plays.
    pub(crate) fn app(&self) -> &PlayedApp {
        self.app.as_ref().expect("the builder was told")
    }

    /// A directory that goes with the test.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.port())
    }

    /// A response to GET on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> super::Response {
        self.connect().get(target)
    }

    /// Sends the app a GET past Thrust, and awaits no answer: for what kills it.
    pub(crate) fn tell_app(&self, target: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nhost: app\r\n\r\n");
        let sent = match &self.builder.target {
            Target::Socket => UnixStream::connect(self.target_socket())
                .and_then(|mut app| app.write_all(request.as_bytes())),
            Target::Port(port, address) => TcpStream::connect((*address, port.number()))
                .and_then(|mut app| app.write_all(request.as_bytes())),
        };
        sent.expect("the app listens");
    }

    /// Lets everybody through who waits at this gate of the app's.
    pub(crate) fn open_gate(&self, name: &str) {
        File::create(self.directory.join("gates").join(name)).expect("the directory is ours");
    }

    /// A client whose GET waits at a gate in the app, known to be there.
    pub(crate) fn wait_at_gate(&self, name: &str) -> Client {
        let mut client = self.connect();
        client.send_get(&format!("/wait-gate?name={name}"));
        self.wait_for_child_line(&format!("waiting {name}"));
        client
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.signal_number(signal as i32);
    }

    pub(crate) fn signal_number(&self, signal: i32) {
        assert!(
            self.status.is_none(),
            "Thrust is reaped; its pid is no longer its own"
        );
        kill(self.pid, signal);
    }

    pub(crate) fn signal_child(&self, signal: Signal) {
        kill(self.child_pid(), signal as i32);
    }

    /// Types on the terminal: `\x03` is Ctrl-C.
    pub(crate) fn type_on_terminal(&self, keys: &str) {
        let master = self.master.as_ref().expect("a terminal");
        nix::unistd::write(master, keys.as_bytes()).expect("the terminal takes a few keys");
    }

    /// The terminal's other end.
    pub(crate) fn terminal(&self) -> &OwnedFd {
        self.master.as_ref().expect("a terminal")
    }

    pub(crate) fn stdin(&mut self) -> &mut Option<ChildStdin> {
        &mut self.stdin
    }

    /// Thrust's record with this message; waits for it.
    pub(crate) fn wait_for(&self, message: &str) -> Record {
        self.wait_for_within(message, PATIENCE)
    }

    pub(crate) fn wait_for_within(&self, message: &str, patience: Duration) -> Record {
        self.wait_for_nth(0, message, patience)
    }

    /// The `nth` (from 0) record with this message.
    pub(crate) fn wait_for_nth(&self, nth: usize, message: &str, patience: Duration) -> Record {
        let found = self.find_nth(nth, patience, |record| record.message() == message);
        found.unwrap_or_else(|| panic!("no \"{message}\" ({nth}) within {patience:?}"))
    }

    /// The access log's record of a request to this path.
    pub(crate) fn wait_for_request(&self, path: &str) -> Record {
        let wanted =
            |record: &Record| record.message() == "Request" && record.field("path") == path;
        self.find_nth(0, PATIENCE, wanted)
            .unwrap_or_else(|| panic!("no access log line for {path}"))
    }

    /// A line that is not Thrust's own and contains `needle`; waits for it.
    pub(crate) fn wait_for_child_line(&self, needle: &str) -> Record {
        self.wait_for_nth_child_line(0, needle)
    }

    pub(crate) fn wait_for_nth_child_line(&self, nth: usize, needle: &str) -> Record {
        let found = self.find_nth(nth, PATIENCE, |record| record.is_childs(needle));
        found.unwrap_or_else(|| panic!("no line of the app's with {needle:?} ({nth})"))
    }

    pub(crate) fn find(
        &self,
        patience: Duration,
        wanted: impl Fn(&Record) -> bool,
    ) -> Option<Record> {
        self.find_nth(0, patience, wanted)
    }

    pub(crate) fn find_nth(
        &self,
        nth: usize,
        patience: Duration,
        wanted: impl Fn(&Record) -> bool,
    ) -> Option<Record> {
        self.lines.find(nth, patience, wanted)
    }

    /// Whether this message has been logged so far.
    pub(crate) fn has(&self, message: &str) -> bool {
        self.count(message) > 0
    }

    pub(crate) fn count(&self, message: &str) -> usize {
        self.records()
            .iter()
            .filter(|record| record.message() == message)
            .count()
    }

    pub(crate) fn has_child_line(&self, needle: &str) -> bool {
        self.count_child_lines(needle) > 0
    }

    pub(crate) fn count_child_lines(&self, needle: &str) -> usize {
        self.records()
            .iter()
            .filter(|record| record.is_childs(needle))
            .count()
    }

    /// Watches that this message does not come.
    pub(crate) fn assert_no(&self, message: &str, watch: Duration) {
        if let Some(record) = self.find(watch, |record| record.message() == message) {
            panic!("{}", record.text);
        }
    }

    /// Every line so far; Thrust's own have a message.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.lines.records()
    }

    pub(crate) fn logs(&self) -> String {
        self.lines.text()
    }

    /// Waits for the exit and all that was printed before it, and returns the exit code.
    pub(crate) fn wait_exit(&mut self, patience: Duration) -> i32 {
        let status = self.wait_status(patience);
        let signal = status.signal();
        status
            .code()
            .unwrap_or_else(|| panic!("Thrust was killed by signal {signal:?}"))
    }

    /// As [`wait_exit`](Self::wait_exit), for when Thrust itself may be killed.
    pub(crate) fn wait_status(&mut self, patience: Duration) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        assert!(
            self.exits_within(patience),
            "Thrust still runs after {patience:?}"
        );
        let status = self.process.wait().expect("our child");
        self.status = Some(status);
        if !self.builder.leaves_processes {
            self.lines.wait_for_the_end(seconds(2));
        }
        status
    }

    /// Whether it exits (to be reaped later) within this time.
    pub(crate) fn exits_within(&self, patience: Duration) -> bool {
        let mut fds = [PollFd::new(self.pid_fd.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(patience).expect("patience is short");
        self.status.is_some() || poll(&mut fds, timeout) == Ok(1)
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.wait_exit(PATIENCE)
    }

    fn end_everything(&mut self) {
        if self.status.is_none() {
            // Thrust first, or it would answer the child's death.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        for pid in marked(&self.marker) {
            kill(pid, libc::SIGKILL);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }

    fn assert_nothing_is_left(&self) {
        let gone = eventually(seconds(2), || marked(&self.marker).is_empty());
        assert!(gone, "outlived Thrust: {:?}", marked(&self.marker));
        assert_eq!(state_of(self.process.id()), None, "a zombie of the test's");
    }
}

/// Leaves nothing behind, and fails the test if Thrust did.
impl Drop for Thrust {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- what Thrust and its app printed\n{}---", self.logs());
        } else if self.status.is_some() && !self.builder.leaves_processes {
            self.assert_nothing_is_left();
        }
        self.unread = None;
        self.end_everything();
    }
}

/// `target/PROFILE/examples/upstream`, which `cargo test` builds.
fn upstream() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_thrust"))
        .with_file_name("examples")
        .join("upstream");
    assert!(
        path.exists(),
        "{} is missing: cargo build --example upstream",
        path.display()
    );
    path
}

/// Whether Thrust can be made PID 1 here. With CI set, it must be possible.
pub(crate) fn pid_1_is_possible() -> bool {
    let unshare = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .output();
    let possible = unshare.as_ref().is_ok_and(|output| output.status.success());
    if !possible {
        let reason = match unshare {
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(
            env::var("CI").as_deref() != Ok("true"),
            "no PID namespaces here: {reason}"
        );
        eprintln!("skipped: no PID namespaces here ({reason})");
    }
    possible
}

/// Thrust's pid, seen from outside its namespace, once `unshare` has become it.
fn pid_below(unshare: u32) -> u32 {
    let executable = Path::new(env!("CARGO_BIN_EXE_thrust"))
        .canonicalize()
        .expect("built");
    let mut found = None;
    let arrived = eventually(PATIENCE, || {
        let below = children_of(unshare);
        let further = below.iter().flat_map(|pid| children_of(*pid));
        found = below
            .iter()
            .copied()
            .chain(further)
            .find(|pid| executable_of(*pid).as_ref() == Some(&executable));
        found.is_some()
    });
    assert!(arrived, "unshare did not start Thrust");
    found.expect("just found")
}

/// Readable once the process has exited; std has no timed wait.
fn pid_fd(pid: u32) -> OwnedFd {
    // SAFETY: pidfd_open takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd)
        .ok()
        .filter(|fd| *fd >= 0)
        .expect("pidfd_open, Linux 5.3");
    // SAFETY: the kernel has just given it to us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// In the child: a session of its own whose terminal is stdin.
fn become_its_session() -> io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: TIOCSCTTY takes an integer.
    match unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// In the child: no core dumps, since dying of SIGQUIT is nothing to write a file about, and none of the descriptors
/// that whoever runs the tests forgot to close, so that any that reaches the app comes from Thrust.
fn shed_surroundings() -> io::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: setrlimit reads the limit that it is given; close_range with this flag takes integers and closes nothing
    // before the exec. An old kernel refuses it, which does no harm.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
    Ok(())
}

/// Else the app would hold both ends of its own terminal.
fn close_on_exec(fd: &OwnedFd) {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("a descriptor of ours");
}

/// Fills a pipe to the brim.
fn fill(pipe: &io::PipeWriter) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a descriptor of ours");
    for size in [4096, 1] {
        while nix::unistd::write(pipe, &vec![b'\n'; size]).is_ok() {}
    }
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::empty())).expect("a descriptor of ours");
}

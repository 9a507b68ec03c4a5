use std::{
    env,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// By when a daemon answers or has ended, and a container says what it is to say.
const PATIENCE: Duration = Duration::from_secs(30);

/// The drivers to try: overlay2 is quick, vfs works on any file system.
const STORAGE: [&str; 2] = ["overlay2", "vfs"];

/// A running dockerd.
#[derive(Debug)]
pub(crate) struct Engine {
    daemon: Child,
    /// Its socket and its data; a short path, since a socket's may have 107 bytes.
    directory: PathBuf,
}

/// A container, removed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    engine: &'a Engine,
    id: String,
}

impl Engine {
    /// A daemon, or the reason why there is none.
    pub(crate) fn or_skip() -> Option<Self> {
        match Self::start() {
            Ok(engine) => Some(engine),
            Err(reason) if env::var_os("CI").is_some() => panic!("no docker engine here: {reason}"),
            Err(reason) => {
                eprintln!("SKIPPED: no docker engine here: {reason}");
                None
            }
        }
    }

    fn start() -> Result<Self, String> {
        if !is_root() {
            return Err("dockerd needs root".into());
        }
        for (program, package) in [
            ("dockerd", "docker.io"),
            ("docker", "docker.io"),
            ("debootstrap", "debootstrap"),
        ] {
            let found = Command::new(program).arg("--version").output();
            found.map_err(|_| format!("{program} is missing: apt-get install {package}"))?;
        }
        let mut reasons = String::new();
        for driver in STORAGE {
            match Self::start_with(driver) {
                Ok(engine) => return Ok(engine),
                Err(reason) => reasons += &format!("\n--- with {driver}:\n{reason}"),
            }
        }
        Err(reasons)
    }

    fn start_with(driver: &str) -> Result<Self, String> {
        let directory = env::temp_dir().join(format!("thrust-docker-{}", std::process::id()));
        fs::create_dir(&directory).map_err(|error| error.to_string())?;
        let log = File::create(directory.join("log")).map_err(|error| error.to_string())?;
        let at = |name: &str| directory.join(name).display().to_string();
        let daemon = dockerd()
            .arg(format!("--host=unix://{}", at("socket")))
            .arg(format!("--data-root={}", at("data")))
            .arg(format!("--exec-root={}", at("exec")))
            .arg(format!("--pidfile={}", at("pid")))
            .arg(format!("--storage-driver={driver}"))
            // The machine's network stays as it is: a container has its loopback, and what the load plugs in.
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut engine = Self { daemon, directory };
        if engine.answers() {
            return Ok(engine);
        }
        let log = fs::read_to_string(engine.directory.join("log")).unwrap_or_default();
        let from = log.len().saturating_sub(2_000);
        Err(String::from_utf8_lossy(&log.as_bytes()[from..]).into_owned())
    }

    fn answers(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < PATIENCE && matches!(self.daemon.try_wait(), Ok(None)) {
            if self
                .command(&["version"])
                .output()
                .is_ok_and(|output| output.status.success())
            {
                return true;
            }
            thread::sleep(Duration::from_millis(100));
        }
        false
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .arg(format!(
                "--host=unix://{}",
                self.directory.join("socket").display()
            ))
            .args(args)
            // The builder inside the daemon, so that no plugin is needed.
            .env("DOCKER_BUILDKIT", "0")
            .env("DOCKER_CONFIG", &self.directory)
            .stdin(Stdio::null());
        command
    }

    /// What docker prints; anything but success fails the test.
    pub(crate) fn tell(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (printed, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "docker {args:?}\n{printed}\n{errors}"
        );
        printed
    }

    /// A new image from the Dockerfile in `context`.
    pub(crate) fn build(&self, tag: &str, context: &Path, arguments: &[(&str, &str)]) {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|(name, value)| format!("--build-arg={name}={value}"))
            .collect();
        let mut args = vec!["build", "--quiet", "--network=none", "--tag", tag];
        args.extend(arguments.iter().map(String::as_str));
        args.push(context.to_str().unwrap());
        self.tell(&args);
    }

    pub(crate) fn inspect(&self, what: &str, format: &str) -> String {
        self.tell(&["inspect", "--format", format, what])
    }

    /// Starts a container as anybody would, but for its network: it has a loopback and nothing else.
    pub(crate) fn run(&self, options: &[&str], image: &str, command: &[&str]) -> Container<'_> {
        let mut args = vec!["run", "--detach", "--network=none"];
        args.extend(options.iter().chain([&image]).chain(command));
        let id = self.tell(&args);
        Container { engine: self, id }
    }
}

/// The owner of our own entry in /proc is our effective user.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// What the daemon mounts, and fails to unmount, is seen by nobody else and goes with it. It shares no containerd with a
/// daemon of the machine's own, and where no cgroups are mounted, it gets some.
const IN_A_NAMESPACE: &str = r#"
mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd || exit
grep -q ' /sys/fs/cgroup' /proc/self/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit
exec dockerd "$@"
"#;

fn dockerd() -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        IN_A_NAMESPACE,
        "dockerd",
    ]);
    command
}

impl Drop for Engine {
    fn drop(&mut self) {
        let began = Instant::now();
        // It ends its own containerd, which is why it is asked first.
        let _ = kill(
            Pid::from_raw(self.daemon.id().cast_signed()),
            Signal::SIGTERM,
        );
        while matches!(self.daemon.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("{} is left behind: {error}", self.directory.display());
        }
    }
}

impl Container<'_> {
    pub(crate) fn inspect(&self, format: &str) -> String {
        self.engine.inspect(&self.id, format)
    }

    pub(crate) fn logs(&self) -> String {
        self.engine.tell(&["logs", &self.id])
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        let began = Instant::now();
        while !self.logs().contains(text) {
            assert!(began.elapsed() < PATIENCE, "no {text} in\n{}", self.logs());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the HEALTHCHECK has found.
    pub(crate) fn wait_for_health(&self, wanted: &str) {
        let began = Instant::now();
        let health = || self.inspect("{{.State.Health.Status}}");
        while health() != wanted {
            let log = self.inspect("{{json .State.Health}}");
            assert!(began.elapsed() < PATIENCE, "not {wanted}: {log}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Each of these stands after the one before.
    pub(crate) fn assert_log_order(&self, texts: &[&str]) {
        let logs = self.logs();
        let mut rest = &*logs;
        for text in texts {
            let at = rest.find(text);
            rest = &rest[at.unwrap_or_else(|| panic!("no {text}, or too early, in\n{logs}"))..];
        }
    }

    fn pid(&self) -> String {
        self.inspect("{{.State.Pid}}")
    }

    /// The user of the container's first process, as the kernel says.
    pub(crate) fn user(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("Uid:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// How many children of its first process are alive, and how many are dead and not reaped.
    pub(crate) fn children(&self) -> [usize; 2] {
        let first = self.pid();
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            // The name before may have anything in it.
            let (_, rest) = stat.rsplit_once(") ")?;
            let (state, rest) = rest.split_once(' ')?;
            (rest.split(' ').next() == Some(&first)).then(|| state.to_owned())
        });
        let (dead, alive): (Vec<_>, Vec<_>) = processes.partition(|state| state == "Z");
        [alive.len(), dead.len()]
    }

    /// Its network, which a thread may enter.
    pub(crate) fn network(&self) -> File {
        File::open(format!("/proc/{}/ns/net", self.pid())).unwrap()
    }

    /// `docker stop`: returns when it has stopped, or was killed after docker's own ten seconds.
    pub(crate) fn stop(&self) {
        self.engine.tell(&["stop", &self.id]);
    }

    /// Runs a shell in it, to its end.
    pub(crate) fn sh(&self, script: &str) -> String {
        self.engine.tell(&["exec", &self.id, "sh", "-c", script])
    }

    /// Its exit code, once it has ended.
    pub(crate) fn wait(&self) -> String {
        self.engine.tell(&["wait", &self.id])
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "--- the container's log\n{}",
                String::from_utf8_lossy(
                    &self
                        .engine
                        .command(&["logs", &self.id])
                        .output()
                        .map(|output| output.stdout)
                        .unwrap_or_default()
                )
            );
        }
        let _ = self.engine.command(&["rm", "--force", &self.id]).output();
    }
}

//! The child for real: processes are started, asked through /proc what they are, signalled and reaped.

use std::{
    fs::{self, File},
    io::Read,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use nix::{
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::{SigSet, Signal},
        stat::Mode,
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::{Pid, getpgrp, mkfifo},
};

use super::{alone::alone, *};

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "thrust-upstream-{}-{}",
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A pipe with a name: opening it waits for the other side, reading it ends when all writers are gone.
    fn fifo(&self) -> String {
        let path = self.path("fifo");
        mkfifo(path.as_str(), Mode::S_IRWXU).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn settings(command: &[&str]) -> Settings {
    Settings {
        command: command.iter().map(OsString::from).collect(),
        target: Target::Port(4321),
    }
}

fn sh(script: &str) -> Settings {
    settings(&["sh", "-c", script])
}

/// As it is in a container. The test's own stdin may be a terminal.
fn spawn(settings: &Settings) -> Upstream {
    Upstream::spawn_in(settings, None, None, true).unwrap()
}

/// Waits until it has ended, without reaping it.
fn await_end(upstream: &Upstream) {
    let pid = Pid::from_raw(upstream.pid().expect("not reaped yet"));
    // The result is of no use: nix refuses to read the status of who died of a real-time signal.
    let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
}

fn end_of(mut upstream: Upstream) -> Exit {
    await_end(&upstream);
    upstream.reap().expect("it has ended")
}

/// What the child says of itself in `/proc/self/<name>`.
fn asked(name: &str, nofile: Option<Nofile>, own_group: bool) -> String {
    let scratch = Scratch::new();
    let (from, to) = (format!("/proc/self/{name}"), scratch.path("answer"));
    let child =
        Upstream::spawn_in(&settings(&["cp", &from, &to]), None, nofile, own_group).unwrap();
    assert_eq!(end_of(child), Exit::Code(0));
    String::from_utf8_lossy(&fs::read(to).unwrap()).into_owned()
}

#[test]
fn tells_how_it_ended() {
    assert_eq!(end_of(spawn(&sh("exit 0"))), Exit::Code(0));
    assert_eq!(end_of(spawn(&sh("exit 42"))), Exit::Code(42));
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGRTMIN() + 1] {
        let child = spawn(&settings(&["sleep", "600"]));
        child.signal(signal).unwrap();
        assert_eq!(end_of(child), Exit::Signal(signal));
    }
}

#[test]
fn says_so_once_and_then_leaves_the_pid_alone() {
    let mut child = spawn(&sh("exit 3"));
    await_end(&child);
    // A zombie can be signalled, to no effect.
    child.signal(libc::SIGTERM).unwrap();
    assert_eq!(child.reap(), Some(Exit::Code(3)));
    assert_eq!((child.pid(), child.reap()), (None, None));
    assert_eq!(child.state(), State::Exited(Exit::Code(3)));
    child.signal(libc::SIGTERM).unwrap();
    child.kill().unwrap();
}

#[test]
fn a_stopped_child_still_runs() {
    let mut child = spawn(&settings(&["sleep", "600"]));
    child.signal(libc::SIGSTOP).unwrap();
    let pid = Pid::from_raw(child.pid().unwrap());
    waitid(Id::Pid(pid), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT).unwrap();
    assert_eq!(child.reap(), None);
    child.kill().unwrap();
    assert_eq!(end_of(child), Exit::Signal(libc::SIGKILL));
}

#[test]
fn executes_the_arguments_as_given() {
    let scratch = Scratch::new();
    let to = scratch.path("answer");
    let odd = "two words; $HOME *";
    let child = spawn(&settings(&[
        "sh",
        "-c",
        "printf %s \"$1\" > \"$0\"",
        &to,
        odd,
    ]));
    assert_eq!(end_of(child), Exit::Code(0));
    assert_eq!(fs::read_to_string(to).unwrap(), odd);
}

#[test]
fn hands_the_port_to_the_child_alone() {
    let environment = asked("environ", None, true);
    assert!(environment.split('\0').any(|pair| pair == "PORT=4321"));
    assert_ne!(std::env::var("PORT").as_deref(), Ok("4321"));
}

#[test]
fn sets_no_port_for_a_unix_socket() {
    let socket = Settings {
        target: Target::Socket("/run/app.sock".into()),
        ..sh("test \"${PORT-}\" = \"$0\"")
    };
    let ours = std::env::var_os("PORT").unwrap_or_default();
    let command = [socket.command.clone(), vec![ours]].concat();
    assert_eq!(
        end_of(spawn(&Settings { command, ..socket })),
        Exit::Code(0)
    );
}

#[test]
fn leads_its_own_group_or_stays_in_ours() {
    let group = |own| -> i32 {
        let stat = asked("stat", None, own);
        let fields = stat.rsplit_once(") ").unwrap().1;
        fields.split(' ').nth(2).unwrap().parse().unwrap()
    };
    assert_ne!(group(true), getpgrp().as_raw());
    assert_eq!(group(false), getpgrp().as_raw());
}

#[test]
fn kills_its_whole_group() {
    let scratch = Scratch::new();
    let fifo = scratch.fifo();
    let child = spawn(&settings(&["sh", "-c", "sleep 600 > \"$0\" & wait", &fifo]));
    let mut grandchild = File::open(fifo).unwrap();
    child.kill().unwrap();
    grandchild.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(end_of(child), Exit::Signal(libc::SIGKILL));
}

#[test]
fn kills_nobody_else_in_a_shared_group() {
    let child = Upstream::spawn_in(&settings(&["sleep", "600"]), None, None, false).unwrap();
    assert!(!child.own_group());
    child.kill().unwrap();
    assert_eq!(end_of(child), Exit::Signal(libc::SIGKILL));
}

#[test]
fn starts_with_default_dispositions_and_an_empty_mask() {
    if !alone(
        module_path!(),
        "starts_with_default_dispositions_and_an_empty_mask",
    ) {
        return;
    }
    let all = 1..=libc::SIGRTMAX();
    all.for_each(sys::tests::ignore);
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert_ne!(field(&own, "SigIgn:"), 0);
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTERM);
    blocked.thread_block().unwrap();
    // std waits for the child that could not be executed, and so may not have SIGCHLD ignored.
    sys::tests::heed(libc::SIGCHLD);

    let status = asked("status", None, true);
    assert_eq!(field(&status, "SigIgn:"), 0, "{status}");
    assert_eq!(field(&status, "SigBlk:"), 0, "{status}");
    // And ours is as it was.
    assert_eq!(SigSet::thread_get_mask().unwrap(), blocked);
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    u64::from_str_radix(line[name.len()..].trim(), 16).unwrap()
}

#[test]
fn gets_back_the_limit_that_we_raised() {
    if !alone(module_path!(), "gets_back_the_limit_that_we_raised") {
        return;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 200, hard).unwrap();
    let original = raise_nofile();
    assert_eq!(original, Some(Nofile { soft: 200, hard }));
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));

    let limits = asked("limits", original, true);
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = line.unwrap().split_whitespace().skip(3).take(2).collect();
    assert_eq!(words, ["200".to_owned(), hard.to_string()]);
}

#[test]
fn is_stopped_when_we_die() {
    if process::id() == 1 {
        eprintln!("skipped: with PID 1 the kernel ends the whole namespace");
        return;
    }
    // A thread stands in for us: PR_SET_PDEATHSIG watches the thread that forked.
    let spawned = std::thread::spawn(|| spawn(&settings(&["sleep", "600"])));
    assert_eq!(end_of(spawned.join().unwrap()), Exit::Signal(libc::SIGTERM));
}

#[tokio::test]
async fn holds_none_of_our_sockets() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let _asynchronous = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _pair = tokio::net::UnixStream::pair().unwrap();
    let scratch = Scratch::new();
    let (fifo, to) = (scratch.fifo(), scratch.path("answer"));
    let script = "ls -l /proc/$$/fd > \"$1\"; exec sleep 600 > \"$0\"";
    let child = spawn(&settings(&["sh", "-c", script, &fifo, &to]));
    let _alive = File::open(fifo).unwrap();

    let held = fs::read_to_string(to).unwrap();
    // Our stdin, stdout and stderr may be sockets; it has those by right.
    let beyond = |line: &&str| line.contains("socket:") && !["0", "1", "2"].contains(&number(line));
    assert_eq!(held.lines().filter(beyond).count(), 0, "{held}");
    drop(tcp);
    assert!(std::net::TcpStream::connect(address).is_err());
    child.kill().unwrap();
    end_of(child);
}

/// The descriptor in a line of `ls -l /proc/<pid>/fd`.
fn number(line: &str) -> &str {
    let (before, _) = line.split_once(" -> ").unwrap();
    before.rsplit(' ').next().unwrap()
}

#[test]
fn names_the_command_that_is_missing_or_refused() {
    let scratch = Scratch::new();
    let (plain, orphaned) = (scratch.path("plain"), scratch.path("orphaned"));
    fs::write(&plain, "no program").unwrap();
    fs::write(&orphaned, "#!/no/such/interpreter\r\n").unwrap();
    fs::set_permissions(&orphaned, fs::Permissions::from_mode(0o755)).unwrap();
    for (command, code, advice) in [
        ("no-such-command-anywhere", 127, "PATH"),
        ("./no/such/file", 127, "working directory"),
        (&*orphaned, 127, "interpreter"),
        (&*plain, 126, "chmod +x"),
        (scratch.0.to_str().unwrap(), 126, "make it a file"),
        ("", 127, "PATH"),
    ] {
        let error = Upstream::spawn_in(&settings(&[command]), None, None, true).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.exit_code(), code, "{message}");
        assert!(
            message.contains(command) && message.contains(advice),
            "{message}"
        );
    }
}

#[test]
fn reaps_a_thousand_orphans_beside_the_child() {
    if !alone(module_path!(), "reaps_a_thousand_orphans_beside_the_child") {
        return;
    }
    prctl::set_child_subreaper(true).unwrap();
    let scratch = Scratch::new();
    let fifo = scratch.fifo();
    // Each holds the pipe open, so that it is seen when the last is gone.
    let script = "exec > \"$0\"; i=0; while [ $i -lt 1000 ]; do (: &) ; i=$((i+1)); done; exit 7";
    let mut child = spawn(&settings(&["sh", "-c", script, &fifo]));
    let mut all = File::open(fifo).unwrap();
    let mut exit = None;
    let mut waited = [0];
    loop {
        exit = exit.or(child.reap());
        // Ends once the child and all orphans have closed the pipe, a moment before they are zombies.
        if exit.is_some() && all.read(&mut waited).unwrap() == 0 {
            break;
        }
        let _ = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    }
    while waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).is_ok() {
        assert_eq!(child.reap(), None);
    }
    assert_eq!(exit, Some(Exit::Code(7)));
}

//! Processes we start, and their end: on drop, on panic, on a signal, and should we be killed.

use crate::{Result, proc};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Everyone who runs, for the signal thread; ours by construction.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// How long a process may take to stop before it and its children are killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// A started process and the children it has; ended when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    output: Arc<Mutex<Output>>,
}

/// What came out of a process's pipes.
#[derive(Debug, Default)]
struct Output {
    bytes: u64,
    /// The last 4 KiB, which hold wrk's figures and anyone's complaint.
    tail: Vec<u8>,
}

impl Running {
    /// Starts `command` with stdout and stderr each in a pipe that is drained, so that nobody's log goes to a cheaper
    /// place than another's. To be called on the main thread: the death signal is tied to the thread that spawns.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        die_with_us(command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        register(child.id());
        let output = Arc::default();
        drain(child.stdout.take(), &output);
        drain(child.stderr.take(), &output);
        Ok(Self { child, output })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// How much it has written so far, stdout and stderr together.
    pub(crate) fn written(&self) -> u64 {
        lock(&self.output).bytes
    }

    /// The last that it wrote, on one line.
    pub(crate) fn last_words(&self) -> String {
        // The draining threads may be a moment behind.
        std::thread::sleep(Duration::from_millis(50));
        match text(&self.output).trim() {
            "" => "it wrote nothing".into(),
            words => words.replace('\n', " | "),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let family = proc::family(self.pid());
        if !self.has_ended() {
            kill(self.pid(), SIGTERM);
        }
        let give_up = Instant::now() + PATIENCE;
        while !self.has_ended() && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(5));
        }
        for member in family.iter().filter(|member| member.is_still_there()) {
            kill(member.pid, libc::SIGKILL);
        }
        // Reaped by now, or at once after the kill.
        let _ = self.child.wait();
        unregister(self.pid());
    }
}

/// Runs a program to its end and returns its stdout; killed after `limit`.
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> Result<String> {
    die_with_us(command);
    let name = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    register(child.id());
    let (out, err) = (Arc::default(), Arc::default());
    let readers = [
        drain(child.stdout.take(), &out),
        drain(child.stderr.take(), &err),
    ];
    let give_up = Instant::now() + limit;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() > give_up => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    unregister(child.id());
    for reader in readers.into_iter().flatten() {
        // A panic in a reader has already been shown.
        let _ = reader.join();
    }
    match status {
        Some(status) if status.success() => Ok(text(&out)),
        Some(status) => Err(format!("{name}: {status}: {}{}", text(&out), text(&err)).into()),
        None => Err(format!("{name} took more than {} s", limit.as_secs()).into()),
    }
}

/// On Ctrl-C, SIGTERM or SIGHUP ends everything we started and leaves.
pub(crate) fn end_all_on_signal() -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            end_all();
            #[expect(
                clippy::exit,
                reason = "the main thread is in the middle of a measurement; all is cleaned up"
            )]
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// TERM to everyone, KILL to whoever is left; the lock is kept, so that nothing new is started meanwhile.
fn end_all() {
    let running = lock(&RUNNING);
    let families: Vec<_> = running.iter().flat_map(|pid| proc::family(*pid)).collect();
    for pid in running.iter() {
        kill(*pid, SIGTERM);
    }
    let give_up = Instant::now() + PATIENCE;
    while families.iter().any(proc::Member::is_still_there) && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(5));
    }
    for member in families.iter().filter(|member| member.is_still_there()) {
        kill(member.pid, libc::SIGKILL);
    }
    crate::tools::ScratchDir::remove_current();
}

fn register(pid: u32) {
    lock(&RUNNING).push(pid);
}

fn unregister(pid: u32) {
    lock(&RUNNING).retain(|running| *running != pid);
}

/// Reads to the end of the pipe, as a container's log driver would.
fn drain(
    pipe: Option<impl Read + Send + 'static>,
    output: &Arc<Mutex<Output>>,
) -> Option<JoinHandle<()>> {
    let (mut pipe, output) = (pipe?, Arc::clone(output));
    Some(std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = pipe.read(&mut buffer) {
            lock(&output).take(&buffer[..n]);
        }
    }))
}

impl Output {
    fn take(&mut self, bytes: &[u8]) {
        const KEEP: usize = 4096;
        self.bytes += bytes.len() as u64;
        self.tail
            .extend_from_slice(&bytes[bytes.len().saturating_sub(KEEP)..]);
        let excess = self.tail.len().saturating_sub(KEEP);
        self.tail.drain(..excess);
    }
}

fn text(output: &Mutex<Output>) -> String {
    String::from_utf8_lossy(&lock(output).tail).into_owned()
}

/// No one who holds a lock here leaves half a change behind, should it panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill(pid: u32, signal: libc::c_int) {
    // SAFETY: kill(2) touches no memory of ours. The pid is one we started and have not reaped, or was just compared
    // by start time.
    unsafe {
        libc::kill(pid as libc::pid_t, signal);
    }
}

/// Should we be killed outright, the kernel ends what we started.
fn die_with_us(command: &mut Command) {
    // SAFETY: prctl(2) is all that runs between fork and exec: async-signal-safe, no allocation.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, SIGTERM) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

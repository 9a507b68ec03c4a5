//! What /proc tells of a process and its descendants: CPU time, memory; and our own limit of open files.

use crate::Result;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::HashMap;
use std::fs;

/// One process, told apart from a later one of the same pid by its start time.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) pid: u32,
    parent: u32,
    started: u64,
    /// A zombie: it waits for its parent only.
    ended: bool,
    /// utime + stime, in ticks, threads that have ended included.
    ticks: u64,
}

/// CPU time at one moment: nanoseconds by thread, and ticks of the whole.
#[derive(Debug)]
pub(crate) struct Cpu {
    threads: HashMap<(u32, u32), u64>,
    ticks: u64,
}

/// The process and its living descendants.
pub(crate) fn family(pid: u32) -> Vec<Member> {
    let everyone: Vec<Member> = numbers_in("/proc")
        .into_iter()
        .filter_map(Member::read)
        .collect();
    let mut family: Vec<Member> = everyone
        .iter()
        .filter(|one| one.pid == pid)
        .cloned()
        .collect();
    let mut next = 0;
    while let Some(parent) = family.get(next).map(|one| one.pid) {
        family.extend(everyone.iter().filter(|one| one.parent == parent).cloned());
        next += 1;
    }
    family
}

/// The processes that count as the proxy: a `sleep` among them stands in for an app.
fn proxy(pid: u32) -> Vec<Member> {
    let mut family = family(pid);
    family.retain(|one| one.pid == pid || !one.is_sleep());
    family
}

/// CPU time so far of the proxy with this root process.
pub(crate) fn cpu(pid: u32) -> Cpu {
    let proxy = proxy(pid);
    let threads = proxy.iter().flat_map(Member::threads).collect();
    let ticks = proxy.iter().map(|one| one.ticks).sum();
    Cpu { threads, ticks }
}

impl Cpu {
    /// Nanoseconds since `earlier`. From schedstat, which forgets a thread when it ends: then from the coarser ticks.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        const TICK_NS: u64 = 10_000_000;
        if self.threads.is_empty()
            || earlier
                .threads
                .keys()
                .any(|thread| !self.threads.contains_key(thread))
        {
            return self.ticks.saturating_sub(earlier.ticks) * TICK_NS;
        }
        let now: u64 = self.threads.values().sum();
        now.saturating_sub(earlier.threads.values().sum())
    }
}

/// PSS in KiB of the proxy with this root process.
pub(crate) fn pss(pid: u32) -> Result<u64> {
    let mut total = 0;
    for one in proxy(pid) {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", one.pid))?;
        total += kilobytes(&rollup, "Pss:").ok_or("smaps_rollup names no Pss")?;
    }
    Ok(total)
}

/// Kilobytes in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resident {
    pub(crate) now: u64,
    /// The most there ever were.
    pub(crate) peak: u64,
}

/// The resident sets of the proxy with this root process, pages that are shared between processes counted in each.
pub(crate) fn resident(pid: u32) -> Result<Resident> {
    let mut total = Resident { now: 0, peak: 0 };
    for one in proxy(pid) {
        let status = fs::read_to_string(format!("/proc/{}/status", one.pid))?;
        total.now += kilobytes(&status, "VmRSS:").ok_or("status names no VmRSS")?;
        total.peak += kilobytes(&status, "VmHWM:").ok_or("status names no VmHWM")?;
    }
    Ok(total)
}

/// The number in the line that begins with `name`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The limit of open files for us and whom we start, raised to what HAProxy wants for 10,000 connections; the hard one
/// too where we may. Returns what it is now.
pub(crate) fn raise_open_files() -> Result<u64> {
    // Some programs size a table by the limit: no more than is of use.
    const ENOUGH: u64 = 65_536;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    for limit in [ENOUGH, hard.min(ENOUGH)] {
        if setrlimit(Resource::RLIMIT_NOFILE, limit, hard.max(limit)).is_ok() {
            return Ok(limit);
        }
    }
    Ok(soft)
}

impl Member {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, so count from its end: state is 0, ppid 1, utime 11, stime 12,
        // starttime 19.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            pid,
            parent: number(1)? as u32,
            started: number(19)?,
            ended: matches!(fields.first(), Some(&("Z" | "X"))),
            ticks: number(11)? + number(12)?,
        })
    }

    /// Not ended, be it reaped or not, and not another process by now.
    pub(crate) fn is_still_there(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.started == self.started && !now.ended)
    }

    fn is_sleep(&self) -> bool {
        fs::read(format!("/proc/{}/cmdline", self.pid)).is_ok_and(|line| {
            let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
            program.rsplit(|byte| *byte == b'/').next() == Some(b"sleep")
        })
    }

    /// Run time in nanoseconds, by thread.
    fn threads(&self) -> Vec<((u32, u32), u64)> {
        let dir = format!("/proc/{}/task", self.pid);
        numbers_in(&dir)
            .into_iter()
            .filter_map(|tid| {
                let stat = fs::read_to_string(format!("{dir}/{tid}/schedstat")).ok()?;
                Some(((self.pid, tid), stat.split(' ').next()?.parse().ok()?))
            })
            .collect()
    }
}

fn numbers_in(dir: &str) -> Vec<u32> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

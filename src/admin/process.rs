//! Ourselves, as the kernel sees us: proc(5).

use std::fs;

use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// Cheap to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessView {
    /// Our process id.
    pub pid: u32,
    /// How long we have been computing, in seconds.
    pub cpu_seconds: f64,
    /// How much memory is ours, in bytes.
    pub resident_bytes: u64,
    /// How much address space.
    pub virtual_bytes: u64,
    /// How many threads.
    pub threads: u64,
}

/// The fields of /proc/self/stat that are wanted, counted from the one behind the name.
const UTIME: usize = 11;
const STIME: usize = 12;
const THREADS: usize = 17;
const START: usize = 19;
const VSIZE: usize = 20;
const RSS: usize = 21;

impl ProcessView {
    /// Of this moment; zeros where there is no proc(5).
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let field = |at| field(&stat, at);
        let ticks = (field(UTIME) + field(STIME)) as f64;
        Self {
            pid: std::process::id(),
            cpu_seconds: ticks / per_second(),
            resident_bytes: field(RSS) * setting(SysconfVar::PAGE_SIZE),
            virtual_bytes: field(VSIZE),
            threads: field(THREADS),
        }
    }
}

/// When we were started, in seconds since 1970; none where the kernel does not say.
pub(super) fn started() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let booted = fs::read_to_string("/proc/stat").ok()?;
    let booted = booted
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    let booted: f64 = booted.trim().parse().ok()?;
    Some(booted + field(&stat, START) as f64 / per_second())
}

/// How many files are open.
pub(super) fn open_files() -> Option<u64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

/// How many may be.
pub(super) fn most_files() -> Option<u64> {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE)
        .ok()
        .map(|(soft, _)| soft)
}

/// The name is in brackets, and may have brackets and spaces in it.
fn field(stat: &str, at: usize) -> u64 {
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let field = behind.split_ascii_whitespace().nth(at);
    field.and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn per_second() -> f64 {
    setting(SysconfVar::CLK_TCK).max(1) as f64
}

fn setting(name: SysconfVar) -> u64 {
    let value = sysconf(name).ok().flatten().unwrap_or(0);
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 34 0 0 20 0 5 0 900 4096 2 18446744073709551615";
        let fields = [UTIME, STIME, THREADS, START, VSIZE, RSS].map(|at| field(stat, at));
        assert_eq!(fields, [12, 34, 5, 900, 4096, 2]);
        assert_eq!(field("", 3), 0);
    }

    #[test]
    fn we_are_there() {
        let view = ProcessView::now();
        assert!(
            view.resident_bytes > 100_000 && view.threads > 0,
            "{view:?}"
        );
        assert!(open_files() > Some(2) && open_files() <= most_files());
        assert!(started() > Some(1e9));
    }
}

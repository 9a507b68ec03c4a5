//! Looks into /proc, and signals by pid.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    path::PathBuf,
};

fn proc(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// Sends a signal, also one that nix has no name for.
pub(crate) fn kill(pid: u32, signal: i32) {
    send(i64::from(pid), signal);
}

/// Sends a signal to every process of a group.
pub(crate) fn kill_group(group: u32, signal: i32) {
    send(-i64::from(group), signal);
}

fn send(target: i64, signal: i32) {
    let target = libc::pid_t::try_from(target).expect("pids fit");
    // SAFETY: kill takes two integers and touches no memory of ours.
    if unsafe { libc::kill(target, signal) } != 0 {
        panic!("kill({target}, {signal}): {}", io::Error::last_os_error());
    }
}

/// The fields of /proc/PID/stat from the third on (state, ppid, pgrp, …); none once the process is gone.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(proc(pid, "stat")).ok()?;
    // The second field is the command in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// `R`, `S`, `Z`, …; none once the process is reaped.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    stat(pid)?[0].chars().next()
}

pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?[1].parse().ok()
}

pub(crate) fn process_group_of(pid: u32) -> Option<u32> {
    stat(pid)?[2].parse().ok()
}

fn all_pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    all_pids()
        .filter(|child| parent_of(*child) == Some(pid))
        .collect()
}

/// Dead children that `pid` has not reaped.
pub(crate) fn zombies_below(pid: u32) -> Vec<u32> {
    children_of(pid)
        .into_iter()
        .filter(|child| state_of(*child) == Some('Z'))
        .collect()
}

/// The living processes whose environment holds `marker`, which children inherit.
pub(super) fn marked(marker: &str) -> Vec<u32> {
    let is_marked = |pid: &u32| {
        let environment = fs::read(proc(*pid, "environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == marker.as_bytes())
    };
    all_pids()
        .filter(is_marked)
        .filter(|pid| state_of(*pid) != Some('Z'))
        .collect()
}

pub(super) fn executable_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(proc(pid, "exe")).ok()
}

/// The signals named in a mask of /proc/PID/status, such as `SigCgt`.
pub(crate) fn signals_of(pid: u32, mask: &str) -> HashSet<i32> {
    signals_in(
        &fs::read_to_string(proc(pid, "status")).unwrap_or_default(),
        mask,
    )
}

fn signals_in(status: &str, mask: &str) -> HashSet<i32> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(mask)?.strip_prefix(':'));
    let bits = line
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0);
    (1..=64)
        .filter(|signal| bits >> (signal - 1) & 1 == 1)
        .collect()
}

/// What the descriptors of a process point to.
pub(crate) fn file_descriptors(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(proc(pid, "fd"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .collect()
}

/// The TCP ports on which it listens.
pub(crate) fn listening_ports_of(pid: u32) -> BTreeSet<u16> {
    let sockets: HashSet<_> = file_descriptors(pid).into_iter().collect();
    let tables = ["net/tcp", "net/tcp6"].map(|table| fs::read_to_string(proc(pid, table)));
    let listening = |line: &str| {
        // proc(5): number, local address, remote address, state, ..., and the inode as the tenth.
        let fields: Vec<_> = line.split_whitespace().collect();
        let (address, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let is_ours = sockets.contains(&PathBuf::from(format!("socket:[{inode}]")));
        let (_, port) = address.rsplit_once(':')?;
        (is_ours && *state == "0A").then(|| u16::from_str_radix(port, 16).ok())?
    };
    let tables = tables.into_iter().flatten();
    tables
        .flat_map(|table| table.lines().filter_map(listening).collect::<Vec<_>>())
        .collect()
}

/// How often all its threads together went to sleep of their own accord: what a polling loop drives up.
pub(crate) fn voluntary_switches_of(pid: u32) -> u64 {
    let threads = fs::read_dir(proc(pid, "task"))
        .into_iter()
        .flatten()
        .flatten();
    let status = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    let switches = status.filter_map(|status| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    });
    switches.sum()
}

/// How many bytes that came from `peer` wait in the socket of the server on `port`; none once nobody holds it.
pub(crate) fn unread(port: u16, peer: u16) -> Option<u64> {
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/net/{table}")));
    let ends_in = |address: &str, port: u16| address.ends_with(&format!(":{port:04X}"));
    tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines())
        .find_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, local, remote, _, queues, ..] = words[..] else {
                return None;
            };
            let ours = ends_in(local, port) && ends_in(remote, peer);
            let (_, received) = queues.split_once(':').filter(|_| ours)?;
            u64::from_str_radix(received, 16).ok()
        })
}

/// How much of its memory is in RAM, in bytes.
pub(crate) fn resident_memory_of(pid: u32) -> u64 {
    let status = fs::read_to_string(proc(pid, "status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.expect("the process lives") * 1024
}

/// Lets this process, and what it starts, have as many descriptors as it may: for tests with a thousand clients.
pub(crate) fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit");
}

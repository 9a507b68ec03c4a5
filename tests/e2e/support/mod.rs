//! What every end-to-end test stands on: the executable, its app, its log, a client, and a few looks into /proc.
//!
//! A test starts Thrust in front of `examples/upstream.rs`, talks to it over real sockets and awaits what it
//! publishes. Nothing is ordered by sleeping: wait for a log line, an app line, a byte or an exit, each with a bound.

mod app;
mod client;
mod control;
mod decoder;
pub(crate) mod frames;
mod hammer;
mod lines;
mod lock;
pub(crate) mod pebble;
mod place;
mod port;
mod process;
mod programs;
pub(crate) mod secure;
mod supervisor;
mod thrust;

pub(crate) use app::{AppConnection, AppRequest, PlayedApp};
pub(crate) use client::{Client, End, Failure, Response, is_refused};
pub(crate) use control::{Said, thrustctl};
pub(crate) use decoder::{CODINGS, decoded, decoded_so_far, tools_are_here};
pub(crate) use hammer::Hammer;
pub(crate) use lines::Record;
pub(crate) use lock::alone;
pub(crate) use place::{Place, noise};
pub(crate) use port::ReservedPort;
pub(crate) use process::{
    children_of, file_descriptors, kill, kill_group, parent_of, process_group_of, raise_file_limit,
    resident_memory_of, signals_of, state_of, unread, voluntary_switches_of, zombies_below,
};
pub(crate) use programs::is_here;
pub(crate) use supervisor::Supervisor;
pub(crate) use thrust::{Builder, Thrust, pid_1_is_possible};

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for what must come. Far more than any machine needs; a failure, not a figure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// How long a test watches for what must *not* come.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// For state that only polling can see (/proc): true once `met`, false after `patience`.
pub(crate) fn eventually(patience: Duration, mut met: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if met() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::sleep(millis(2));
    }
}

/// The first record of each message stands after that of the message before.
#[track_caller]
pub(crate) fn assert_order(thrust: &Thrust, messages: &[&str]) {
    let records: Vec<_> = messages
        .iter()
        .map(|message| thrust.wait_for(message))
        .collect();
    for pair in records.windows(2) {
        assert!(
            pair[0].place < pair[1].place,
            "{} after {}",
            pair[0].text,
            pair[1].text
        );
    }
}

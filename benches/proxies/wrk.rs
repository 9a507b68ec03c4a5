//! One run of wrk.

use crate::child::output_within;
use crate::options::{Load, Options};
use crate::{Result, http};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// wrk with its script.
#[derive(Debug)]
pub(crate) struct Wrk {
    script: PathBuf,
    connections: usize,
}

/// What wrk saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Wrk {
    pub(crate) fn new(options: &Options, dir: &Path) -> Result<Self> {
        let script = dir.join("wrk.lua");
        fs::write(&script, include_str!("wrk.lua"))?;
        Ok(Self {
            script,
            connections: options.connections,
        })
    }

    /// Loads `port` for so many seconds; an error if any answer was missing, short or not a 2xx.
    pub(crate) fn run(&self, port: u16, load: Load, seconds: u64) -> Result<Figures> {
        let (path, kind, body) = match load {
            Load::OneKib => ("1k", "get", http::ONE_KIB),
            Load::HundredKib => ("100k", "get", http::HUNDRED_KIB),
            Load::NewConnection => ("1k", "close", http::ONE_KIB),
            Load::Post => ("post", "post", 0),
        };
        let mut command = Command::new("wrk");
        command
            .args(["-t", "2", "-c", &self.connections.max(2).to_string()])
            .args(["-d", &format!("{seconds}s"), "-s"])
            .arg(&self.script)
            .arg(format!("http://127.0.0.1:{port}/{path}"))
            .args(["--", kind]);
        parse(
            &output_within(&mut command, Duration::from_secs(seconds + 10))?,
            body,
        )
    }
}

/// The line that wrk.lua writes, judged.
fn parse(output: &str, body: usize) -> Result<Figures> {
    let numbers: Vec<u64> = output
        .lines()
        .find_map(|line| line.strip_prefix("figures "))
        .into_iter()
        .flat_map(|line| line.split(' ').filter_map(|word| word.parse().ok()))
        .collect();
    let [requests, duration_us, bytes, bad_status, broken, p50, p99] = numbers[..] else {
        return Err(format!("wrk gave no figures: {output}").into());
    };
    if bad_status + broken > 0 {
        return Err(
            format!("{bad_status} answers of status 400 or above, {broken} socket errors").into(),
        );
    }
    // Redirects are no errors to wrk, and short answers neither.
    if requests == 0 || bytes < requests * body as u64 {
        return Err(format!("{requests} answers with {bytes} bytes: too few").into());
    }
    Ok(Figures {
        requests,
        requests_per_second: requests as f64 * 1e6 / duration_us as f64,
        p50_us: p50 as f64,
        p99_us: p99 as f64,
    })
}

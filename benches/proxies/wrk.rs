//! One run of wrk.

use crate::Result;
use crate::ask::{Ask, Kind};
use crate::child::output_within;
use crate::options::Options;
use crate::row::Load;
use crate::verify::Verified;
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
    /// What CPU time is divided by: the answers, and of large ones the parts that came of those under way at the end.
    pub(crate) answers: f64,
    /// An answer without its head, the framing of chunks included, on average.
    pub(crate) body: f64,
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

    /// Loads `port` for so many seconds; an error if any answer was missing, not a 2xx, or shorter than what was
    /// `verified`.
    pub(crate) fn run(
        &self,
        port: u16,
        load: Load,
        verified: Verified,
        seconds: u64,
    ) -> Result<Figures> {
        let ask = load.ask();
        let mut command = self.command(port, &ask, seconds);
        let output = output_within(&mut command, Duration::from_secs(seconds + 15))?;
        parse(&output, &ask, verified)
    }

    fn command(&self, port: u16, ask: &Ask, seconds: u64) -> Command {
        let connections = if ask.is_large {
            4
        } else {
            self.connections.max(2)
        };
        let kind = match ask.kind {
            Kind::Get => "get",
            Kind::Close => "close",
            Kind::Post => "post",
        };
        let mut command = Command::new("wrk");
        command
            .args(["-t", "2", "-c", &connections.to_string()])
            .args(["-d", &format!("{seconds}s"), "-s"])
            .arg(&self.script);
        if let Some(accept) = ask.accept {
            command.args(["-H", &format!("Accept-Encoding: {accept}")]);
        }
        command
            .arg(format!("http://127.0.0.1:{port}{}", ask.path))
            .args(["--", kind]);
        command
    }
}

/// The line that wrk.lua writes, judged.
fn parse(output: &str, ask: &Ask, verified: Verified) -> Result<Figures> {
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
    // Redirects are no errors to wrk, and short answers neither. A coding's output depends on how its input came.
    let least = match verified.coding {
        Some(_) => verified.body * 9 / 10,
        None => verified.body,
    };
    if requests == 0 || bytes < requests * least as u64 {
        return Err(format!("{requests} answers with {bytes} bytes: too few").into());
    }
    let answers = if ask.is_large {
        bytes as f64 / (verified.head + verified.body) as f64
    } else {
        requests as f64
    };
    Ok(Figures {
        requests,
        answers,
        body: bytes as f64 / answers - verified.head as f64,
        requests_per_second: requests as f64 * 1e6 / duration_us as f64,
        p50_us: p50 as f64,
        p99_us: p99 as f64,
    })
}

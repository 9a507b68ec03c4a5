//! The load rows: rounds in which every contender meets every load, in an order that rotates.

use std::{collections::HashMap, path::Path, process::Command, time::Duration};

use crate::{
    Result,
    authority::Authority,
    child::output_within,
    client,
    contender::{Contender, Instance},
    options::{Options, Row},
    proc,
    upstream::Upstream,
};

/// What is done after the answer is counted too.
const REST: Duration = Duration::from_millis(100);

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// For each request, or handshake.
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
}

/// The samples of each row and contender, one per round; or why there are none.
pub(crate) type Results = HashMap<(Row, usize), std::result::Result<Vec<Sample>, String>>;

/// All contenders run throughout; those that are not asked anything sleep.
pub(crate) fn measure(
    options: &Options,
    contenders: &[Contender],
    authority: &Authority,
    upstream: &Upstream,
    dir: &Path,
) -> Result<Results> {
    let mut instances = Vec::new();
    for contender in contenders {
        let instance = contender.start(authority, upstream.port, dir)?;
        for row in rows(options, contender) {
            // Pools, caches and page tables; a failure here shows again when it counts.
            let _ = run(authority, &instance, row, 1);
        }
        instances.push(instance);
    }
    let mut results = Results::new();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for row in &options.rows {
            for turn in 0..contenders.len() {
                let index = (round + turn) % contenders.len();
                if rows(options, &contenders[index]).all(|one| one != *row) {
                    continue;
                }
                let cell = results
                    .entry((*row, index))
                    .or_insert_with(|| Ok(Vec::new()));
                // One failure spoils the cell for good.
                let Ok(samples) = cell else { continue };
                match sample(authority, &instances[index], *row, options.seconds) {
                    Ok(sample) => samples.push(sample),
                    Err(error) => {
                        eprintln!("FAILED: {}, {row:?}: {error}", contenders[index].name);
                        *cell = Err(error.to_string());
                    }
                }
            }
        }
    }
    Ok(results)
}

/// Those that this contender takes part in.
fn rows(options: &Options, contender: &Contender) -> impl Iterator<Item = Row> {
    let rows = options
        .rows
        .iter()
        .copied()
        .filter(|row| *row != Row::Memory);
    rows.filter(|row| contender.is_proxy() || row.is_handshake())
}

fn sample(authority: &Authority, instance: &Instance, row: Row, seconds: u64) -> Result<Sample> {
    let before = proc::cpu(instance.process.pid());
    let count = run(authority, instance, row, seconds)?;
    std::thread::sleep(REST);
    let cpu_ns = proc::cpu(instance.process.pid()).since(&before);
    Ok(Sample {
        cpu_us: cpu_ns as f64 / 1e3 / count as f64,
        per_second: count as f64 / seconds as f64,
    })
}

/// How many requests were answered, or hands shaken.
fn run(authority: &Authority, instance: &Instance, row: Row, seconds: u64) -> Result<u64> {
    let port = instance.port;
    let count = match row {
        Row::FullHandshake => client::handshakes(authority, port, false, seconds)?,
        Row::ResumedHandshake => client::handshakes(authority, port, true, seconds)?,
        Row::OneKib => wrk(port, seconds)?,
        Row::OneKibStreams => h2load(port, "1k", 100, seconds)?,
        Row::OneMibStreams => h2load(port, "1m", 10, seconds)?,
        Row::Memory => return Err("no load".into()),
    };
    (count > 0)
        .then_some(count)
        .ok_or_else(|| "nothing came back".into())
}

/// HTTP/1.1, kept alive.
fn wrk(port: u16, seconds: u64) -> Result<u64> {
    let mut command = Command::new("wrk");
    command.args(["-t", "2", "-c", "64", "-d", &format!("{seconds}s")]);
    command.arg(format!("https://127.0.0.1:{port}/1k"));
    let said = output_within(&mut command, Duration::from_secs(seconds + 10))?;
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        return Err(said.into());
    }
    let line = said
        .lines()
        .find(|line| line.contains(" requests in "))
        .ok_or("no figures of wrk's")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

/// Four connections with so many streams each.
fn h2load(port: u16, path: &str, streams: u32, seconds: u64) -> Result<u64> {
    let mut command = Command::new("h2load");
    command.args([
        "-t",
        "2",
        "-c",
        "4",
        "-m",
        &streams.to_string(),
        "-D",
        &seconds.to_string(),
    ]);
    // Windows that do not make a client of loopback wait: what is measured is CPU time.
    command.args(["-w", "20", "-W", "24"]);
    command.arg(format!("https://127.0.0.1:{port}/{path}"));
    let said = output_within(&mut command, Duration::from_secs(seconds + 10))?;
    let number = |word: &str| -> Option<u64> {
        let line = said.lines().find(|line| line.starts_with("requests: "))?;
        let part = line
            .trim_start_matches("requests: ")
            .split(", ")
            .find(|part| part.ends_with(word))?;
        part.split(' ').next()?.parse().ok()
    };
    match (
        number("succeeded"),
        number("failed"),
        said.contains("Application protocol: h2"),
    ) {
        (Some(count), Some(0), true) => Ok(count),
        _ => Err(said.into()),
    }
}

//! The load rows: rounds in which every contender meets every load, in an order that rotates.

use crate::contender::{Contender, Instance};
use crate::options::{Load, Options};
use crate::upstream::Upstream;
use crate::wrk::{Figures, Wrk};
use crate::{Result, proc};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// Buffered logs are written within a second; what is written after the rest is counted in nobody's favour.
const REST: Duration = Duration::from_millis(150);

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) cpu_us: f64,
    pub(crate) wrk: Figures,
}

/// A load with its access log off or on, and a contender by its index.
pub(crate) type Cell = (Load, bool, usize);

/// The samples of each cell, one per round; or why there are none.
pub(crate) type Results = HashMap<Cell, std::result::Result<Vec<Sample>, String>>;

/// All contenders run throughout; those that are not asked anything sleep.
pub(crate) fn measure(
    options: &Options,
    contenders: &[Contender],
    upstream: &Upstream,
    dir: &Path,
) -> Result<Results> {
    let wrk = Wrk::new(options, dir)?;
    let mut instances = HashMap::new();
    for &log in &options.logs {
        for (index, contender) in contenders.iter().enumerate() {
            if contender.can_log(log) {
                let instance = contender.start(upstream.port, log, dir)?;
                warm_up(options, &wrk, &instance);
                instances.insert((index, log), instance);
            }
        }
    }
    let mut results = Results::new();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for (load, log, index) in turns(options, contenders.len(), round) {
            let Some(instance) = instances.get(&(index, log)) else {
                continue;
            };
            let cell = results
                .entry((load, log, index))
                .or_insert_with(|| Ok(Vec::new()));
            // One failure spoils the cell for good.
            let Ok(samples) = cell else { continue };
            match sample(&wrk, instance, load, log, options.seconds) {
                Ok(sample) => samples.push(sample),
                Err(error) => {
                    eprintln!("FAILED: {}, {load:?}: {error}", contenders[index].name);
                    *cell = Err(error.to_string());
                }
            }
        }
    }
    Ok(results)
}

/// The cells of one round: those to be compared next to each other, and another one first in each round.
fn turns(options: &Options, contenders: usize, round: usize) -> Vec<Cell> {
    let mut turns = Vec::new();
    for load in options.loads() {
        for &log in &options.logs {
            turns.extend((0..contenders).map(|turn| (load, log, (round + turn) % contenders)));
        }
    }
    turns
}

/// Pools, caches and page tables filled by every load, uncounted; a failure here shows again when it counts.
fn warm_up(options: &Options, wrk: &Wrk, instance: &Instance) {
    for load in options.loads() {
        let _ = wrk.run(instance.port, load, 1);
    }
}

fn sample(wrk: &Wrk, instance: &Instance, load: Load, log: bool, seconds: u64) -> Result<Sample> {
    let process = &instance.process;
    let (before, written) = (proc::cpu(process.pid()), process.written());
    let wrk = wrk.run(instance.port, load, seconds)?;
    std::thread::sleep(REST);
    let cpu_ns = proc::cpu(process.pid()).since(&before);
    has_logged(log, process.written() - written, wrk.requests)?;
    Ok(Sample {
        cpu_us: cpu_ns as f64 / 1e3 / wrk.requests as f64,
        wrk,
    })
}

/// A log that is on and goes elsewhere, or one that is off and comes, would make the row a lie.
fn has_logged(log: bool, bytes: u64, requests: u64) -> Result<()> {
    // The shortest access log line is longer; a buffer may still hold a few.
    const LINE: u64 = 50;
    match bytes / requests {
        0 => (!log).then_some(()),
        each => (log && each >= LINE).then_some(()),
    }
    .ok_or_else(|| format!("{bytes} bytes of log for {requests} requests").into())
}

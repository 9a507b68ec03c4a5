//! The load rows: rounds in which every contender meets every load, in an order that rotates.

use crate::contender::{Contender, Instance, Setup};
use crate::options::Options;
use crate::row::{Load, Row};
use crate::upstream::Upstream;
use crate::verify::{self, Verified};
use crate::wrk::{Figures, Wrk};
use crate::{Result, proc};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
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

/// The samples of a cell, one per round.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) verified: Verified,
    pub(crate) samples: Vec<Sample>,
}

/// A load with its access log off or on, and a contender by its index.
pub(crate) type Cell = (Load, bool, usize);

/// The series of each cell; or why there is none.
pub(crate) type Results = HashMap<Cell, std::result::Result<Series, String>>;

/// Who runs, by its index and its log.
type Instances = HashMap<(usize, bool), Instance>;

/// All contenders run throughout; those that are not asked anything sleep.
pub(crate) fn measure(
    options: &Options,
    contenders: &[Contender],
    upstream: &Upstream,
    dir: &Path,
) -> Result<Results> {
    let wrk = Wrk::new(options, dir)?;
    let cells = turns(options, contenders, 0);
    let instances = start(&cells, contenders, upstream, dir)?;
    let prepared = |cell: Cell| noted(prepare(&wrk, &instances, cell), contenders, cell);
    let mut results: Results = cells.iter().map(|&cell| (cell, prepared(cell))).collect();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for cell in turns(options, contenders, round) {
            // One failure spoils the cell for good.
            let Some(Ok(series)) = results.get_mut(&cell) else {
                continue;
            };
            match sample(&wrk, &instances, cell, series.verified, options.seconds) {
                Ok(sample) => series.samples.push(sample),
                Err(error) => drop(results.insert(cell, noted(Err(error), contenders, cell))),
            }
        }
    }
    Ok(results)
}

/// The cells of one round: those to be compared next to each other, and another one first in each round.
fn turns(options: &Options, contenders: &[Contender], round: usize) -> Vec<Cell> {
    let count = contenders.len();
    let mut turns = Vec::new();
    for load in options.loads() {
        for &log in options.logs_of(load) {
            turns.extend((0..count).map(|turn| (load, log, (round + turn) % count)));
        }
    }
    turns.retain(|(load, log, index)| {
        contenders[*index].takes_part(Row::Load(*load)) && contenders[*index].can_log(*log)
    });
    turns
}

/// Whoever has a cell, ready for all of its cells.
fn start(
    cells: &[Cell],
    contenders: &[Contender],
    upstream: &Upstream,
    dir: &Path,
) -> Result<Instances> {
    let content = cells.iter().any(|(load, ..)| !load.is_logged());
    let mut instances = Instances::new();
    for &(_, log, index) in cells {
        if let Entry::Vacant(missing) = instances.entry((index, log)) {
            let setup = Setup { log, content };
            missing.insert(contenders[index].start(upstream, setup, dir)?);
        }
    }
    Ok(instances)
}

/// The answer looked at; then pools, caches and page tables filled, uncounted: a failure there shows again when it
/// counts.
fn prepare(wrk: &Wrk, instances: &Instances, (load, log, index): Cell) -> Result<Series> {
    let port = instances[&(index, log)].port;
    let verified = verify::load(port, load)?;
    let _ = wrk.run(port, load, verified, 1);
    Ok(Series {
        verified,
        samples: Vec::new(),
    })
}

/// A failure is said at once, and kept for the report.
fn noted(
    series: Result<Series>,
    contenders: &[Contender],
    (load, _, index): Cell,
) -> std::result::Result<Series, String> {
    series.map_err(|error| {
        eprintln!("FAILED: {}, {load:?}: {error}", contenders[index].name);
        error.to_string()
    })
}

fn sample(
    wrk: &Wrk,
    instances: &Instances,
    (load, log, index): Cell,
    verified: Verified,
    seconds: u64,
) -> Result<Sample> {
    let Instance { port, process } = &instances[&(index, log)];
    let (before, written) = (proc::cpu(process.pid()), process.written());
    let wrk = wrk.run(*port, load, verified, seconds)?;
    std::thread::sleep(REST);
    let cpu_ns = proc::cpu(process.pid()).since(&before);
    has_logged(log, process.written() - written, wrk.requests)?;
    Ok(Sample {
        cpu_us: cpu_ns as f64 / 1e3 / wrk.answers,
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

//! The tables, in Markdown.

use crate::Result;
use crate::contender::{CACHE_MIB, Contender};
use crate::first_byte::FirstByte;
use crate::keys::Pass;
use crate::load::{Results, Sample, Series};
use crate::memory::Memory;
use crate::options::Options;
use crate::stats::{interval, median};

/// One line per load, log and contender; false if one of them failed.
pub(crate) fn load(options: &Options, contenders: &[Contender], results: &Results) -> bool {
    let mut all_well = true;
    println!(
        "Medians of {} interleaved rounds of {} s with {} connections.\n",
        options.rounds, options.seconds, options.connections
    );
    println!(
        "| load | access log | proxy | CPU µs/request | ratio to {} (95 % interval) | body bytes | requests/s | p50 ms | p99 ms |",
        options.baseline
    );
    println!("|---|---|---|---:|---|---:|---:|---:|---:|");
    let baseline = contenders
        .iter()
        .position(|one| one.name == options.baseline);
    for load in options.loads() {
        for &log in options.logs_of(load) {
            let base = baseline.and_then(|index| results.get(&(load, log, index))?.as_ref().ok());
            for (index, contender) in contenders.iter().enumerate() {
                let Some(cell) = results.get(&(load, log, index)) else {
                    continue;
                };
                let log = if log { "on" } else { "off" };
                print!("| {} | {log} | {} ", load.ask().label, contender.name);
                match cell {
                    Ok(series) => println!("{}", columns(series, base)),
                    Err(error) => println!("| **FAILED**: {error} | | | | | |"),
                }
                all_well &= cell.is_ok();
            }
        }
    }
    println!();
    all_well
}

fn columns(series: &Series, base: Option<&Series>) -> String {
    let samples = &series.samples;
    let of = |figure: fn(&Sample) -> f64| median(&samples.iter().map(figure).collect::<Vec<_>>());
    format!(
        "| {:.1} | {} | {:.0}{} | {:.0} | {:.2} | {:.2} |",
        of(|sample| sample.cpu_us),
        base.map_or_else(|| "–".into(), |base| ratio(samples, &base.samples)),
        of(|sample| sample.wrk.body),
        series
            .verified
            .coding
            .map_or_else(String::new, |name| format!(" in {name}")),
        of(|sample| sample.wrk.requests_per_second),
        of(|sample| sample.wrk.p50_us / 1e3),
        of(|sample| sample.wrk.p99_us / 1e3),
    )
}

/// Each round against the same round of the baseline.
fn ratio(samples: &[Sample], base: &[Sample]) -> String {
    let ratios: Vec<f64> = samples
        .iter()
        .zip(base)
        .map(|(ours, theirs)| ours.cpu_us / theirs.cpu_us)
        .collect();
    match interval(&ratios) {
        Some((low, high)) => format!("{:.2} ({low:.2}–{high:.2})", median(&ratios)),
        None => format!("{:.2} (too few rounds)", median(&ratios)),
    }
}

/// One line per contender; false if one of them failed.
pub(crate) fn memory(options: &Options, results: &[(String, Result<Memory>)]) -> bool {
    println!(
        "| proxy | PSS idle, KiB | PSS with {} idle connections, KiB | KiB per idle connection |",
        options.idle
    );
    println!("|---|---:|---:|---:|");
    for (name, result) in results {
        match result {
            Ok(memory) => {
                let more = memory.with_idle as f64 - memory.fresh as f64;
                let each = more / options.idle as f64;
                println!(
                    "| {name} | {} | {} | {each:.2} |",
                    memory.fresh, memory.with_idle
                );
            }
            Err(error) => println!("| {name} | **FAILED**: {error} | | |"),
        }
    }
    println!();
    results.iter().all(|(_, result)| result.is_ok())
}

/// Two lines per contender, for few keys and for many; false if one of them failed.
pub(crate) fn keys(results: &[(String, Result<[Pass; 2]>)]) -> bool {
    println!(
        "Distinct keys, each asked for once, with a cache of {CACHE_MIB} MiB.\n\n\
         | proxy | keys | CPU µs/request | requests/s | peak of memory over idle, by the cache's size |\n\
         |---|---:|---:|---:|---:|"
    );
    for (name, result) in results {
        match result {
            Ok([few, many]) => {
                pass(name, few, few);
                pass(name, many, few);
            }
            Err(error) => println!("| {name} | **FAILED**: {error} | | | |"),
        }
    }
    println!();
    results.iter().all(|(_, result)| result.is_ok())
}

/// With its ratios to the pass over few keys.
fn pass(name: &str, pass: &Pass, few: &Pass) {
    println!(
        "| {name} | {} | {:.1} ({:.2}) | {:.0} ({:.2}) | {:.2} |",
        pass.keys,
        pass.cpu_us,
        pass.cpu_us / few.cpu_us,
        pass.per_second,
        pass.per_second / few.per_second,
        pass.memory,
    );
}

/// One sentence; false if it failed.
pub(crate) fn first_byte(result: &Result<FirstByte>) -> bool {
    match result {
        Ok(time) => println!(
            "First byte of a 200 after exec (median of 20 starts): {:.1} ms through Thrust, {:.1} ms from the app alone.",
            time.through_thrust, time.app_alone
        ),
        Err(error) => println!("First byte after exec: **FAILED**: {error}"),
    }
    result.is_ok()
}

//! The tables, in Markdown.

use crate::{
    Result,
    contender::Contender,
    load::{Results, Sample},
    memory::Memory,
    options::{Options, Row},
    stats::{interval, median},
};

/// One line per row and contender; false if one of them failed.
pub(crate) fn load(options: &Options, contenders: &[Contender], results: &Results) -> bool {
    let mut all_well = true;
    println!(
        "Medians of {} interleaved rounds of {} s.\n",
        options.rounds, options.seconds
    );
    println!(
        "| load | proxy | CPU µs each | ratio to nginx (95 % interval) | each per CPU second | per second |"
    );
    println!("|---|---|---:|---|---:|---:|");
    let nginx = contenders.iter().position(|one| one.name == "nginx");
    for row in &options.rows {
        let base = nginx.and_then(|index| results.get(&(*row, index))?.as_deref().ok());
        for (index, contender) in contenders.iter().enumerate() {
            let Some(cell) = results.get(&(*row, index)) else {
                continue;
            };
            print!("| {} | {} ", label(*row), contender.name);
            match cell {
                Ok(samples) => println!("{}", columns(samples, base)),
                Err(error) => println!("| **FAILED**: {} | | | |", error.replace('\n', " ")),
            }
            all_well &= cell.is_ok();
        }
    }
    println!();
    all_well
}

fn label(row: Row) -> &'static str {
    match row {
        Row::FullHandshake => "TLS 1.3 handshake, full",
        Row::ResumedHandshake => "TLS 1.3 handshake, resumed",
        Row::OneKib => "HTTPS, 1 KiB, kept alive",
        Row::OneKibStreams => "h2, 1 KiB, 4 × 100 streams",
        Row::OneMibStreams => "h2, 1 MiB, 4 × 10 streams",
        Row::Memory => "memory",
    }
}

fn columns(samples: &[Sample], base: Option<&[Sample]>) -> String {
    let of = |figure: fn(&Sample) -> f64| median(&samples.iter().map(figure).collect::<Vec<_>>());
    let cpu = of(|sample| sample.cpu_us);
    let ratio = base.map_or_else(|| "–".into(), |base| ratio(samples, base));
    format!(
        "| {cpu:.1} | {ratio} | {:.0} | {:.0} |",
        1e6 / cpu,
        of(|sample| sample.per_second)
    )
}

/// Each round against the same round of nginx's.
fn ratio(samples: &[Sample], base: &[Sample]) -> String {
    let pairs = samples.iter().zip(base);
    let ratios: Vec<f64> = pairs
        .map(|(ours, theirs)| ours.cpu_us / theirs.cpu_us)
        .collect();
    match interval(&ratios) {
        Some((low, high)) => format!("{:.2} ({low:.2}–{high:.2})", median(&ratios)),
        None => format!("{:.2} (too few rounds)", median(&ratios)),
    }
}

/// One line per contender; false if one of them failed.
pub(crate) fn memory(options: &Options, results: &[(&'static str, Result<Memory>)]) -> bool {
    println!(
        "| proxy | PSS idle, KiB | PSS with {} idle TLS connections, KiB | KiB per idle connection |",
        options.idle
    );
    println!("|---|---:|---:|---:|");
    for (name, result) in results {
        match result {
            Ok(Memory { fresh, with_idle }) => {
                let each = (*with_idle as f64 - *fresh as f64) / options.idle as f64;
                println!("| {name} | {fresh} | {with_idle} | {each:.2} |");
            }
            Err(error) => println!("| {name} | **FAILED**: {error} | | |"),
        }
    }
    println!();
    results.iter().all(|(_, result)| result.is_ok())
}

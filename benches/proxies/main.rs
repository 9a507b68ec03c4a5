//! Thrust, nginx, HAProxy and Varnish before the same app, measured in turn on this machine.
//!
//! ```text
//! cargo bench --bench proxies                          # everything; about 25 minutes
//! cargo bench --bench proxies -- --rows proxy          # as a proxy: about 11 minutes
//! cargo bench --bench proxies -- --rows content        # cache, compression, files: about 13
//! cargo bench --bench proxies -- --rounds 3 --seconds 1 --rows 1k,close --log off
//! cargo bench --bench proxies -- --also 'thruster=HTTP_PORT={port} TARGET_PORT={upstream}
//!                                         LOG_REQUESTS={log} thruster sleep 1000'
//! ```
//!
//! Two executables of Thrust are compared in the same rounds, each row's ratio being that of now to before:
//!
//! ```text
//! cargo bench --bench proxies -- --rows 1k,untouched,untouched-browser --log off --rounds 20 --baseline before \
//!     --only thrust,before --also 'before=HTTP_PORT={port} TARGET_PORT={upstream}
//!                                  LOG_REQUESTS={log} /path/to/another/thrust sleep 100000'
//! ```
//!
//! | option | default | |
//! |---|---|---|
//! | `--rounds N` | 10 | interleaved rounds; the order of the contenders rotates |
//! | `--seconds S` | 2 | load per measurement |
//! | `--rows A,B` | all | those below, or `proxy` and `content` for all of a table |
//! | `--log off\|on\|both` | both | the access log during the load rows; `both` is off for the content rows |
//! | `--only A,B` | all | contenders by name: `thrust`, `nginx`, `haproxy`, `varnish`, `bare` and those of `--also` |
//! | `--also 'NAME=COMMAND'` | | one more proxy; repeatable |
//! | `--baseline NAME` | nginx | whom the ratios are taken against |
//! | `--connections N` | 64 | wrk's connections |
//! | `--idle N` | 10000 | idle connections of the memory row |
//! | `--settle S` | 5 | rest before memory is read, so that buffers may be given back |
//! | `--thrust PATH` | built by cargo | another Thrust executable |
//!
//! A COMMAND is split at spaces and may begin with `VAR=value` words; `{port}`, `{upstream}` (a port of 127.0.0.1),
//! `{threads}` and `{log}` (0 or 1) are filled in. Without `{log}` it takes no part in the rows with a log.
//!
//! | proxy row | |
//! |---|---|
//! | `1k`, `100k` | a body of that size |
//! | `close` | 1 KiB, a connection per request |
//! | `post` | 1 KiB to the app |
//! | `memory` | of the idle process, and with idle connections |
//! | `start` | from the exec to the first byte |
//!
//! | content row | |
//! |---|---|
//! | `untouched` | 1 KiB that can neither be kept nor compressed, to a client that names no coding |
//! | `untouched-browser` | HTML too short to be compressed, to a browser |
//! | `hit` | 20 KiB of HTML from the cache |
//! | `hit-gzip` | the same in gzip; nginx and HAProxy compress it for each request, Thrust and Varnish keep that form |
//! | `sendfile-100k` | a file that the app names: X-Sendfile, X-Accel-Redirect to nginx |
//! | `sendfile-100m` | 100 MiB on 4 connections; one that is under way at the end counts by its bytes |
//! | `gzip-30k` | 30 KiB of HTML that nobody may keep, in gzip |
//! | `zstd-30k` | the same to a browser: in zstd, or in gzip by who has no zstd |
//! | `keys` | 100,000 and 1,000,000 distinct keys, once each, and a cache of 64 MiB; the app makes 1 to 2 KiB for each |
//!
//! `bare` is hyper alone with the same answer in its memory: no proxy, and so in the row `hit` only, where it shows how much
//! of a hit is the kernel's and HTTP's.
//!
//! A contender is left out of a row that it has nothing for. Each is set up as one would deploy it for that very row, its
//! configuration being beside this file; Thrust has its defaults throughout.
//!
//! **How it counts.** CPU time is the run time of all threads of all processes of the proxy, from
//! /proc/PID/task/TID/schedstat, divided by wrk's count of answers; the app's, wrk's and our own do not count, nor
//! does a `sleep` that stands in for the app of an ENTRYPOINT. The kernel's network interrupts are charged to whoever
//! they interrupt, mostly who has just sent (unless the kernel was built to keep them apart): alike for all. Everyone
//! writes stdout and stderr into a pipe that we drain; Thrust and nginx buffer their log, HAProxy writes line by line.
//!
//! Compression is to be compared at equal size: beside the CPU time stands the body as it was sent, on average over all
//! answers, the framing of chunks included; Thrust's padding against BREACH is in it. nginx's level is the one whose
//! output comes nearest to Thrust's gzip.
//!
//! Memory is PSS from smaps_rollup (the kernel's socket buffers are not in it), with the access log on, read from a
//! fresh process after its first few requests, and again with the idle connections open, each of which was served once.
//! That of the keys row is the peak of the resident set, kept by the kernel, less what was resident before, as a multiple
//! of the cache's size; there every body is looked at, and the key asked for last must then come from the cache.
//! A ratio is the median of the per-round ratios; its interval is the distribution-free one between two order
//! statistics (binomial, at least 95 %), which needs six rounds.
//!
//! What is missing of nginx, haproxy, varnish and wrk is installed with apt-get where that may be done. An answer that is not
//! the right one fails its row, and the exit code is then 1.

mod app;
mod ask;
mod bare;
mod body;
mod child;
mod contender;
mod first_byte;
mod http;
mod keys;
mod load;
mod memory;
mod options;
mod port;
mod proc;
mod report;
mod row;
mod stats;
mod tools;
mod upstream;
mod verify;
mod wrk;

use contender::Contender;
use options::Options;
use row::Row;
use std::error::Error;
use std::process::ExitCode;

/// Whatever stops the bench or fails a row; it is only ever shown.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, port] = args.as_slice()
        && flag == "--app"
    {
        app::serve(port);
    }
    if let [flag, port] = args.as_slice()
        && flag == "--bare"
    {
        bare::serve(port);
    }
    // `cargo test --all-targets` runs benches too, without this flag; nobody wants minutes of load there.
    if !args.iter().any(|arg| arg == "--bench") {
        println!("to be run by `cargo bench --bench proxies`");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("proxies: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All rows asked for, one table each for load, memory and start; false if any of them failed.
fn run(args: &[String]) -> Result<bool> {
    let Some(options) = Options::parse(args)? else {
        println!("the options are in the head of benches/proxies/main.rs");
        return Ok(true);
    };
    child::end_all_on_signal()?;
    let open_files = proc::raise_open_files()?;
    if options.rows.contains(&Row::Memory) && (open_files as usize) < options.idle + 512 {
        return Err(format!(
            "{} idle connections need more than {open_files} open files",
            options.idle
        )
        .into());
    }
    let contenders = Contender::chosen(&options)?;
    tools::install(&contenders)?;
    let dir = tools::ScratchDir::create()?;
    let upstream = upstream::Upstream::start(dir.path())?;

    println!("{}\n", tools::describe_machine());
    let mut all_well = true;
    if options.rows.iter().any(|row| row.load().is_some()) {
        let results = load::measure(&options, &contenders, &upstream, dir.path())?;
        all_well &= report::load(&options, &contenders, &results);
    }
    if options.rows.contains(&Row::Memory) {
        let results = memory::measure(&options, &contenders, &upstream, dir.path());
        all_well &= report::memory(&options, &results);
    }
    if options.rows.contains(&Row::Keys) {
        all_well &= report::keys(&keys::measure(&contenders, &upstream, dir.path()));
    }
    if options.rows.contains(&Row::Start) {
        all_well &= report::first_byte(&first_byte::measure(&options.thrust));
    }
    Ok(all_well)
}

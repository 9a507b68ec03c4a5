//! Thrust, nginx and HAProxy as HTTPS proxies before the same app, measured in turn on this machine.
//!
//! ```text
//! cargo bench --bench secure                          # everything; about 10 minutes
//! cargo bench --bench secure -- --rounds 3 --seconds 1 --rows full,resumed
//! ```
//!
//! | option | default | |
//! |---|---|---|
//! | `--rounds N` | 10 | interleaved rounds; the order of the contenders rotates |
//! | `--seconds S` | 2 | load per measurement |
//! | `--rows A,B` | all | `full` and `resumed` (handshakes), `1k` (HTTP/1.1, kept alive), `h2-1k`, `h2-1m`, `memory` |
//! | `--only A,B` | all | contenders by name: `thrust`, `nginx`, `haproxy`, `bare` |
//! | `--idle N` | 2000 | idle connections of the memory row |
//! | `--settle S` | 5 | rest before memory is read, so that buffers may be given back |
//! | `--thrust PATH` | built by cargo | another Thrust executable |
//!
//! All have the same certificate (ECDSA with P-256), TLS 1.3, X25519 and the same app; no access log. A handshake is a
//! connection that is closed once it is up: close_notify, and then the server's end is awaited, so that its work is done and
//! its tickets have come. `bare` is hyper with tokio-rustls and nothing else: it has no app, and so takes part in the
//! handshakes and in the memory row alone.
//!
//! CPU time is counted as in `benches/proxies`, and so are the ratios: the median of the per-round ratios to nginx, with
//! its distribution-free interval. wrk and h2load make the load; what is missing of them is to be installed first
//! (`nginx haproxy wrk nghttp2-client`).

#[allow(dead_code, reason = "of the tests")]
#[path = "../../tests/real_clients/authority.rs"]
mod authority;
mod bare;
#[allow(dead_code, reason = "of another bench")]
#[path = "../proxies/child.rs"]
mod child;
mod client;
mod contender;
mod load;
mod memory;
mod options;
#[path = "../proxies/port.rs"]
mod port;
#[allow(dead_code, reason = "of another bench")]
#[path = "../proxies/proc.rs"]
mod proc;
mod report;
#[path = "../proxies/stats.rs"]
mod stats;
mod tools;
mod upstream;

use std::{error::Error, process::ExitCode};

use authority::Authority;
use contender::Contender;
use options::{Options, Row};

/// Whatever stops the bench or fails a row; it is only ever shown.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, port, dir] = args.as_slice()
        && flag == "--bare"
    {
        bare::serve(port, dir);
    }
    // `cargo test --all-targets` runs benches too, without this flag; nobody wants minutes of load there.
    if !args.iter().any(|arg| arg == "--bench") {
        println!("to be run by `cargo bench --bench secure`");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("secure: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All rows asked for; false if any of them failed.
fn run(args: &[String]) -> Result<bool> {
    let options = Options::parse(args)?;
    child::end_all_on_signal()?;
    proc::raise_open_files()?;
    tools::need(&["nginx", "haproxy", "wrk", "h2load"])?;
    let dir = tools::ScratchDir::create()?;
    let authority = Authority::new(dir.path());
    let upstream = upstream::Upstream::start(dir.path())?;
    let contenders = Contender::chosen(&options);
    let mut all_well = true;
    if options.rows.iter().any(|row| *row != Row::Memory) {
        let results = load::measure(&options, &contenders, &authority, &upstream, dir.path())?;
        all_well &= report::load(&options, &contenders, &results);
    }
    if options.rows.contains(&Row::Memory) {
        let results = memory::measure(&options, &contenders, &authority, &upstream, dir.path());
        all_well &= report::memory(&options, &results);
    }
    Ok(all_well)
}

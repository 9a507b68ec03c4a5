//! The street door: arguments and environment in, exit code out.

use std::{
    env,
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use thrust::{
    config::{self, Config, Invocation},
    journal::Stdout,
    service::Service,
    telemetry::{self, Loudness},
};
use tokio::runtime::{Builder, LocalOptions};

/// `EX_USAGE` of sysexits.h: the command line or the environment cannot be used.
const USAGE: u8 = 64;

/// How long the last log lines may take; a closed or blocked stdout does not keep us.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match config::from(env::args_os().skip(1), env::vars_os()) {
        Ok(Invocation::Run(config)) => run(config).into(),
        Ok(Invocation::Print(text)) => {
            // Whoever reads may have seen enough (`thrust --help | head`).
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            // It names us itself.
            say(&error);
            USAGE.into()
        }
    }
}

fn run(config: Config) -> u8 {
    let shape = config.log.format.shape();
    let stdout = match Stdout::start(shape) {
        Ok(stdout) => stdout,
        Err(error) => return fail(1, &error),
    };
    let loudness = match telemetry::init(stdout.clone(), shape, config.log.debug) {
        Ok(loudness) => loudness,
        Err(error) => return fail(1, &error),
    };
    let code = serve(config, stdout.clone(), loudness);
    stdout.flush(LAST_WORDS);
    code
}

fn serve(config: Config, stdout: Stdout, loudness: Loudness) -> u8 {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    runtime.block_on(async {
        match Service::start(config, stdout, loudness).await {
            Ok(service) => service.run().await,
            Err(error) => {
                let code = fail(error.exit_code(), &error);
                tracing::info!(
                    exit_code = code,
                    total_ms = 0,
                    drained = 0,
                    cut = 0,
                    "stopped"
                );
                code
            }
        }
    })
}

fn fail(code: u8, error: &dyn std::error::Error) -> u8 {
    complain(error);
    code
}

fn complain(error: &dyn std::error::Error) {
    say(&format_args!("thrust: {error}"));
}

fn say(text: &dyn Display) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

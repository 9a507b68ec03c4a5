//! What Thrust does all day, done once: the work that a build with profile-guided optimization is laid out for.
//!
//! ```text
//! benches/pgo/build                                   builds, practises, and builds again
//! cargo run --release --example practice THRUST       does the work with that executable; TIMES=N does less of it, or more
//! ```
//!
//! Each answer is looked at, and the first that is not as it should be ends it. What is not in here is taken to be rare, and
//! may become slower: a new feature that many requests pass through gets its requests in [`work`].

mod app;
mod client;
mod run;
mod work;

use std::{env, error::Error, path::Path, process::ExitCode};

use run::{Front, Run};
use tokio::{runtime::Builder, task::LocalSet};

/// Whatever stops it; it is only ever shown.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// As many clients at once.
const CLIENTS: usize = 8;

/// How often each of them goes through its list, unless `TIMES` says something else.
const TIMES: usize = 60;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let done = match arguments.as_slice() {
        [word, files] if word == "--app" => app::serve(Path::new(files)),
        [thrust] => practise(Path::new(thrust)),
        _ => Err("practice: one argument is needed, the executable of Thrust".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("practice: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As it is by default, with everything that is watched, and as the Internet sees it.
fn practise(thrust: &Path) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let times = match env::var("TIMES") {
        Ok(times) => times.parse()?,
        Err(_) => TIMES,
    };
    for front in [Front::Plain, Front::Watched, Front::Secure] {
        let run = Run::start(thrust, front)?;
        let worked = LocalSet::new().block_on(&runtime, work::all(&run, times));
        worked.map_err(|error| format!("{front:?}: {error}"))?;
        run.end()?;
    }
    Ok(())
}

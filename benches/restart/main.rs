//! What a restart costs the clients: new connections at a steady rate, SIGTERM, and what became of each of them.
//!
//! ```text
//! cargo bench --bench restart
//! cargo bench --bench restart -- --front '/path/to/another/thrust'
//! ```
//!
//! The app behind it closes its port as soon as it is told to stop and takes five seconds to exit, like a Puma with one
//! slow request left. The connections go on until the front has exited.
//!
//! | option | default | |
//! |---|---|---|
//! | `--front 'COMMAND'` | the thrust of this repository | another ENTRYPOINT; the app's command is appended, and HTTP_PORT and TARGET_PORT are set |
//! | `--rate N` | 200 | new connections a second |
//! | `--exit-after S` | 5 | how long the app takes to exit |
//!
//! A refused connection costs no request: nothing was accepted, so the load balancer, or the client, turns to another
//! server. A 502, a reset or a connection that ends without an answer is a request lost.

mod app;
mod load;

use std::{
    env,
    error::Error,
    io,
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use load::Load;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long the load runs before the signal.
const BEFORE: Duration = Duration::from_secs(2);

/// By when the front must answer, and by when it must have exited; more is a failure of its own.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [flag, seconds] = args.as_slice()
        && flag == "--app"
    {
        return finish(app::serve(seconds).map_err(Into::into));
    }
    // `cargo test --all-targets` runs benches too, without this flag.
    if !args.iter().any(|arg| arg == "--bench") {
        println!("to be run by `cargo bench --bench restart`");
        return ExitCode::SUCCESS;
    }
    finish(Options::parse(&args).and_then(|options| measure(&options)))
}

fn finish(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("restart: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line decides.
struct Options {
    front: String,
    rate: u32,
    exit_after: u64,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            front: env!("CARGO_BIN_EXE_thrust").to_owned(),
            rate: 200,
            exit_after: 5,
        };
        let mut args = args.iter().filter(|arg| *arg != "--bench");
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
            match name.as_str() {
                "--front" => options.front = value.clone(),
                "--rate" => options.rate = value.parse::<u32>()?.max(1),
                "--exit-after" => options.exit_after = value.parse()?,
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        Ok(options)
    }
}

fn measure(options: &Options) -> Result<()> {
    let mut front = Front::start(options)?;
    front.wait_until_it_answers()?;
    let load = Load::start(front.port, options.rate);
    // Not to order anything: this is the time in which all goes well, for comparison.
    std::thread::sleep(BEFORE);
    let signal = Instant::now();
    front.terminate()?;
    let status = front.wait()?;
    let took = signal.elapsed();
    let tally = load.end(signal)?;
    println!(
        "{} new connections a second; the app closes its port on SIGTERM and exits {} s later\n",
        options.rate, options.exit_after
    );
    print!("{tally}");
    println!("\n{status}, {:.2} s after the signal", took.as_secs_f64());
    Ok(())
}

/// The ENTRYPOINT under test with its app, killed if we fail.
struct Front {
    child: Child,
    port: u16,
}

impl Front {
    fn start(options: &Options) -> Result<Self> {
        let (port, target) = (free_port()?, free_port()?);
        let mut words = options.front.split_whitespace();
        let child = Command::new(words.next().ok_or("--front wants a command")?)
            .args(words)
            .arg(env::current_exe()?)
            .args(["--app", &options.exit_after.to_string()])
            .env("HTTP_PORT", port.to_string())
            .env("TARGET_PORT", target.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", options.front))?;
        Ok(Self { child, port })
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let began = Instant::now();
        while !load::answers(self.port) {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the front has left: {status}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err("the front does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn terminate(&self) -> Result<()> {
        Ok(kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )?)
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > PATIENCE {
                return Err("the front does not exit".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // TERM, so that it takes its app along; it has exited already unless we failed.
        let _ = self.terminate();
        let _ = self.child.wait();
    }
}

/// Free a moment ago: the front is to be told a number, whichever it is.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

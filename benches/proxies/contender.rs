//! The proxies, and how each is started.

use crate::child::Running;
use crate::options::Options;
use crate::row::{Load, Row};
use crate::upstream::Upstream;
use crate::{Result, port, tools};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The size of a cache whose memory is measured; Thrust's default.
pub(crate) const CACHE_MIB: u64 = 64;

/// A proxy to be measured.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Thrust(PathBuf),
    Nginx,
    HaProxy,
    Varnish,
    /// hyper alone, for what a hit costs at the least.
    Bare,
    /// A command with placeholders, from `--also`.
    Also(String),
}

/// What a contender is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Write its access log.
    pub(crate) log: bool,
    /// Have what the content rows need, where that costs memory at the start.
    pub(crate) content: bool,
}

/// A contender at work.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) port: u16,
    pub(crate) process: Running,
}

impl Contender {
    /// Those that the options leave in, in the order they are shown.
    pub(crate) fn chosen(options: &Options) -> Result<Vec<Self>> {
        let ours = [
            ("thrust", Kind::Thrust(options.thrust.clone())),
            ("nginx", Kind::Nginx),
            ("haproxy", Kind::HaProxy),
            ("varnish", Kind::Varnish),
            ("bare", Kind::Bare),
        ];
        let also = options
            .also
            .iter()
            .map(|(name, command)| (name.as_str(), Kind::Also(command.clone())));
        let mut all: Vec<Self> = ours
            .into_iter()
            .chain(also)
            .map(|(name, kind)| Self {
                name: name.to_owned(),
                kind,
            })
            .collect();
        if let Some(unknown) = options
            .only
            .iter()
            .find(|name| all.iter().all(|one| one.name != **name))
        {
            return Err(format!("--only: no contender {unknown}").into());
        }
        all.retain(|one| options.only.is_empty() || options.only.contains(&one.name));
        all.retain(|one| options.rows.iter().any(|row| one.takes_part(*row)));
        Ok(all)
    }

    /// The program that it needs, and the package of Debian's that it is in; both have the same name but for Varnish's.
    pub(crate) fn program(&self) -> Option<(&'static str, &'static str)> {
        match self.kind {
            Kind::Nginx => Some(("nginx", "nginx")),
            Kind::HaProxy => Some(("haproxy", "haproxy")),
            Kind::Varnish => Some(("varnishd", "varnish")),
            Kind::Thrust(_) | Kind::Bare | Kind::Also(_) => None,
        }
    }

    /// Whether it can run with its access log so. Varnish's is another program's.
    pub(crate) fn can_log(&self, log: bool) -> bool {
        match &self.kind {
            Kind::Also(command) => !log || command.contains("{log}"),
            Kind::Varnish | Kind::Bare => !log,
            Kind::Thrust(_) | Kind::Nginx | Kind::HaProxy => true,
        }
    }

    /// Whether a row asks for what it does. nginx keeps its cache in files and HAProxy in memory taken beforehand, so
    /// neither has a figure for many keys.
    pub(crate) fn takes_part(&self, row: Row) -> bool {
        use Load::{Gzip, Hit, HitGzip, SendfileLarge, SendfileSmall, Zstd};
        match self.kind {
            Kind::Thrust(_) | Kind::Also(_) => true,
            Kind::Nginx => row != Row::Keys,
            Kind::HaProxy => !matches!(
                row,
                Row::Keys | Row::Load(SendfileSmall | SendfileLarge | Zstd)
            ),
            Kind::Varnish => matches!(row, Row::Keys | Row::Load(Hit | HitGzip | Gzip)),
            Kind::Bare => row == Row::Load(Hit),
        }
    }

    /// Starts it before the app. Its files go below `dir`.
    pub(crate) fn start(&self, upstream: &Upstream, setup: Setup, dir: &Path) -> Result<Instance> {
        let start = || -> Result<Instance> {
            let port = port::free()?;
            let dir = dir.join(format!("{}-{port}", self.name));
            fs::create_dir(&dir)?;
            let mut process = Running::start(&mut self.command(port, upstream, setup, &dir)?)?;
            port::wait_for(port, &mut process)?;
            Ok(Instance { port, process })
        };
        start().map_err(|error| format!("{}: {error}", self.name).into())
    }

    fn command(&self, port: u16, upstream: &Upstream, setup: Setup, dir: &Path) -> Result<Command> {
        let Setup { log, content } = setup;
        let values = [
            ("port", port.to_string()),
            ("upstream", upstream.port.to_string()),
            ("www", upstream.www.display().to_string()),
            ("dir", dir.display().to_string()),
            ("content", if content { "" } else { "#" }.to_owned()),
            ("threads", std::thread::available_parallelism()?.to_string()),
        ];
        match &self.kind {
            Kind::Thrust(path) => Ok(thrust(path, port, upstream.port, log)),
            Kind::Nginx => {
                let log = if log {
                    "/dev/stdout thrust buffer=16k flush=1s"
                } else {
                    "off"
                };
                let conf = fill(include_str!("nginx.conf"), &[("access_log", log.into())]);
                configured("nginx", &["-c"], &fill(&conf, &values), dir)
            }
            Kind::HaProxy => {
                let log = if log { "" } else { "#" };
                let conf = fill(include_str!("haproxy.cfg"), &[("log", log.into())]);
                configured("haproxy", &["-db", "-f"], &fill(&conf, &values), dir)
            }
            Kind::Varnish => varnish(port, &fill(include_str!("varnish.vcl"), &values), dir),
            Kind::Bare => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--bare", &port.to_string()]);
                Ok(command)
            }
            Kind::Also(command) => {
                let command = fill(command, &[("log", u8::from(log).to_string())]);
                words(&fill(&command, &values))
            }
        }
    }
}

/// Thrust as an ENTRYPOINT whose app is a `sleep`; the real one listens already.
fn thrust(path: &Path, port: u16, upstream: u16, log: bool) -> Command {
    let mut command = Command::new(path);
    command
        .env("HTTP_PORT", port.to_string())
        .env("TARGET_PORT", upstream.to_string())
        .env("LOG_REQUESTS", u8::from(log).to_string())
        .env("CACHE_SIZE", format!("{CACHE_MIB}MB"))
        .args(["sleep", "100000"]);
    command
}

/// What Varnish says of a request in its log.
#[rustfmt::skip]
const MASKED: [&str; 25] = [
    "Begin", "End", "Link", "ReqStart", "ReqMethod", "ReqURL", "ReqProtocol", "ReqHeader", "ReqUnset", "ReqAcct", "RespProtocol",
    "RespStatus", "RespReason", "RespHeader", "RespUnset", "BereqMethod", "BereqURL", "BereqHeader", "BerespHeader", "VCL_call",
    "VCL_return", "Hit", "Timestamp", "Gzip", "TTL",
];

/// Varnish with as much memory for its cache. It always writes a log, to memory for other programs to read; since nobody
/// else logs in its rows, what it would write for each request is left out.
fn varnish(port: u16, vcl: &str, dir: &Path) -> Result<Command> {
    let mut command = configured("varnishd", &["-F", "-f"], vcl, dir)?;
    command
        .arg("-n")
        .arg(dir.join("work"))
        .args([
            "-a",
            &format!("127.0.0.1:{port}"),
            "-T",
            "none",
            "-j",
            "none",
        ])
        .args(["-s", &format!("malloc,{CACHE_MIB}m")])
        .args(["-p", &format!("vsl_mask=-{}", MASKED.join(",-"))]);
    Ok(command)
}

/// A program of Debian's with a configuration file of its own.
fn configured(program: &str, args: &[&str], conf: &str, dir: &Path) -> Result<Command> {
    let path = dir.join(format!("{program}.conf"));
    fs::write(&path, conf)?;
    let mut command = Command::new(tools::find(program).ok_or_else(|| format!("no {program}"))?);
    command.args(args).arg(path);
    Ok(command)
}

/// `VAR=value` words, then a program and its arguments.
fn words(line: &str) -> Result<Command> {
    let mut words = line.split_whitespace().peekable();
    let mut variables = Vec::new();
    while let Some(pair) = words.peek().and_then(|word| word.split_once('=')) {
        variables.push(pair);
        words.next();
    }
    let mut command = Command::new(words.next().ok_or("no program in the command of --also")?);
    command.envs(variables).args(words);
    Ok(command)
}

/// The template with each `{name}` replaced by its value; other braces stay as they are.
pub(crate) fn fill(template: &str, values: &[(&str, String)]) -> String {
    values
        .iter()
        .fold(template.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
}

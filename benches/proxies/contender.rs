//! The proxies, and how each is started.

use crate::child::Running;
use crate::options::Options;
use crate::{Result, http, port, tools};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    /// A command with placeholders, from `--also`.
    Also(String),
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
        Ok(all)
    }

    /// The program from Debian's packages that it needs.
    pub(crate) fn package(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Nginx => Some("nginx"),
            Kind::HaProxy => Some("haproxy"),
            Kind::Thrust(_) | Kind::Also(_) => None,
        }
    }

    /// Whether it can run with its access log so.
    pub(crate) fn can_log(&self, log: bool) -> bool {
        match &self.kind {
            Kind::Also(command) => !log || command.contains("{log}"),
            Kind::Thrust(_) | Kind::Nginx | Kind::HaProxy => true,
        }
    }

    /// Starts it before the app on port `upstream`, and checks every kind of answer. Its files go below `dir`.
    pub(crate) fn start(&self, upstream: u16, log: bool, dir: &Path) -> Result<Instance> {
        let start = || -> Result<Instance> {
            let port = port::free()?;
            let dir = dir.join(format!("{}-{port}", self.name));
            fs::create_dir(&dir)?;
            let mut process = Running::start(&mut self.command(port, upstream, log, &dir)?)?;
            port::wait_for(port, &mut process)?;
            http::verify(port).map_err(|error| format!("{error}; {}", process.last_words()))?;
            Ok(Instance { port, process })
        };
        start().map_err(|error| format!("{}: {error}", self.name).into())
    }

    fn command(&self, port: u16, upstream: u16, log: bool, dir: &Path) -> Result<Command> {
        let values = [
            ("port", port.to_string()),
            ("upstream", upstream.to_string()),
            ("dir", dir.display().to_string()),
            ("threads", std::thread::available_parallelism()?.to_string()),
        ];
        match &self.kind {
            Kind::Thrust(path) => Ok(thrust(path, port, upstream, log)),
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
        .args(["sleep", "100000"]);
    command
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

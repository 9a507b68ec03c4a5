//! The proxies, and how each is started.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Result, authority::Authority, child::Running, options::Options, port, tools};

/// A proxy to be measured.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Thrust(PathBuf),
    Nginx,
    HaProxy,
    Bare,
}

/// A contender at work.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) port: u16,
    pub(crate) process: Running,
}

impl Contender {
    /// Those that the options leave in, in the order they are shown.
    pub(crate) fn chosen(options: &Options) -> Vec<Self> {
        let mut all = vec![
            Self {
                name: "thrust",
                kind: Kind::Thrust(options.thrust.clone()),
            },
            Self {
                name: "nginx",
                kind: Kind::Nginx,
            },
            Self {
                name: "haproxy",
                kind: Kind::HaProxy,
            },
            Self {
                name: "bare",
                kind: Kind::Bare,
            },
        ];
        all.retain(|one| {
            options.only.is_empty() || options.only.iter().any(|name| name == one.name)
        });
        all
    }

    /// Whether there is an app behind it.
    pub(crate) fn is_proxy(&self) -> bool {
        !matches!(self.kind, Kind::Bare)
    }

    /// Starts it before the app on port `upstream`. Its files go below `dir`.
    pub(crate) fn start(
        &self,
        authority: &Authority,
        upstream: u16,
        dir: &Path,
    ) -> Result<Instance> {
        let start = || -> Result<Instance> {
            let port = port::free()?;
            let dir = dir.join(format!("{}-{port}", self.name));
            fs::create_dir(&dir)?;
            let mut process = Running::start(&mut self.command(authority, port, upstream, &dir)?)?;
            port::wait_for(port, &mut process)?;
            Ok(Instance { port, process })
        };
        start().map_err(|error| format!("{}: {error}", self.name).into())
    }

    fn command(
        &self,
        authority: &Authority,
        port: u16,
        upstream: u16,
        dir: &Path,
    ) -> Result<Command> {
        let pair = dir.join("pair.pem");
        let both = [
            fs::read(authority.certificate())?,
            fs::read(authority.key())?,
        ]
        .concat();
        fs::write(&pair, both)?;
        let values = [
            ("port", port.to_string()),
            ("upstream", upstream.to_string()),
            ("dir", dir.display().to_string()),
            ("threads", std::thread::available_parallelism()?.to_string()),
            ("certificate", authority.certificate().display().to_string()),
            ("key", authority.key().display().to_string()),
            ("pair", pair.display().to_string()),
        ];
        match &self.kind {
            Kind::Thrust(path) => thrust(path, authority, port, upstream),
            Kind::Nginx => configured(
                "nginx",
                &["-c"],
                &fill(include_str!("nginx.conf"), &values),
                dir,
            ),
            Kind::HaProxy => configured(
                "haproxy",
                &["-db", "-f"],
                &fill(include_str!("haproxy.cfg"), &values),
                dir,
            ),
            Kind::Bare => {
                let mut command = Command::new(env::current_exe()?);
                command.arg("--bare").arg(port.to_string());
                command.arg(authority.certificate().parent().ok_or("no directory")?);
                Ok(command)
            }
        }
    }
}

/// Thrust as an ENTRYPOINT whose app is a `sleep`; the real one listens already.
fn thrust(path: &Path, authority: &Authority, port: u16, upstream: u16) -> Result<Command> {
    let mut command = Command::new(path);
    command
        .env("HTTP_PORT", port::free()?.to_string())
        .env("HTTPS_PORT", port.to_string())
        .env("TARGET_PORT", upstream.to_string())
        .env("LOG_REQUESTS", "0")
        // They serve as they are told, and neither is compressed or kept.
        .env("GZIP_COMPRESSION_ENABLED", "0")
        .env("HTTP_IDLE_TIMEOUT", "3600")
        .env("THRUSTER_TLS_CERTIFICATE_PATH", authority.certificate())
        .env("THRUSTER_TLS_PRIVATE_KEY_PATH", authority.key())
        .args(["sleep", "100000"]);
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

/// The template with each `{name}` replaced by its value; other braces stay as they are.
pub(crate) fn fill(template: &str, values: &[(&str, String)]) -> String {
    let one =
        |text: String, (name, value): &(&str, String)| text.replace(&format!("{{{name}}}"), value);
    values.iter().fold(template.to_owned(), one)
}

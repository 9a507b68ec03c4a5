//! The machine: programs found and installed, a scratch directory, and what to say of it all in the report.

use crate::Result;
use crate::child::output_within;
use crate::contender::Contender;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The scratch directory in use, for the signal thread.
static SCRATCH: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Installs what is missing, or says what is. The app is always nginx.
pub(crate) fn install(contenders: &[Contender]) -> Result<()> {
    let mut wanted = vec![("nginx", "nginx"), ("wrk", "wrk")];
    wanted.extend(contenders.iter().filter_map(Contender::program));
    wanted.retain(|(program, _)| find(program).is_none());
    if wanted.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = wanted.iter().map(|(_, package)| *package).collect();
    if !is_root() || find("apt-get").is_none() {
        return Err(format!("please install {}", packages.join(", ")).into());
    }
    eprintln!("installing {}", packages.join(", "));
    // Lists may be absent, as in every container image, or stale; then the second attempt finds the packages.
    apt_get(&packages).or_else(|_| {
        output_within(
            Command::new("apt-get").arg("update"),
            Duration::from_secs(300),
        )?;
        apt_get(&packages)
    })?;
    match wanted.iter().find(|(program, _)| find(program).is_none()) {
        Some((name, _)) => Err(format!("{name} is still missing after its installation").into()),
        None => Ok(()),
    }
}

/// The owner of our own entry in /proc is our effective user.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn apt_get(packages: &[&str]) -> Result<String> {
    output_within(
        Command::new("apt-get")
            .args(["install", "-y", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
        Duration::from_secs(300),
    )
}

/// A program in PATH, or where Debian puts servers.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Kernel, cores, and the versions measured, in one line.
pub(crate) fn describe_machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Linux {}, {cores} cores, {}, {}, {}.",
        kernel.trim(),
        version("nginx", "nginx -v 2>&1"),
        version("haproxy", "haproxy -v"),
        version("varnish", "varnishd -V 2>&1 | tr -d '()'"),
    )
}

/// The first line in which it names its version.
fn version(program: &str, line: &str) -> String {
    // Both live where a user's PATH may not reach.
    let line = format!("PATH=$PATH:/usr/sbin; {line}");
    output_within(
        Command::new("sh").args(["-c", &line]),
        Duration::from_secs(5),
    )
    .ok()
    .and_then(|text| Some(text.lines().next()?.split(" - ").next()?.to_owned()))
    .unwrap_or_else(|| format!("no {program}"))
}

/// Configurations, the app's files and wrk's script; gone when dropped.
#[derive(Debug)]
pub(crate) struct ScratchDir(PathBuf);

impl ScratchDir {
    pub(crate) fn create() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("thrust-proxies-{}", std::process::id()));
        fs::create_dir(&path)?;
        *SCRATCH.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.clone());
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// For the signal thread, which cannot wait for the drop.
    pub(crate) fn remove_current() {
        if let Some(path) = SCRATCH
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            // What is left is in the temporary directory, where someone else cleans up.
            let _ = fs::remove_dir_all(path);
        }
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        Self::remove_current();
    }
}

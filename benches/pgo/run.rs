//! An executable of Thrust at work, with this one as its app.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Result, app};

/// How long a start may take, and a stop. Counters make everything slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// HTTP, as it is without a variable set.
    Plain,
    /// The same with metrics, and HTTP/2 without TLS.
    Watched,
    /// HTTPS.
    Secure,
}

/// Thrust and what it was started with; ended when dropped.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) front: Front,
    pub(crate) address: SocketAddr,
    child: Child,
    directory: PathBuf,
}

impl Run {
    pub(crate) fn start(thrust: &Path, front: Front) -> Result<Self> {
        let name = format!("thrust-practice-{}-{front:?}", process::id());
        let directory = env::temp_dir().join(name);
        fs::create_dir_all(&directory)?;
        app::write_files(&directory)?;
        let port = free_port()?;
        let mut run = Self {
            front,
            address: local(port),
            child: command(thrust, front, port, &directory)?.spawn()?,
            directory,
        };
        run.wait_until_it_accepts()?;
        Ok(run)
    }

    /// The certificate of its local CA, in PEM.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.join("local_ca.pem")
    }

    /// Stops it as a container's engine does; only then it writes what it has counted.
    pub(crate) fn end(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, Signal::SIGTERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > PATIENCE {
                return Err("Thrust does not stop".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn wait_until_it_accepts(&mut self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("Thrust does not start: {status}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err("Thrust does not listen".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn command(thrust: &Path, front: Front, port: u16, directory: &Path) -> Result<Command> {
    let mut command = Command::new(thrust);
    command
        .env("HTTP_PORT", port.to_string())
        .env("TARGET_PORT", free_port()?.to_string())
        .env("STORAGE_PATH", directory)
        .env("HTTP_DRAIN_TIMEOUT", "5")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    match front {
        Front::Plain => {}
        Front::Watched => {
            command.env("THRUSTER_STATUS_PORT", free_port()?.to_string());
            command.env("H2C_ENABLED", "1");
        }
        Front::Secure => {
            command.env("HTTP_PORT", free_port()?.to_string());
            command.env("HTTPS_PORT", port.to_string());
            command.env("THRUSTER_TLS_LOCAL", "1");
        }
    }
    // The app counts elsewhere, as we do; see `build`.
    let ours = env::var("LLVM_PROFILE_FILE").unwrap_or_default();
    if let Ok(counts) = env::var("COUNTS") {
        command.env("LLVM_PROFILE_FILE", counts);
    }
    command.arg("env").arg(format!("LLVM_PROFILE_FILE={ours}"));
    command.arg(env::current_exe()?).arg("--app").arg(directory);
    Ok(command)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(local(0))?.local_addr()?.port())
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

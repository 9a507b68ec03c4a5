//! The app: nginx, with two files.

use std::{fs, path::Path, process::Command};

use crate::{Result, child::Running, contender::fill, port, tools};

/// Stopped when dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) port: u16,
    _process: Running,
}

impl Upstream {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let www = dir.join("www");
        fs::create_dir(&www)?;
        fs::write(www.join("1k"), [b'a'; 1 << 10])?;
        fs::write(www.join("1m"), vec![b'a'; 1 << 20])?;
        // A copy: with the same file, PSS would give the proxy half of its code for free.
        let program = dir.join("app-nginx");
        fs::copy(tools::find("nginx").ok_or("no nginx")?, &program)?;
        let port = port::free()?;
        let conf = dir.join("upstream.conf");
        let values = [
            ("port", port.to_string()),
            ("dir", dir.display().to_string()),
        ];
        fs::write(&conf, fill(include_str!("upstream.conf"), &values))?;
        let mut process = Running::start(Command::new(program).arg("-c").arg(&conf))?;
        port::wait_for(port, &mut process).map_err(|error| format!("the app: {error}"))?;
        Ok(Self {
            port,
            _process: process,
        })
    }
}

//! The app: an nginx that serves a few files, takes a POST and makes up a response for each of many keys.

use crate::child::Running;
use crate::contender::fill;
use crate::{Result, body, keys, port, tools, verify};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The running app, the same one for every contender.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) port: u16,
    /// Where its files are, for a proxy that sends them itself.
    pub(crate) www: PathBuf,
    _process: Running,
}

impl Upstream {
    /// All its files have just been written, and so are in the page cache.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let www = dir.join("www");
        fs::create_dir(&www)?;
        for (name, contents) in body::files() {
            fs::write(www.join(name), contents)?;
        }

        // A copy: with the same file, PSS would give the proxy half of its code for free.
        let program = dir.join("app-nginx");
        fs::copy(tools::find("nginx").ok_or("no nginx")?, &program)?;
        let port = port::free()?;
        let conf = dir.join("nginx-upstream.conf");
        let values = [
            ("port", port.to_string()),
            ("dir", dir.display().to_string()),
            ("fillings", keys::fillings_by_last_digit()),
        ];
        fs::write(&conf, fill(include_str!("nginx-upstream.conf"), &values))?;

        let mut process = Running::start(Command::new(program).arg("-c").arg(&conf))?;
        port::wait_for(port, &mut process).map_err(|error| format!("the app: {error}"))?;
        verify::proxy(port).map_err(|error| format!("the app: {error}"))?;
        Ok(Self {
            port,
            www,
            _process: process,
        })
    }
}

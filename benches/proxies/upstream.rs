//! The app: an nginx that serves two small files and takes a POST.

use crate::child::Running;
use crate::contender::fill;
use crate::{Result, http, port, tools};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The running app, the same one for every contender.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) port: u16,
    _process: Running,
}

impl Upstream {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let www = dir.join("www");
        fs::create_dir(&www)?;
        fs::write(www.join("1k"), http::contents(http::ONE_KIB))?;
        fs::write(www.join("100k"), http::contents(http::HUNDRED_KIB))?;

        // A copy: with the same file, PSS would give the proxy half of its code for free.
        let program = dir.join("app-nginx");
        fs::copy(tools::find("nginx").ok_or("no nginx")?, &program)?;
        let port = port::free()?;
        let conf = dir.join("nginx-upstream.conf");
        let values = [
            ("port", port.to_string()),
            ("dir", dir.display().to_string()),
        ];
        fs::write(&conf, fill(include_str!("nginx-upstream.conf"), &values))?;

        let mut process = Running::start(Command::new(program).arg("-c").arg(&conf))?;
        port::wait_for(port, &mut process).map_err(|error| format!("the app: {error}"))?;
        http::verify(port).map_err(|error| format!("the app: {error}"))?;
        Ok(Self {
            port,
            _process: process,
        })
    }
}

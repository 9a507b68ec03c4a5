//! The port that speaks TLS, with a certificate of the test's own.

use std::{env, fs, path::PathBuf, process};

use crate::{
    authority::Authority,
    load::{Front, Secure},
    support::{Builder, ReservedPort},
};

/// Of one run.
#[derive(Debug)]
pub(crate) struct SecureFront {
    port: ReservedPort,
    authority: Authority,
    directory: PathBuf,
}

impl SecureFront {
    pub(crate) fn new(run: usize) -> Self {
        let directory = env::temp_dir().join(format!("thrust-stress-{}-{run}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        SecureFront {
            port: ReservedPort::front(),
            authority: Authority::new(&directory),
            directory,
        }
    }

    pub(crate) fn set_up(&self, builder: Builder) -> Builder {
        builder
            .env("HTTPS_PORT", self.port.number().to_string())
            .env(
                "THRUSTER_TLS_CERTIFICATE_PATH",
                self.authority.certificate(),
            )
            .env("THRUSTER_TLS_PRIVATE_KEY_PATH", self.authority.key())
    }

    pub(crate) fn front(&self) -> Front {
        let secure = Secure {
            http_1: self.authority.client("http/1.1"),
            http_2: self.authority.client("h2"),
        };
        Front::Secure(self.port.number(), secure)
    }
}

impl Drop for SecureFront {
    fn drop(&mut self) {
        // What is left is in the temporary directory.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

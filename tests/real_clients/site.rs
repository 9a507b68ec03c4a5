//! Thrust with a certificate of the test's CA.

use std::{
    env, fs,
    path::PathBuf,
    process,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use crate::{
    authority::Authority,
    support::{Builder, ReservedPort, Thrust},
};

/// HTTPS for localhost and test.example.
pub(crate) struct Site {
    _thrust: Thrust,
    pub(crate) port: u16,
    pub(crate) authority: Authority,
    directory: PathBuf,
    _reserved: ReservedPort,
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    pub(crate) fn start_with(settings: impl FnOnce(Builder) -> Builder) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "thrust-site-{}-{}",
            process::id(),
            COUNT.fetch_add(1, SeqCst)
        );
        let directory = env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let (reserved, authority) = (ReservedPort::front(), Authority::new(&directory));
        let builder = Thrust::builder()
            .env("HTTPS_PORT", reserved.number().to_string())
            .env("THRUSTER_TLS_CERTIFICATE_PATH", authority.certificate())
            .env("THRUSTER_TLS_PRIVATE_KEY_PATH", authority.key());
        Site {
            _thrust: settings(builder).start(),
            port: reserved.number(),
            authority,
            directory,
            _reserved: reserved,
        }
    }

    /// `https://localhost:PORT/path`
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// `localhost:PORT`
    pub(crate) fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub(crate) fn ca(&self) -> String {
        self.authority.ca().display().to_string()
    }

    /// The path of a file that goes with the test.
    pub(crate) fn file(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What is left is in the temporary directory.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

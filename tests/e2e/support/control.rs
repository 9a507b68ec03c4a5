//! `thrustctl`, as a person or a probe runs it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use super::Thrust;

/// What one run of it came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().expect("it is not killed"),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// With these words, and this environment only.
pub(crate) fn thrustctl(words: &[&str], environment: &[(&str, &OsStr)]) -> Said {
    command(words, environment)
        .output()
        .expect("it is built with its tests")
        .into()
}

fn command(words: &[&str], environment: &[(&str, &OsStr)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thrustctl"));
    command.env_clear().args(words).stdin(Stdio::null());
    command.envs(environment.iter().copied());
    command
}

impl Thrust {
    /// Where the test wants its control socket to be.
    pub(crate) fn control_socket(&self) -> PathBuf {
        control_socket(self.directory())
    }

    /// Runs `thrustctl` on it, to its end.
    pub(crate) fn control(&self, words: &[&str]) -> Said {
        let socket = self.control_socket();
        thrustctl(words, &[("THRUSTER_CONTROL_SOCKET", socket.as_os_str())])
    }

    /// The same, and what there is to say when it is done as asked.
    #[track_caller]
    pub(crate) fn do_control(&self, words: &[&str]) -> String {
        let said = self.control(words);
        assert_eq!((said.code, &*said.err), (0, ""), "{words:?}: {said:?}");
        said.out
    }

    /// Runs `thrustctl` on it, and does not wait for its end.
    pub(crate) fn begin_control(&self, words: &[&str]) -> Child {
        let socket = self.control_socket();
        command(words, &[("THRUSTER_CONTROL_SOCKET", socket.as_os_str())])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is built with its tests")
    }
}

/// In a test's directory.
pub(super) fn control_socket(directory: &Path) -> PathBuf {
    directory.join("control")
}

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{manifest::Manifest, pod::Pod};

/// It runs where an outer container holds back what Podman would raise, and where there is no systemd.
const CONFIGURATION: &str = r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"#;

/// Podman with a store of its own, which goes with the test.
#[derive(Debug)]
pub(crate) struct Engine {
    directory: PathBuf,
}

/// A manifest's pods, gone when this goes out of scope.
#[derive(Debug)]
pub(crate) struct Played<'a> {
    engine: &'a Engine,
    file: PathBuf,
}

impl Engine {
    /// Podman, or none with the reason printed.
    pub(crate) fn or_skip() -> Option<Self> {
        match Self::start() {
            Ok(engine) => Some(engine),
            Err(reason) if env::var_os("CI").is_some() => panic!("no podman here: {reason}"),
            Err(reason) => {
                eprintln!("SKIPPED: no podman here: {reason}");
                None
            }
        }
    }

    fn start() -> Result<Self, String> {
        for program in ["podman", "runc", "catatonit", "debootstrap"] {
            let found = Command::new(program).arg("--version").output();
            found.map_err(|_| format!("{program} is missing: apt-get install {program}"))?;
        }
        let directory = env::temp_dir().join(format!("thrust-podman-{}", std::process::id()));
        fs::create_dir(&directory).map_err(|error| error.to_string())?;
        fs::write(directory.join("containers.conf"), CONFIGURATION)
            .map_err(|error| error.to_string())?;
        let engine = Self { directory };
        let output = engine.command(&["info"]).output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(engine),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(self.directory.join("root"))
            .arg("--runroot")
            .arg(self.directory.join("run"))
            .args(args)
            .env("CONTAINERS_CONF", self.directory.join("containers.conf"))
            .stdin(Stdio::null());
        command
    }

    /// What podman prints; anything but success fails the test.
    pub(crate) fn tell(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (printed, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "podman {args:?}\n{printed}\n{errors}"
        );
        printed
    }

    /// A new image from the Dockerfile in `context`.
    pub(crate) fn build(&self, tag: &str, context: &Path, arguments: &[(&str, &str)]) {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|(name, value)| format!("--build-arg={name}={value}"))
            .collect();
        // Docker's format, as only that has a STOPSIGNAL for all.
        let mut args = vec![
            "build",
            "--quiet",
            "--format=docker",
            "--network=none",
            "--tag",
            tag,
        ];
        args.extend(arguments.iter().map(String::as_str));
        args.push(context.to_str().unwrap());
        self.tell(&args);
    }

    pub(crate) fn inspect(&self, what: &str, format: &str) -> String {
        self.tell(&["inspect", "--format", format, what])
    }

    /// `podman kube play`
    pub(crate) fn play(&self, manifest: &Manifest) -> Played<'_> {
        let file = self.directory.join("deployment.yaml");
        fs::write(&file, manifest.for_podman()).unwrap();
        let played = Played { engine: self, file };
        self.tell(&["kube", "play", "--network=none", played.file()]);
        played
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Its store has mounts and owners of its own.
        let _ = self.command(&["system", "reset", "--force"]).output();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Played<'_> {
    /// Each by its container; the one that holds a pod together is left out.
    pub(crate) fn pods(&self) -> Vec<Pod<'_>> {
        let args = ["ps", "--all", "--quiet", "--filter", "label=app=web"];
        let containers = self.engine.tell(&args);
        let all = containers.lines().map(|container| Pod {
            engine: self.engine,
            container: container.to_owned(),
        });
        all.filter(|pod| pod.inspect("{{.IsInfra}}") == "false")
            .collect()
    }

    fn file(&self) -> &str {
        self.file.to_str().unwrap()
    }
}

impl Drop for Played<'_> {
    fn drop(&mut self) {
        let _ = self.engine.command(&["kube", "down", self.file()]).output();
    }
}

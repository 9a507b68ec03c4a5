//! Chromium, without a window.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
};

use crate::{
    page::{self, ASSETS, MESSAGES},
    support::{ReservedPort, Thrust, alone, kill_group, seconds},
    tool,
};

const CHROMIUM: &[(&str, &str)] = &[("chromium", "chromium"), ("certutil", "libnss3-tools")];

/// A browser takes its time where others are at work.
const PATIENCE: u64 = 60;

#[test]
fn a_page_with_fifty_assets_comes_over_http_2_and_its_web_socket_holds() {
    if !tool::are_here(CHROMIUM) {
        return;
    }
    let _alone = alone();
    let home = Home::new("page");
    let reserved = ReservedPort::front();
    let thrust = Thrust::builder()
        .env("HTTPS_PORT", reserved.number().to_string())
        .env("THRUSTER_TLS_LOCAL", "1")
        .env("STORAGE_PATH", home.0.join("storage"))
        .played()
        .start();
    let said = thrust.find(seconds(PATIENCE), |record| record.has("ca"));
    let ca = said.expect("the path of the CA").field("ca").to_owned();
    let reports = page::serve(thrust.app().socket().try_clone().unwrap());
    let url = format!("https://localhost:{}/", reserved.number());
    let _browser = Browser::open(&url, Path::new(&ca), &home.0);
    let report = reports.recv_timeout(seconds(PATIENCE));
    let wanted = format!("page=h2&assets={ASSETS}&h2={ASSETS}&socket=ok&heard={MESSAGES}");
    assert_eq!(report, Ok(wanted));
}

/// A directory that goes with the test.
pub(crate) struct Home(pub(crate) PathBuf);

impl Home {
    pub(crate) fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("thrust-chromium-{}-{name}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Home(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What is left is in the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A browser and its many processes; ended when dropped.
struct Browser(Child);

impl Browser {
    /// Opens `url` with an empty profile below `home`, which trusts `ca`.
    fn open(url: &str, ca: &Path, home: &Path) -> Self {
        let database = home.join(".pki/nssdb");
        fs::create_dir_all(&database).unwrap();
        let database = format!("sql:{}", database.display());
        let ca = ca.display().to_string();
        tool::output("certutil", &["-d", &database, "-N", "--empty-password"]);
        tool::output(
            "certutil",
            &[
                "-d", &database, "-A", "-t", "C,,", "-n", "the CA", "-i", &ca,
            ],
        );
        let mut command = command(home);
        command.arg(url);
        Browser(command.spawn().expect("it is here"))
    }
}

/// Chromium without a window, with its profile below `home`, in a process group of its own.
pub(crate) fn command(home: &Path) -> Command {
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    command.arg(format!(
        "--user-data-dir={}",
        home.join("profile").display()
    ));
    command.env("HOME", home).process_group(0);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

impl Drop for Browser {
    fn drop(&mut self) {
        kill_group(self.0.id(), libc::SIGKILL);
        let _ = self.0.wait();
    }
}

//! Chromium, without a window.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    page::{self, ASSETS, MESSAGES},
    site::Site,
    support::{alone, kill_group, seconds},
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
    let site = Site::start_with(|builder| builder.played());
    let reports = page::serve(site.thrust.app().socket().try_clone().unwrap());
    let _browser = Browser::open(
        &site.url("/"),
        &site.authority.ca(),
        &site.directory().join("home"),
    );
    let report = reports.recv_timeout(seconds(PATIENCE));
    let wanted = format!("page=h2&assets={ASSETS}&h2={ASSETS}&socket=ok&heard={MESSAGES}");
    assert_eq!(report, Ok(wanted));
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
        command
            .arg(format!(
                "--user-data-dir={}",
                home.join("profile").display()
            ))
            .arg(url);
        command.env("HOME", home).process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Browser(command.spawn().expect("it is here"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        kill_group(self.0.id(), libc::SIGKILL);
        let _ = self.0.wait();
    }
}

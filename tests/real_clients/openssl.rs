//! OpenSSL's `s_client`.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use crate::{site::Site, tool};

const OPENSSL: &[(&str, &str)] = &[("openssl", "openssl")];

/// One request on a connection that the server is to close.
pub(crate) const REQUEST: &str =
    "GET /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Asks once, and returns all that is said about it.
fn s_client(site: &Site, arguments: &[&str]) -> (String, Output) {
    let (address, ca) = (site.address(), site.ca());
    let mut command = Command::new("openssl");
    // Without `-ign_eof` it leaves as soon as stdin ends, before the answer.
    command.args([
        "s_client",
        "-connect",
        &address,
        "-servername",
        "localhost",
        "-CAfile",
        &ca,
        "-ign_eof",
    ]);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may be gone before it reads.
    let _ = child.stdin.take().unwrap().write_all(REQUEST.as_bytes());
    let output = child.wait_with_output().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output)
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    if !tool::are_here(OPENSSL) {
        return;
    }
    let site = Site::start();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (said, output) = s_client(&site, &[version]);
        assert!(said.contains("hello from "), "{version}: {output:?}");
        assert!(said.contains(&format!("New, {name}, Cipher is ")), "{said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    }
    for version in ["-tls1", "-tls1_1"] {
        // Its own defences down, so that it is the server who refuses.
        let (said, output) = s_client(&site, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(!said.contains("hello from "), "{version}: {said}");
        // That its version is too old, or that its ciphers are.
        let complaint = String::from_utf8_lossy(&output.stderr);
        let alert = ["alert protocol version", "alert handshake failure"];
        assert!(
            alert.iter().any(|alert| complaint.contains(alert)),
            "{complaint}"
        );
    }
}

#[test]
fn the_least_version_can_be_raised() {
    if !tool::are_here(OPENSSL) {
        return;
    }
    let site = Site::start_with(|builder| builder.env("THRUSTER_TLS_MIN_VERSION", "1.3"));
    assert!(s_client(&site, &["-tls1_3"]).0.contains("hello from "));
    let (said, output) = s_client(&site, &["-tls1_2"]);
    assert!(!said.contains("hello from "), "{said}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("alert protocol version"), "{complaint}");
}

#[test]
fn a_ticket_is_good_on_another_connection() {
    if !tool::are_here(OPENSSL) {
        return;
    }
    let site = Site::start();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let ticket = site.file(name);
        let (said, _) = s_client(&site, &[version, "-sess_out", &ticket]);
        assert!(said.contains(&format!("New, {name}")), "{said}");
        // Any of the cores may get it.
        for _ in 0..4 {
            let (said, _) = s_client(&site, &[version, "-sess_in", &ticket]);
            assert!(said.contains(&format!("Reused, {name}")), "{said}");
            assert!(said.contains("hello from "), "{said}");
        }
    }
}

#[test]
fn close_notify_comes_before_the_end() {
    if !tool::are_here(OPENSSL) {
        return;
    }
    let site = Site::start();
    for version in ["-tls1_2", "-tls1_3"] {
        let (said, _) = s_client(&site, &[version, "-msg"]);
        let (_, after) = said.split_once("hello from ").unwrap();
        let heard = after.lines().any(|line| {
            line.starts_with("<<<") && line.contains("Alert") && line.contains("close_notify")
        });
        assert!(heard, "{version}: {after}");
    }
}

#[test]
fn nothing_is_taken_before_the_handshake_is_over() {
    if !tool::are_here(OPENSSL) {
        return;
    }
    let site = Site::start();
    let ticket = site.file("ticket");
    let (said, _) = s_client(&site, &["-tls1_3", "-sess_out", &ticket]);
    assert!(said.contains("Max Early Data: 0"), "{said}");
    let early = site.file("early");
    std::fs::write(&early, REQUEST).unwrap();
    let (said, _) = s_client(
        &site,
        &["-tls1_3", "-sess_in", &ticket, "-early_data", &early],
    );
    assert!(!said.contains("Early data was accepted"), "{said}");
}

#[test]
fn alpn_names_what_both_speak() {
    if !tool::are_here(OPENSSL) {
        return;
    }
    let site = Site::start();
    for (offered, chosen) in [
        ("h2,http/1.1", "ALPN protocol: h2"),
        ("http/1.1,h2", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
    ] {
        let (said, _) = s_client(&site, &["-alpn", offered]);
        assert!(said.contains(chosen), "{offered}: {said}");
    }
    let (said, output) = s_client(&site, &["-alpn", "spdy/3"]);
    assert!(!said.contains("hello from "), "{said}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("no application protocol"), "{complaint}");
}

//! testssl.sh.

use serde_json::Value;

use crate::{site::Site, tool};

/// What it says about the CA of the test, which has no place where certificates are revoked, about the DNS of localhost, and
/// about the fields of the app.
const NOT_OURS: &[&str] = &[
    "cert_revocation",
    "cert_crlDistributionPoints",
    "cert_ocspURL",
    "DNS_CAArecord",
    "security_headers",
];

/// What is more than low.
const SEVERITIES: [&str; 4] = ["MEDIUM", "HIGH", "CRITICAL", "FATAL"];

#[test]
fn nothing_above_low_is_found() {
    if !tool::are_here(&[("testssl", "testssl.sh"), ("hexdump", "bsdextrautils")]) {
        return;
    }
    let site = Site::start();
    let (report, ca, address) = (site.file("report.json"), site.ca(), site.address());
    // What it returns is the count of its findings.
    let arguments = [
        "--quiet",
        "--color",
        "0",
        "--warnings",
        "batch",
        "--connect-timeout",
        "10",
        "--openssl-timeout",
        "10",
        "--ip",
        "127.0.0.1",
        "--nodns",
        "none",
        "--add-ca",
        &ca,
        "--jsonfile",
        &report,
        &address,
    ];
    let output = tool::run("testssl", &arguments);
    let findings: Vec<Value> = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let of = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| SEVERITIES.contains(&&*of(finding, "severity")))
        .filter(|finding| !NOT_OURS.iter().any(|id| of(finding, "id").starts_with(id)))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    // Nor has it given up half-way.
    let looked_at = |id: &str| {
        findings
            .iter()
            .any(|finding| of(finding, "id").starts_with(id))
    };
    for id in [
        "TLS1_3",
        "cipherlist_",
        "heartbleed",
        "ROBOT",
        "LUCKY13",
        "ALPN",
    ] {
        assert!(
            looked_at(id),
            "nothing on {id}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

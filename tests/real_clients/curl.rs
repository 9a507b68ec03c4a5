//! curl.

use std::fs;

use crate::{site::Site, support::Thrust, tool};

const CURL: &[(&str, &str)] = &[("curl", "curl")];

/// What curl says of an answer: its version and status.
const ANSWER: &str = "\n%{http_version} %{response_code}";

/// Enough for every window and buffer on the way to fill and empty many times.
const LARGE: usize = 20_000_000;

fn curl(site: &Site, arguments: &[&str]) -> String {
    let ca = site.ca();
    let common = ["-sS", "--max-time", "60", "--cacert", &ca, "-w", ANSWER];
    let said = tool::output("curl", &[&common, arguments].concat());
    said.trim().to_owned()
}

#[test]
fn alpn_chooses_http_2_or_http_1_1() {
    if !tool::are_here(CURL) {
        return;
    }
    let site = Site::start();
    let (nowhere, url) = (site.file("answer"), site.url("/hello"));
    let asks = |arguments: &[&str]| curl(&site, &[arguments, &["-o", &nowhere, &url]].concat());
    assert_eq!(asks(&["--http2"]), "2 200");
    assert_eq!(asks(&["--http1.1"]), "1.1 200");
    assert_eq!(asks(&["--no-alpn"]), "1.1 200");
    // It offers `http/1.0` and nothing else.
    assert!(asks(&["--http1.0"]).ends_with(" 200"));
    assert_eq!(asks(&["--tls-max", "1.2"]), "2 200");
}

#[test]
fn prior_knowledge_is_enough_on_the_plain_port() {
    if !tool::are_here(CURL) {
        return;
    }
    let thrust = Thrust::builder().env("H2C_ENABLED", "1").start();
    let url = format!("http://localhost:{}/hello", thrust.port());
    let asks = |version| {
        let arguments = ["-sS", "-o", "/dev/null", "-w", ANSWER, version, &url];
        tool::output("curl", &arguments).trim().to_owned()
    };
    assert_eq!(asks("--http2-prior-knowledge"), "2 200");
    assert_eq!(asks("--http1.1"), "1.1 200");
    // Asks to be upgraded; nobody does.
    assert_eq!(asks("--http2"), "1.1 200");
}

#[test]
fn a_large_download_comes_whole() {
    if !tool::are_here(CURL) {
        return;
    }
    let site = Site::start();
    let url = site.url(&format!("/bytes?n={LARGE}"));
    let (first, second) = (site.file("first"), site.file("second"));
    assert_eq!(curl(&site, &["--http2", "-o", &first, &url]), "2 200");
    assert_eq!(curl(&site, &["--http1.1", "-o", &second, &url]), "1.1 200");
    let first = fs::read(first).unwrap();
    assert_eq!(first.len(), LARGE);
    assert!(first == fs::read(second).unwrap(), "they differ");
}

#[test]
fn a_large_upload_comes_whole() {
    if !tool::are_here(CURL) {
        return;
    }
    let site = Site::start();
    let (body, url) = (site.file("body"), site.url("/upload"));
    let octets: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    fs::write(&body, octets).unwrap();
    let from_file = format!("@{body}");
    let by_http_2 = curl(&site, &["--http2", "--data-binary", &from_file, &url]);
    let by_http_1 = curl(&site, &["--http1.1", "--data-binary", &from_file, &url]);
    // Without a length, and so in chunks and in DATA alone.
    let piped = format!(
        "cat {body} | curl -sS --max-time 60 --cacert {} --http2 -T - -X POST {url}",
        site.ca()
    );
    let without_length = tool::output("sh", &["-c", &piped]);
    let words = |said: &str| {
        said.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (by_http_2, by_http_1) = (words(&by_http_2), words(&by_http_1));
    assert_eq!(by_http_2[0], LARGE.to_string());
    assert_eq!(by_http_2[2..], ["2", "200"]);
    assert_eq!(by_http_1[2..], ["1.1", "200"]);
    // The same checksum each time.
    assert_eq!(by_http_1[..2], by_http_2[..2]);
    assert_eq!(words(&without_length), by_http_2[..2]);
}

#[test]
fn fifty_at_once_share_a_connection() {
    if !tool::are_here(CURL) {
        return;
    }
    let site = Site::start();
    let urls: Vec<_> = (0..50)
        .map(|number| site.url(&format!("/bytes?n={number}")))
        .collect();
    let mut arguments = vec!["-Z", "--http2"];
    for url in &urls {
        arguments.extend(["-o", "/dev/null", url]);
    }
    let connects = "%{num_connects} ";
    arguments.extend(["-w", connects]);
    let said = curl(&site, &arguments);
    let connections: u32 = said
        .split_whitespace()
        .map(|count| count.parse::<u32>().unwrap())
        .sum();
    assert_eq!(said.split_whitespace().count(), 50);
    assert_eq!(connections, 1, "{said}");
}

#[test]
fn a_name_that_is_not_in_the_certificate_is_told_by_the_client() {
    if !tool::are_here(CURL) {
        return;
    }
    let site = Site::start();
    let resolve = format!("other.example:{}:127.0.0.1", site.port);
    let url = format!("https://other.example:{}/hello", site.port);
    let ca = site.ca();
    let output = tool::run(
        "curl",
        &["-sS", "--cacert", &ca, "--resolve", &resolve, &url],
    );
    // curl's own: the peer's certificate is not for this name; or ours: there is none for it.
    assert!(matches!(output.status.code(), Some(35 | 60)), "{output:?}");
}

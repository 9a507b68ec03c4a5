//! nghttp and h2load, of nghttp2.

use crate::{
    site::Site,
    support::{Thrust, alone},
    tool,
};

const NGHTTP2: &[(&str, &str)] = &[("nghttp", "nghttp2-client"), ("h2load", "nghttp2-client")];

#[test]
fn nghttp_sees_no_protocol_error() {
    if !tool::are_here(NGHTTP2) {
        return;
    }
    let site = Site::start();
    let said = tool::output(
        "nghttp",
        &[
            "-nv",
            "--no-dep",
            &site.url("/hello"),
            &site.url("/bytes?n=500000"),
        ],
    );
    assert!(said.contains(":status: 200"), "{said}");
    assert!(!said.contains("recv RST_STREAM"), "{said}");
    // A GOAWAY is fine if nothing was wrong.
    let errors = said
        .lines()
        .filter(|line| line.contains("error_code=") && !line.contains("NO_ERROR"));
    assert_eq!(errors.count(), 0, "{said}");
}

#[test]
fn h2load_has_every_answer() {
    if !tool::are_here(NGHTTP2) {
        return;
    }
    let _alone = alone();
    let site = Site::start();
    // Ten requests at once on each connection, or one after the other.
    for version in ["-m10", "--h1"] {
        let arguments = [
            "-n",
            "4000",
            "-c",
            "10",
            version,
            &site.url("/bytes?n=1024"),
        ];
        assert_all_succeeded(&tool::output("h2load", &arguments), 4_000);
    }
}

#[test]
fn h2load_has_every_answer_without_tls() {
    if !tool::are_here(NGHTTP2) {
        return;
    }
    let _alone = alone();
    let thrust = Thrust::builder().env("H2C_ENABLED", "1").start();
    let url = format!("http://localhost:{}/bytes?n=1024", thrust.port());
    let said = tool::output("h2load", &["-n", "4000", "-c", "10", "-m", "100", &url]);
    assert_all_succeeded(&said, 4_000);
}

#[test]
fn h2load_uploads_what_it_has() {
    if !tool::are_here(NGHTTP2) {
        return;
    }
    let _alone = alone();
    let site = Site::start();
    let body = site.file("body");
    std::fs::write(&body, [b'a'; 100_000]).unwrap();
    let said = tool::output(
        "h2load",
        &[
            "-n",
            "200",
            "-c",
            "4",
            "-m",
            "20",
            "-d",
            &body,
            &site.url("/upload"),
        ],
    );
    assert_all_succeeded(&said, 200);
}

#[track_caller]
fn assert_all_succeeded(said: &str, count: usize) {
    let all = format!(
        "requests: {count} total, {count} started, {count} done, {count} succeeded, 0 failed, 0 errored, 0 timeout"
    );
    assert!(said.contains(&all), "{said}");
    assert!(
        said.contains(&format!("status codes: {count} 2xx, 0 3xx, 0 4xx, 0 5xx")),
        "{said}"
    );
}

//! Whom to believe about the client: TRUSTED_PROXIES, CLIENT_IP_HEADER, and what the app and the log are told.

use crate::support::{AppRequest, Builder, Client, PATIENCE, Thrust, frames::Frames, port_of};

/// What a proxy says that is ours, and what somebody before it has made up.
const CLAIMS: &str = "x-forwarded-for: 1.2.3.4, 203.0.113.9\r\nx-forwarded-for: 10.0.0.2\r\n\
     x-forwarded-proto: https\r\nx-forwarded-host: a.example\r\nx-real-ip: 203.0.113.9\r\n";

fn trusting(networks: &str) -> Builder {
    Thrust::builder().env("THRUSTER_TRUSTED_PROXIES", networks)
}

/// What the app gets of a GET with these lines.
fn passed(thrust: &Thrust, lines: &str) -> AppRequest {
    let mut client = thrust.connect();
    client.send_head("GET", "/path", lines);
    let (mut app, request) = thrust.app().request();
    app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    request
}

/// X-Forwarded-For, -Proto and -Host.
fn forwarded(request: &AppRequest) -> [&str; 3] {
    ["for", "proto", "host"].map(|what| {
        let field = request.field(&format!("x-forwarded-{what}"));
        field.expect("Thrust always says so")
    })
}

#[test]
fn a_trusted_proxy_names_the_client_and_what_stands_left_of_it_goes() {
    let thrust = trusting("127.0.0.1, 10.0.0.0/8").played().start();
    let request = passed(&thrust, CLAIMS);
    assert_eq!(
        forwarded(&request),
        ["203.0.113.9, 10.0.0.2, 127.0.0.1", "https", "a.example"]
    );
    assert_eq!(request.field("x-real-ip"), Some("203.0.113.9"));
    let line = thrust.wait_for_request("/path");
    assert_eq!(line.field("remote_addr"), "203.0.113.9");
}

#[test]
fn a_stranger_speaks_for_itself_alone() {
    let thrust = trusting("10.0.0.0/8").played().start();
    let request = passed(&thrust, CLAIMS);
    assert_eq!(
        forwarded(&request),
        ["127.0.0.1", "http", "test.example"],
        "although FORWARD_HEADERS is on"
    );
    assert_eq!(request.field("x-real-ip"), None);
    let address = thrust.wait_for_request("/path").field("remote_addr");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
}

#[test]
fn with_forward_headers_0_the_app_is_told_the_client_and_no_more() {
    let thrust = trusting("private")
        .env("FORWARD_HEADERS", "0")
        .played()
        .start();
    let request = passed(&thrust, CLAIMS);
    assert_eq!(forwarded(&request), ["203.0.113.9", "http", "test.example"]);
}

#[test]
fn client_ip_header_counts_from_a_trusted_proxy_and_from_nobody_else() {
    let lines = format!("{CLAIMS}cf-connecting-ip: 198.51.100.7\r\ncf_connecting_ip: 1.2.3.4\r\n");
    for (networks, expected, header, logged) in [
        (
            "private",
            "198.51.100.7, 127.0.0.1",
            Some("198.51.100.7"),
            "198.51.100.7",
        ),
        ("10.0.0.0/8", "127.0.0.1", None, "127.0.0.1:"),
    ] {
        let thrust = trusting(networks)
            .env("THRUSTER_CLIENT_IP_HEADER", "CF-Connecting-IP")
            .played()
            .start();
        let request = passed(&thrust, &lines);
        assert_eq!(forwarded(&request)[0], expected);
        assert_eq!(request.field("cf-connecting-ip"), header);
        assert_eq!(request.field("cf_connecting_ip"), None);
        let address = thrust.wait_for_request("/path").field("remote_addr");
        assert!(address.starts_with(logged), "{address}");
    }
}

#[test]
fn without_trusted_proxies_everybody_is_believed_as_by_thruster() {
    let thrust = Thrust::builder().played().start();
    let request = passed(&thrust, CLAIMS);
    assert_eq!(
        forwarded(&request),
        [
            "1.2.3.4, 203.0.113.9, 10.0.0.2, 127.0.0.1",
            "https",
            "a.example"
        ]
    );
    let line = thrust.wait_for_request("/path");
    assert_eq!(line.field("remote_addr"), "1.2.3.4, 203.0.113.9");
}

#[test]
fn over_http_2_it_is_the_same() {
    let thrust = trusting("private").env("H2C_ENABLED", "1").start();
    let mut client = Frames::h2c(thrust.port());
    let fields = [
        ("x-forwarded-for", "1.2.3.4, 203.0.113.9"),
        ("x-forwarded-proto", "https"),
    ];
    client.head(1, "GET", "/headers", &fields, true);
    let seen = client.response(1).text();
    for line in [
        "x-forwarded-for: 203.0.113.9, 127.0.0.1",
        "x-forwarded-proto: https",
    ] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{seen}");
    }
}

#[test]
fn apaches_log_names_the_client_too() {
    let thrust = trusting("private")
        .env("THRUSTER_LOG_FORMAT", "combined")
        .spawn();
    let text = |needle: &str| {
        let line = thrust.find(PATIENCE, |line| line.text.contains(needle));
        line.unwrap_or_else(|| panic!("{needle}: {}", thrust.logs()))
            .text
    };
    let port = port_of(&text("msg=listening"));
    text("msg=\"app ready\"");
    let mut client = Client::connect(port);
    client.send_head("GET", "/hello", CLAIMS);
    assert_eq!(client.response().status, 200);
    assert!(text("\"GET /hello").starts_with("203.0.113.9 - - ["));
}

#[test]
fn a_stranger_cannot_choose_what_is_cached_for_others() {
    for (networks, second) in [("10.0.0.0/8", "hit"), ("private", "miss")] {
        let thrust = trusting(networks).start();
        let mut client = thrust.connect();
        let cached = ["a.example", "b.example"].map(|host| {
            let lines = format!("x-forwarded-host: {host}\r\n");
            client.send_head("GET", "/own?n=10", &lines);
            client.response().field("x-cache").unwrap_or_default()
        });
        assert_eq!(cached, ["miss", second], "trusting {networks}");
    }
}

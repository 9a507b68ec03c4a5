//! The plain port under TLS: challenges, 301 for known hosts, 421, and nothing else.

use crate::support::{
    Response, Thrust,
    secure::{https, https_port},
};

fn ask(thrust: &Thrust, request: &str) -> Response {
    let mut client = thrust.connect();
    client.send(request.replace('\n', "\r\n") + "\r\n");
    client.response()
}

fn get(thrust: &Thrust, target: &str, host: &str) -> (u16, Option<String>) {
    let response = ask(thrust, &format!("GET {target} HTTP/1.1\nhost: {host}\n"));
    (response.status, response.field("location"))
}

#[test]
fn known_hosts_are_sent_to_https_and_nobody_else() {
    let thrust = https()
        .env("TLS_DOMAIN", "test.example,*.wild.example")
        .start();
    let port = https_port(&thrust);
    let to = |host: &str, target: &str| (301, Some(format!("https://{host}:{port}{target}")));
    assert_eq!(
        get(&thrust, "/a?b=c", "test.example"),
        to("test.example", "/a?b=c")
    );
    assert_eq!(
        get(&thrust, "/", "Test.Example.:8080"),
        to("test.example", "/")
    );
    assert_eq!(
        get(&thrust, "/", "a.wild.example"),
        to("a.wild.example", "/")
    );
    assert_eq!(
        get(&thrust, "//evil.example/", "test.example"),
        to("test.example", "//evil.example/")
    );
    for stranger in [
        "evil.example",
        "wild.example",
        "a.b.wild.example",
        "127.0.0.1",
        "[::1]",
        "",
    ] {
        assert_eq!(get(&thrust, "/", stranger), (421, None), "{stranger:?}");
    }
    // The target's own host comes before the header.
    assert_eq!(
        get(&thrust, "http://evil.example/", "test.example"),
        (421, None)
    );
    let posted = ask(
        &thrust,
        "POST /form HTTP/1.1\nhost: test.example\ncontent-length: 0\n",
    );
    assert_eq!((posted.status, posted.connection("close")), (301, true));
    // No challenges without ACME: it is a path like any other.
    let challenge = "/.well-known/acme-challenge/x";
    assert_eq!(
        get(&thrust, challenge, "test.example"),
        to("test.example", challenge)
    );
    assert!(!thrust.has("Request"), "nothing has come to the app");
}

#[test]
fn a_health_check_that_is_configured_is_answered_by_the_app() {
    let thrust = https().env("THRUSTER_HTTP_HEALTH_PATH", "/hello").start();
    assert_eq!(get(&thrust, "/hello", "10.0.0.7").0, 200);
    assert_eq!(get(&thrust, "/hello/", "10.0.0.7").0, 421);
    let posted = ask(
        &thrust,
        "POST /hello HTTP/1.1\nhost: 10.0.0.7\ncontent-length: 0\n",
    );
    assert_eq!(posted.status, 421);
}

//! Which fields pass, in which direction, and which are ours: hop-by-hop, X-Forwarded-*, ids and clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{AppRequest, End, Thrust};

fn played() -> Thrust {
    Thrust::builder().played().start()
}

/// What the app gets of a GET with these lines.
fn passed(thrust: &Thrust, lines: &str) -> AppRequest {
    let mut client = thrust.connect();
    client.send_head("GET", "/", lines);
    let (mut app, request) = thrust.app().request();
    app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    request
}

/// What the client gets of an answer with these lines, byte for byte, up to the empty line.
fn answered(thrust: &Thrust, lines: &str) -> String {
    let mut client = thrust.connect();
    client.send_get("/");
    let (mut app, _) = thrust.app().request();
    app.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{lines}\r\n"
    ));
    client.read_until("\r\n\r\n")
}

#[test]
fn hop_by_hop_fields_of_a_request_stay_with_us() {
    let thrust = played();
    let request = passed(
        &thrust,
        "connection: keep-alive, X-Hop , x-other\r\nx-hop: 1\r\nX-OTHER: 1\r\nx-mine: 1\r\nkeep-alive: timeout=5\r\n\
         proxy-connection: keep-alive\r\nproxy-authorization: Basic x\r\nproxy-authenticate: x\r\nte: gzip\r\n\
         trailer: x-sum\r\nupgrade: x\r\nhttp2-settings: AAMAAABk\r\n",
    );
    let mut names = request.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "host",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-mine",
            "x-request-id",
            "x-request-start",
            "x-sendfile-type"
        ]
    );
}

#[test]
fn connection_cannot_name_away_what_the_request_means() {
    // Each of these once let a request through that was another at the app.
    let thrust = played();
    let mut client = thrust.connect();
    client.send_head(
        "POST",
        "/",
        "connection: content-length, host, x-forwarded-for, x-forwarded-proto, x-request-id, transfer-encoding, cookie, authorization\r\n\
         cookie: a=b\r\nauthorization: Basic x\r\ncontent-length: 4\r\n",
    );
    client.send("body");
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.field("content-length"), Some("4"));
    assert_eq!(request.field("host"), Some("test.example"));
    assert_eq!(request.field("cookie"), Some("a=b"));
    assert_eq!(request.field("authorization"), Some("Basic x"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert!(request.field("x-request-id").is_some());
    assert_eq!(app.read(4), b"body");
}

#[test]
fn hop_by_hop_fields_of_an_answer_stay_with_us() {
    let thrust = played();
    let head = answered(
        &thrust,
        "connection: keep-alive, x-hop\r\nx-hop: 1\r\nx-mine: 1\r\nkeep-alive: timeout=5\r\nproxy-connection: x\r\n\
         proxy-authenticate: Basic\r\nte: trailers\r\nupgrade: h2c\r\n",
    );
    assert!(head.contains("x-mine: 1\r\n"));
    for name in [
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-",
        "te:",
        "upgrade",
    ] {
        assert!(!head.contains(&format!("\n{name}")), "{head}");
    }
}

#[test]
fn a_close_of_the_apps_does_not_close_the_client() {
    let thrust = played();
    let mut client = thrust.connect();
    for number in 0..3 {
        client.send_get("/");
        let (mut app, _) = thrust.app().request();
        app.send(format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n{number}"
        ));
        drop(app);
        let response = client.response();
        assert_eq!(response.text(), number.to_string());
        assert!(!response.connection("close"));
    }
}

#[test]
fn a_client_that_closes_is_closed_and_the_app_is_kept() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_head("GET", "/", "connection: close\r\n");
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.field("connection"), None);
    app.answer("bye");
    let response = client.response();
    assert!(response.connection("close"));
    assert_eq!(client.end(), End::Eof);
    assert!(app.is_quiet(), "kept for the next");
}

#[test]
fn fields_pass_as_they_are_in_their_order() {
    let thrust = played();
    let request = passed(
        &thrust,
        "x-empty:\r\nx-two: a\r\ncookie: a=1\r\ncookie: b=2\r\nx-two: b\r\naccept: text/html , */*;q=0.1\r\nx-inner: a  b\r\n",
    );
    assert_eq!(request.field("x-empty"), Some(""));
    assert_eq!(request.values("x-two"), ["a", "b"]);
    assert_eq!(request.values("cookie"), ["a=1", "b=2"]);
    assert_eq!(request.field("accept"), Some("text/html , */*;q=0.1"));
    assert_eq!(request.field("x-inner"), Some("a  b"));

    let head = answered(
        &thrust,
        "set-cookie: a=1; path=/\r\nx-empty:\r\nset-cookie: b=2\r\nlink: </a>, </b>\r\nset-cookie: a=3\r\n",
    );
    let cookies: Vec<_> = head
        .lines()
        .filter(|line| line.starts_with("set-cookie"))
        .collect();
    assert_eq!(
        cookies,
        [
            "set-cookie: a=1; path=/",
            "set-cookie: b=2",
            "set-cookie: a=3"
        ]
    );
    assert!(
        head.contains("\r\nx-empty: \r\n") || head.contains("\r\nx-empty:\r\n"),
        "{head}"
    );
    assert!(head.contains("link: </a>, </b>\r\n"));
}

#[test]
fn bytes_beyond_ascii_pass_both_ways() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send(
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-latin: caf\xe9\r\nx-utf: caf\xc3\xa9\r\n\r\n",
    );
    let (mut app, request) = thrust.app().request();
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(has(&request.raw, b"x-latin: caf\xe9\r\n"));
    assert!(has(&request.raw, b"x-utf: caf\xc3\xa9\r\n"));
    app.send(b"HTTP/1.1 200 OK\r\nx-latin: caf\xe9\r\ncontent-length: 0\r\n\r\n");
    let (bytes, _) = client.rest();
    assert!(has(&bytes, b"x-latin: caf\xe9\r\n"));
}

#[test]
fn many_and_large_fields_pass_both_ways() {
    let thrust = played();
    let large = "y".repeat(40_000);
    let lines: String = (0..90)
        .map(|number| format!("x-{number}: {number}\r\n"))
        .collect();
    let request = passed(&thrust, &format!("{lines}x-large: {large}\r\n"));
    assert_eq!(request.field("x-large"), Some(&*large));
    assert_eq!(request.field("x-89"), Some("89"));
    let head = answered(&thrust, &format!("{lines}x-large: {large}\r\n"));
    assert!(head.contains(&format!("x-large: {large}\r\n")) && head.contains("x-89: 89\r\n"));
    // Beyond what fits into one read, and into one write.
    let head = answered(&thrust, &format!("x-large: {}\r\n", large.repeat(5)));
    assert!(head.contains(&large.repeat(5)));
}

#[test]
fn there_is_one_date_and_it_is_the_apps_where_it_has_one() {
    let thrust = played();
    let head = answered(
        &thrust,
        "date: Tue, 15 Nov 1994 08:12:31 GMT\r\nserver: puma\r\n",
    );
    assert_eq!(head.matches("date: ").count(), 1);
    assert!(head.contains("date: Tue, 15 Nov 1994 08:12:31 GMT\r\n"));
    assert!(head.contains("server: puma\r\n"));
    let head = answered(&thrust, "");
    assert_eq!(head.matches("date: ").count(), 1);
    assert!(!head.contains("server: "), "we do not advertise");
}

#[test]
fn x_forwarded_for_gets_the_peer_appended_and_the_rest_is_kept() {
    for value in ["1", ""] {
        // Without TLS it is on by default.
        let thrust = Thrust::builder()
            .env("FORWARD_HEADERS", value)
            .played()
            .start();
        let request = passed(&thrust, "");
        assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(request.field("x-forwarded-host"), Some("test.example"));
        assert_eq!(request.field("x-forwarded-proto"), Some("http"));

        let request = passed(
            &thrust,
            "x-forwarded-for: 10.0.0.1, 10.0.0.2\r\nX-Forwarded-For: 10.0.0.3\r\nx-forwarded-host: public.example\r\n\
             x-forwarded-proto: https\r\n",
        );
        assert_eq!(
            request.field("x-forwarded-for"),
            Some("10.0.0.1, 10.0.0.2, 10.0.0.3, 127.0.0.1")
        );
        assert_eq!(request.field("x-forwarded-host"), Some("public.example"));
        assert_eq!(request.field("x-forwarded-proto"), Some("https"));

        let request = passed(&thrust, "x-forwarded-host:\r\nx-forwarded-proto:\r\n");
        assert_eq!(
            request.field("x-forwarded-host"),
            Some("test.example"),
            "empty is none"
        );
        assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    }
}

#[test]
fn without_forward_headers_the_clients_are_replaced() {
    let thrust = Thrust::builder()
        .env("FORWARD_HEADERS", "0")
        .played()
        .start();
    let request = passed(
        &thrust,
        "x-forwarded-for: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2\r\nx-forwarded-host: evil.example\r\nx-forwarded-proto: https\r\n",
    );
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-host"), Some("test.example"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
}

#[test]
fn forwarded_is_never_passed_on() {
    for value in ["0", "1"] {
        let thrust = Thrust::builder()
            .env("FORWARD_HEADERS", value)
            .played()
            .start();
        let request = passed(&thrust, "forwarded: for=10.0.0.1;proto=https\r\n");
        assert_eq!(request.field("forwarded"), None);
    }
}

#[test]
fn an_ipv4_peer_is_plain_ipv4_and_an_ipv6_peer_has_no_brackets() {
    let thrust = played();
    assert_eq!(
        passed(&thrust, "").field("x-forwarded-for"),
        Some("127.0.0.1")
    );
    let Ok(stream) = std::net::TcpStream::connect(("::1", thrust.port())) else {
        eprintln!("skipped: no IPv6 here");
        return;
    };
    let mut client = crate::support::Client::from_stream(stream).unwrap();
    client.send_get("/");
    let (_, request) = thrust.app().request();
    assert_eq!(request.field("x-forwarded-for"), Some("::1"));
}

#[test]
fn x_request_start_is_set_in_milliseconds_or_kept() {
    let thrust = played();
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    };
    let before = now();
    for lines in ["", "x-request-start:\r\n"] {
        let request = passed(&thrust, lines);
        let value = request
            .values("x-request-start")
            .into_iter()
            .rfind(|value| !value.is_empty());
        let millis = value
            .and_then(|value| value.strip_prefix("t="))
            .map(str::parse);
        let Some(Ok(millis)) = millis else {
            panic!("{value:?}");
        };
        let sent = Duration::from_millis(millis);
        assert!(
            sent + Duration::from_millis(1) >= before && sent <= now(),
            "{value:?}"
        );
    }
    let request = passed(&thrust, "x-request-start: t=1234567890123\r\n");
    assert_eq!(request.field("x-request-start"), Some("t=1234567890123"));
}

#[test]
fn a_request_has_one_id_at_the_app_and_in_the_log() {
    let thrust = played();
    let long = "x".repeat(201);
    let cases = [
        ("/made", String::new(), None),
        (
            "/kept",
            "x-request-id: abc-123.XYZ\r\n".into(),
            Some("abc-123.XYZ"),
        ),
        ("/space", "x-request-id: a b\r\n".into(), None),
        ("/quote", "x-request-id: a\"b\r\n".into(), None),
        ("/empty", "x-request-id:\r\n".into(), None),
        ("/long", format!("x-request-id: {long}\r\n"), None),
        (
            "/two",
            "x-request-id: one\r\nx-request-id: two\r\n".into(),
            None,
        ),
    ];
    for (target, lines, kept) in cases {
        let mut client = thrust.connect();
        client.send_head("GET", target, &lines);
        let (mut app, request) = thrust.app().request();
        app.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        client.response();
        let id = request.field("x-request-id").unwrap_or_default();
        match kept {
            Some(kept) => assert_eq!(id, kept),
            // Which of two it is, nobody knows but us; never both, never what breaks a log line.
            None if target == "/two" => assert!(!id.contains(','), "{id}"),
            None => assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}"),
        }
        assert_eq!(thrust.wait_for_request(target).field("request_id"), id);
    }
}

#[test]
fn each_request_has_an_id_of_its_own_where_nothing_is_logged() {
    let thrust = Thrust::builder().played().env("LOG_REQUESTS", "0").start();
    let ids: Vec<String> = (0..3)
        .map(|_| passed(&thrust, ""))
        .map(|request| request.field("x-request-id").unwrap_or_default().to_owned())
        .collect();
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
    assert!(
        ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2],
        "{ids:?}"
    );
}

#[test]
fn tracing_context_is_passed_on() {
    let thrust = played();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = passed(
        &thrust,
        &format!("traceparent: {parent}\r\ntracestate: a=b\r\nbaggage: c=d\r\n"),
    );
    assert_eq!(request.field("traceparent"), Some(parent));
    assert_eq!(request.field("tracestate"), Some("a=b"));
    assert_eq!(request.field("baggage"), Some("c=d"));
}

#[test]
fn underscore_look_alikes_are_dropped_and_harmless_ones_pass() {
    let thrust = played();
    let request = passed(
        &thrust,
        "X_Forwarded_For: 6.6.6.6\r\nx-forwarded_for: 6.6.6.6\r\nX_FORWARDED_PROTO: https\r\nx_forwarded-host: evil\r\n\
         x_request_id: 1\r\nX_Request_Start: t=1\r\ncontent_length: 9\r\ntransfer_encoding: chunked\r\n\
         proxy_authorization: x\r\nx_my_header: fine\r\nupload_token: fine\r\n",
    );
    let underscored: Vec<_> = request
        .names()
        .into_iter()
        .filter(|name| name.contains('_'))
        .collect();
    assert_eq!(underscored, ["x_my_header", "upload_token"]);
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn an_upgrade_to_h2c_is_stripped() {
    let thrust = played();
    for lines in [
        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
        "connection: upgrade\r\nupgrade: H2C\r\n",
        "connection: upgrade\r\nupgrade: websocket, h2c\r\n",
    ] {
        let request = passed(&thrust, lines);
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(request.field(name), None, "{lines}");
        }
    }
    // Of two lines only the first is asked for.
    let request = passed(
        &thrust,
        "connection: upgrade\r\nupgrade: websocket\r\nupgrade: h2c\r\n",
    );
    assert_eq!(request.field("upgrade"), Some("websocket"));
}

//! The access log: Thruster's fields and ours, one line of JSON a request, whatever the request.

use nix::sys::signal::Signal::SIGTERM;
use serde_json::Value;

use crate::support::{Client, PATIENCE, QUIET, Record, Thrust, port_of, seconds};

/// The line as JSON, which the harness would have passed over were it none.
fn fields(record: &Record) -> Value {
    serde_json::from_str(&record.text).expect("one line of JSON")
}

#[test]
fn a_line_has_thrusters_fields_and_ours() {
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send_head(
        "POST",
        "/echo?a=1&b=%20",
        "content-length: 4\r\ncontent-type: text/csv\r\nuser-agent: test/1.0\r\nx-request-id: id-1\r\n",
    );
    client.send("body");
    client.response();
    let line = fields(&thrust.wait_for_request("/echo"));
    let expected = serde_json::json!({
        "level": "INFO", "msg": "Request", "path": "/echo", "status": 200, "method": "POST",
        "req_content_length": 4, "req_content_type": "text/csv", "resp_content_length": 4,
        "resp_content_type": "text/csv", "user_agent": "test/1.0", "cache": "bypass", "query": "a=1&b=%20",
        "proto": "HTTP/1.1", "request_id": "id-1", "cause": "",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&line[name], value, "{name}");
    }
    assert!(line["dur"].as_u64().is_some_and(|dur| dur < 5_000));
    let address = client.stream().local_addr().unwrap();
    assert_eq!(line["remote_addr"], address.to_string());
    // RFC 3339, to the microsecond or finer, in UTC.
    let time = line["time"].as_str().unwrap();
    assert!(
        time.len() >= 24 && &time[10..11] == "T" && time.ends_with('Z'),
        "{time}"
    );
    assert_eq!(line.as_object().unwrap().len(), 18, "{line}");
}

#[test]
fn remote_addr_is_the_client_that_a_trusted_proxy_names() {
    for (value, expected) in [("1", "10.0.0.1, 10.0.0.2"), ("0", "127.0.0.1:")] {
        let thrust = Thrust::builder().env("FORWARD_HEADERS", value).start();
        let mut client = thrust.connect();
        client.send_head("GET", "/hello", "x-forwarded-for: 10.0.0.1, 10.0.0.2\r\n");
        client.response();
        let line = thrust.wait_for_request("/hello");
        assert!(
            line.field("remote_addr").starts_with(expected),
            "{}",
            line.text
        );
    }
}

#[test]
fn lengths_are_those_of_the_bodies() {
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    let cases = [
        ("GET", "/bytes?n=12345", "", "", 0, 12345),
        (
            "POST",
            "/upload",
            "transfer-encoding: chunked\r\n",
            "2\r\nab\r\n0\r\n\r\n",
            -1,
            10,
        ),
        ("HEAD", "/chunked", "", "", 0, 0),
        ("GET", "/status?code=204", "", "", 0, 0),
    ];
    for (method, target, lines, body, asked, sent) in cases {
        client.send_head(method, target, lines);
        client.send(body);
        client.response();
        let path = target.split('?').next().unwrap();
        let line = fields(&thrust.wait_for_request(path));
        assert_eq!(line["req_content_length"], asked, "{target}");
        assert_eq!(line["resp_content_length"], sent, "{target}");
        assert_eq!(line["cause"], "", "{target}");
    }
    client.send("GET /old HTTP/1.0\r\n\r\n");
    client.response();
    assert_eq!(thrust.wait_for_request("/old").field("proto"), "HTTP/1.0");
}

#[test]
fn dur_is_the_time_from_the_first_byte_to_the_last() {
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    assert_eq!(client.get("/slow?ms=400").status, 200);
    let dur = thrust.wait_for_request("/slow").number("dur");
    assert!((400..3_000).contains(&dur), "{dur}");
    assert_eq!(client.get("/stream?n=3&delay_ms=200").status, 200);
    let dur = thrust.wait_for_request("/stream").number("dur");
    assert!((400..3_000).contains(&dur), "{dur}");
}

#[test]
fn hostile_requests_make_one_line_of_json_each() {
    let thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    let agents: [&[u8]; 6] = [
        b"\"},{\"msg\":\"forged\"",
        b"back\\slash\\",
        b"tab\there",
        b"latin \xe9 and \xff\xfe",
        "snow \u{2603} and \u{1f4a9}".as_bytes(),
        b"\x80\x81\x9b31m",
    ];
    for (number, agent) in agents.iter().enumerate() {
        client.send(format!(
            "GET /bytes/{number}%0a%22\\{{|}}'\u{e9}?q=\\{{ HTTP/1.1\r\nhost: a\r\nuser-agent: "
        ));
        client.send(agent);
        client.send("\r\nx-request-id: \"\r\n\r\n");
        assert_eq!(client.response().status, 404);
        let path = format!("/bytes/{number}%0a%22\\{{|}}'\u{e9}");
        let line = fields(&thrust.wait_for_request(&path));
        assert_eq!(
            line["user_agent"],
            String::from_utf8_lossy(agent).into_owned()
        );
        assert_eq!(line["query"], "q=\\{");
        let text = thrust.wait_for_request(&path).text;
        assert!(
            !text.chars().any(char::is_control),
            "nothing that steers a terminal: {text:?}"
        );
    }
    assert_eq!(thrust.count("forged"), 0);
}

#[test]
fn each_request_is_one_line_in_whatever_way_it_ends() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    for _ in 0..20 {
        client.get("/hello");
    }
    client.send_get("/close-without-answer");
    assert_eq!(client.response().status, 502);
    client.send_get("/abort?after=10");
    assert!(client.try_response().is_err());
    let mut gone = thrust.connect();
    gone.send_get("/hang");
    thrust.wait_for_child_line("request GET /hang");
    drop(gone);
    thrust.wait_for_request("/hang");
    assert_eq!(thrust.stop(), 143);
    assert_eq!(
        thrust.count("Request"),
        23,
        "also at the end: nothing is left in a buffer"
    );
}

#[test]
fn lines_do_not_wait_for_the_next_ones() {
    let thrust = Thrust::builder().start();
    let response = thrust.get("/hello");
    let answered = std::time::Instant::now();
    assert_eq!(response.status, 200);
    thrust.wait_for_request("/hello");
    assert!(answered.elapsed() < seconds(1));
}

#[test]
fn log_requests_0_silences_requests_and_nothing_else() {
    let mut thrust = Thrust::builder().env("LOG_REQUESTS", "0").start();
    let mut client = thrust.connect();
    assert_eq!(client.get("/hello").status, 200);
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.response().status, 400);
    thrust.assert_no("Request", QUIET);
    assert_eq!(thrust.stop(), 143);
    assert!(
        !thrust.has("Request") && !thrust.has("request refused"),
        "{}",
        thrust.logs()
    );
    assert!(thrust.has("listening") && thrust.has("stopped"));
}

#[test]
fn debug_says_more_in_the_same_shape() {
    let mut thrust = Thrust::builder().env("DEBUG", "1").start();
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(thrust.stop(), 143);
    let debug: Vec<_> = thrust
        .records()
        .into_iter()
        .filter(|line| line.level() == "DEBUG")
        .collect();
    assert!(!debug.is_empty());
    for line in debug {
        fields(&line);
    }
    let mut thrust = Thrust::builder().start();
    assert_eq!(thrust.get("/hello").status, 200);
    assert_eq!(thrust.stop(), 143);
    assert!(!thrust.records().iter().any(|line| line.level() == "DEBUG"));
}

#[test]
fn logfmt_has_the_same_fields_for_all_lines() {
    let mut thrust = Thrust::builder()
        .env("THRUSTER_LOG_FORMAT", "logfmt")
        .spawn();
    let text = |needle: &str| {
        let line = thrust.find(PATIENCE, |line| line.text.contains(needle));
        line.unwrap_or_else(|| panic!("{needle}: {}", thrust.logs()))
            .text
    };
    assert!(text("level=INFO msg=listening addr=").starts_with("time=20"));
    text("msg=\"app ready\" ");
    let port = port_of(&text("msg=listening"));
    let mut client = Client::connect(port);
    client.send_head(
        "GET",
        "/hello?a=1&b=c d".replace(' ', "%20").as_str(),
        "user-agent: a \"b\"\r\n",
    );
    assert_eq!(client.response().status, 200);
    let line = text("msg=Request");
    for field in [
        " status=200 ",
        " path=/hello ",
        " method=GET ",
        " query=\"a=1&b=c%20d\" ",
        " user_agent=\"a \\\"b\\\"\" ",
        " proto=HTTP/1.1 ",
        " cause=\"\"",
    ] {
        assert!(line.contains(field), "{field}: {line}");
    }
    thrust.signal(SIGTERM);
    text("msg=stopped exit_code=143 ");
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn combined_is_what_apache_writes_and_the_rest_is_logfmt() {
    let mut thrust = Thrust::builder()
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
    client.send_head(
        "GET",
        "/bytes?n=12",
        "user-agent: test/1.0 \"x\"\r\nreferer: http://a.example/\r\nx-forwarded-for: 203.0.113.9 , 10.0.0.1\r\n",
    );
    assert_eq!(client.response().status, 200);
    let line = text("\"GET /bytes");
    let (host, rest) = line.split_once(" - - [").expect("host, then time");
    let (time, rest) = rest.split_once("] ").expect("time, then the request");
    assert_eq!(host, "203.0.113.9");
    assert!(time.len() == 26 && time.ends_with(" +0000"), "{time}");
    assert_eq!(
        rest.trim_end(),
        "\"GET /bytes?n=12 HTTP/1.1\" 200 12 \"http://a.example/\" \"test/1.0 \\\"x\\\"\""
    );
    assert_eq!(client.get("/status?code=204").status, 204);
    let empty = text("\"GET /status");
    assert!(
        empty.trim_end().ends_with("HTTP/1.1\" 204 - \"-\" \"-\""),
        "{empty}"
    );
    thrust.signal(SIGTERM);
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

#[test]
fn log_skip_paths_are_not_logged_and_all_others_are() {
    let thrust = Thrust::builder()
        .env("THRUSTER_LOG_SKIP_PATHS", "/status, /hello")
        .start();
    let mut client = thrust.connect();
    assert_eq!(client.get("/hello?x=1").status, 200);
    assert_eq!(client.get("/status").status, 200);
    assert_eq!(client.get("/bytes?n=1").status, 200);
    thrust.wait_for_request("/bytes");
    let logged = thrust.logs();
    assert!(
        !logged.contains("\"path\":\"/hello\"") && !logged.contains("\"path\":\"/status\""),
        "{logged}"
    );
}

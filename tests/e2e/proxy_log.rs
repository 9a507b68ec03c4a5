//! The access log: Thruster's fields and ours, one line of JSON a request, whatever the request.

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use serde_json::Value;

use crate::support::{
    Client, End, PATIENCE, Place, QUIET, Record, Thrust,
    frames::{Frames, RST_STREAM},
    port_of, seconds,
    secure::https,
};

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
        "proto": "HTTP/1.1", "request_id": "id-1", "cause": "", "closed_by": "",
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
    assert_eq!(line.as_object().unwrap().len(), 19, "{line}");
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

/// The status and the cause in the line of a request whose query is `query`.
fn told(thrust: &Thrust, query: &str) -> (u64, String, String) {
    let line = thrust.find(PATIENCE, |line| {
        line.message() == "Request" && line.field("query") == query
    });
    let line = line.unwrap_or_else(|| panic!("no line for {query}"));
    let (status, cause) = (line.number("status"), line.field("cause"));
    (status, cause, line.field("closed_by"))
}

#[test]
fn every_refusal_of_ours_says_why_and_the_apps_say_nothing() {
    let place = Place::new();
    let file = place.file("file.txt", "0123456789");
    let thrust = Thrust::builder()
        .env("MAX_REQUEST_BODY", "10")
        .env("THRUSTER_UPSTREAM_RESPONSE_TIMEOUT", "1")
        .start();
    thrust.get("/own?n=10");
    let named = |path: &str| format!("answer: x-sendfile: {path}\r\n");
    let cases = [
        ("/hello", "host: b\r\n".into(), 400, "bad_request"),
        (
            "/upload",
            "content-length: 11\r\n".into(),
            413,
            "body_too_large",
        ),
        (
            "/close-without-answer",
            String::new(),
            502,
            "upstream_closed",
        ),
        ("/hang", String::new(), 504, "upstream_timeout"),
        (
            "/hello",
            "cache-control: only-if-cached\r\n".into(),
            504,
            "not_cached",
        ),
        ("/named", named("/nowhere"), 404, "file_missing"),
        ("/named", named("/dev/null"), 404, "file_refused"),
        (
            "/named",
            named(&file) + "range: bytes=10-\r\n",
            416,
            "range_not_satisfiable",
        ),
        (
            "/named",
            named(&file) + "if-match: \"other\"\r\n",
            412,
            "precondition_failed",
        ),
        ("/status?code=404", String::new(), 404, ""),
        ("/status?code=503", String::new(), 503, ""),
    ];
    for (number, (target, lines, status, cause)) in cases.into_iter().enumerate() {
        let mark = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{mark}case={number}");
        let mut client = thrust.connect();
        client.send_head("GET", &target, &lines);
        assert_eq!(client.response().status, status, "{target}");
        let query = target.split_once('?').expect("just added").1;
        let (logged, why, _) = told(&thrust, query);
        assert_eq!((logged, &*why), (status.into(), cause), "{target} {lines}");
    }
    // Of what is stored.
    let mut client = thrust.connect();
    client.send_head("GET", "/own?n=10", "range: bytes=10-\r\n");
    assert_eq!(client.response().status, 416);
    let line = thrust.find(PATIENCE, |line| {
        line.field("status") == "416" && line.field("path") == "/own"
    });
    assert_eq!(
        line.expect("a line").field("cause"),
        "range_not_satisfiable"
    );
}

#[test]
fn what_never_was_a_request_is_logged_with_its_cause_too() {
    let thrust = Thrust::builder()
        .env("HTTP_READ_TIMEOUT", "1")
        .env("H2C_ENABLED", "1")
        .start();
    let causes = [
        ("nonsense\r\n\r\n".to_owned(), 400, "bad_request"),
        (
            format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(70_000)),
            431,
            "head_too_large",
        ),
        ("GET / HT".to_owned(), 408, "head_timeout"),
    ];
    for (number, (bytes, status, cause)) in causes.into_iter().enumerate() {
        let mut client = thrust.connect();
        client.send(bytes);
        assert_eq!(client.response().status, status);
        let line = thrust.wait_for_nth(number, "request refused", PATIENCE);
        assert_eq!(line.field("cause"), cause);
        let address = client.stream().local_addr().expect("bound");
        assert_eq!(line.field("remote_addr"), address.to_string());
    }
    let mut client = Frames::h2c(thrust.port());
    client.head(1, "CONNECT", "/", &[(":protocol", "unheard-of")], true);
    client.status(1);
    let line = thrust.wait_for_nth(3, "request refused", PATIENCE);
    assert_eq!(
        (line.number("status"), line.field("cause")),
        (501, "unknown_protocol".into())
    );

    let thrust = https().env("TLS_DOMAIN", "test.example").start();
    let mut client = thrust.connect();
    client.send("GET / HTTP/1.1\r\nhost: other.example\r\n\r\n");
    assert_eq!(client.response().status, 421);
    let line = thrust.wait_for("request refused");
    assert_eq!(
        (line.number("status"), line.field("cause")),
        (421, "unknown_host".into())
    );
}

#[test]
fn the_log_says_who_closed_first() {
    let thrust = Thrust::builder()
        .env("HTTP_WRITE_TIMEOUT", "1")
        .env("THRUSTER_UPSTREAM_RESPONSE_TIMEOUT", "1")
        .start();
    let say = |status, cause: &str, who: &str| (status, cause.to_owned(), who.to_owned());
    for target in ["/stream?n=1000&delay_ms=5", "/hang?1"] {
        let mut leaves = thrust.connect();
        leaves.send_get(target);
        thrust.wait_for_child_line(&format!("request GET {target}"));
        drop(leaves);
        let query = target.split_once('?').expect("one each").1;
        assert_eq!(told(&thrust, query), say(499, "client_gone", "client"));
    }
    let mut client = thrust.connect();
    client.send_get("/abort?after=10");
    assert!(client.try_response().is_err());
    assert_eq!(
        told(&thrust, "after=10"),
        say(200, "upstream_closed", "app")
    );
    assert_eq!(thrust.get("/close-without-answer?2").status, 502);
    assert_eq!(told(&thrust, "2"), say(502, "upstream_closed", "app"));
    assert_eq!(thrust.get("/hang?3").status, 504);
    assert_eq!(told(&thrust, "3"), say(504, "upstream_timeout", "thrust"));
    let mut stuck = thrust.connect();
    stuck.send_get("/chunked?n=2000&size=65536&delay_ms=0");
    assert_eq!(
        told(&thrust, "n=2000&size=65536&delay_ms=0"),
        say(200, "write_timeout", "thrust")
    );
    assert_eq!(thrust.get("/hello?4").status, 200);
    assert_eq!(told(&thrust, "4"), say(200, "", ""));
}

#[test]
fn over_http_2_it_says_who_closed_first_as_well() {
    let thrust = Thrust::builder()
        .env("HTTP_WRITE_TIMEOUT", "1")
        .env("H2C_ENABLED", "1")
        .start();
    let say = |status, cause: &str, who: &str| (status, cause.to_owned(), who.to_owned());
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/hang?1");
    thrust.wait_for_child_line("request GET /hang?1");
    client.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    assert_eq!(told(&thrust, "1"), say(499, "client_gone", "client"));
    let mut client = Frames::h2c(thrust.port()).opens_no_windows();
    client.get(1, "/bytes?n=1000000");
    // Whatever comes is read, but no window is opened.
    while client.next().is_ok_and(|frame| frame.kind != RST_STREAM) {}
    assert_eq!(
        told(&thrust, "n=1000000"),
        say(200, "write_timeout", "thrust")
    );
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/abort?after=10");
    client
        .find(|frame| frame.kind == RST_STREAM)
        .expect("broken off");
    assert_eq!(
        told(&thrust, "after=10"),
        say(200, "upstream_closed", "app")
    );
}

#[test]
fn what_is_cut_at_the_end_of_a_stop_was_cut_by_us() {
    let place = Place::new();
    let (file, _) = place.sparse("large", 1 << 30);
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    let lines = format!("answer: x-sendfile: {file}\r\n");
    client.send_head("GET", "/named?file", &lines);
    assert_eq!(client.head().status, 200);
    thrust.signal_child(SIGKILL);
    assert_eq!(thrust.wait_exit(PATIENCE), 137);
    assert_eq!(told(&thrust, "file"), (200, "cut".into(), "thrust".into()));
}

#[test]
fn a_tunnel_is_spoken_of_when_it_is_closed_and_by_whom() {
    let thrust = Thrust::builder().played().start();
    for (number, who) in ["client", "app"].into_iter().enumerate() {
        let mut client = thrust.connect();
        client.send_head(
            "GET",
            "/cable",
            "connection: upgrade\r\nupgrade: test\r\nx-request-id: it\r\n",
        );
        let (mut app, _) = thrust.app().request();
        app.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n",
        );
        assert_eq!(client.head().status, 101);
        client.send("12345");
        assert_eq!(app.read(5), b"12345");
        app.send("123");
        client.read_until("123");
        assert_eq!(thrust.count("tunnel closed"), number, "not before it is");
        let address = client.stream().local_addr().expect("bound");
        if who == "client" {
            client.finish_sending();
            assert_eq!(app.end(), End::Eof);
            drop(app);
        } else {
            drop(app);
            assert_eq!(client.end(), End::Eof);
        }
        drop(client);
        let line = thrust.wait_for_nth(number, "tunnel closed", PATIENCE);
        assert_eq!(line.field("closed_by"), who);
        assert_eq!(line.field("request_id"), "it");
        assert_eq!(line.field("remote_addr"), address.to_string());
        assert_eq!(
            (line.number("from_client"), line.number("from_app")),
            (5, 3)
        );
        line.number("dur");
    }
}

#[test]
fn tunnels_are_passed_over_where_requests_are() {
    let builders = [
        Thrust::builder().env("LOG_REQUESTS", "0"),
        Thrust::builder().env("THRUSTER_LOG_SKIP_PATHS", "/upgrade"),
    ];
    for builder in builders {
        let mut thrust = builder.start();
        let mut client = thrust.connect();
        client.send_head(
            "GET",
            "/upgrade",
            "connection: upgrade\r\nupgrade: test\r\n",
        );
        assert_eq!(client.head().status, 101);
        drop(client);
        assert_eq!(thrust.stop(), 143);
        assert!(!thrust.has("tunnel closed"), "{}", thrust.logs());
    }
}

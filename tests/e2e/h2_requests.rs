//! HTTP/2 by prior knowledge: what the app sees, and what the client does.

use crate::support::{
    Client, End, Thrust,
    frames::{
        ALL_STREAMS, DATA, END_STREAM, Frames, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, head,
    },
    millis,
};

fn thrust() -> Thrust {
    Thrust::builder().env("H2C_ENABLED", "1").start()
}

#[test]
fn a_hundred_requests_at_once_are_all_answered() {
    let mut thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    let streams: Vec<u32> = (0..100).map(|number| 2 * number + 1).collect();
    let asked: Vec<u8> = streams
        .iter()
        .flat_map(|stream| head(*stream, "GET", "/bytes?n=1000", &[], true))
        .collect();
    client.send(&asked);
    for stream in streams {
        let answer = client.response(stream);
        assert!(answer.is_ok() && answer.body.len() == 1_000, "{answer:?}");
    }
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn the_app_sees_http_1_1_with_a_host_one_cookie_and_the_client_s_address() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    let fields = [
        (":authority", "a.example:8080"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("te", "trailers"),
    ];
    client.head(1, "GET", "/headers?x=y", &fields, true);
    let seen = client.response(1).text();
    assert!(seen.starts_with("GET /headers?x=y HTTP/1.1\r\n"), "{seen}");
    for line in [
        "host: a.example:8080",
        "cookie: a=1; b=2",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: a.example:8080",
        "x-forwarded-proto: http",
        "te: trailers",
    ] {
        assert!(
            seen.contains(&format!("\r\n{line}\r\n")),
            "{line} in {seen}"
        );
    }
    let record = thrust.wait_for_request("/headers");
    assert_eq!(record.field("proto"), "HTTP/2.0");
}

#[test]
fn a_host_that_contradicts_the_authority_is_refused_and_one_that_repeats_it_is_not() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    client.head(1, "GET", "/headers", &[("host", "other.example")], true);
    // `:status: 400`
    assert_eq!(client.response(1).status, 0x8c);
    client.head(3, "GET", "/headers", &[("host", "test.example")], true);
    assert!(
        client
            .response(3)
            .text()
            .contains("\r\nhost: test.example\r\n")
    );
}

#[test]
fn a_body_goes_up_and_comes_back_whatever_its_frames() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    let sent: Vec<u8> = (0..300_000_u32)
        .map(|number| number.to_le_bytes()[0])
        .collect();
    client.head(1, "POST", "/echo", &[], false);
    let mut received = Vec::new();
    for (number, piece) in sent.chunks(10_000).enumerate() {
        client.frame(DATA, 0, 1, piece);
        if number % 5 == 4 {
            // The windows are smaller than the body: what is sent must come back.
            while received.len() < (number + 1) * 10_000 {
                let data = client.find(|frame| frame.kind == DATA && frame.stream == 1);
                received.extend(data.expect("an echo").payload);
            }
        }
    }
    client.frame(DATA, END_STREAM, 1, &[]);
    let rest = client.find(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0);
    received.extend(rest.expect("the end").payload);
    assert!(received == sent, "{} bytes", received.len());
}

#[test]
fn trailers_come_through_and_early_hints_before() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    client.head(1, "GET", "/trailers", &[("te", "trailers")], true);
    let answer = client.response(1);
    assert!(answer.is_ok() && answer.trailed, "{answer:?}");
    client.get(3, "/early-hints");
    let hints = client.find(|frame| frame.kind == HEADERS && frame.stream == 3);
    let hints = hints.expect("hints");
    // `:status` is no static entry for 103: a literal, and not the end.
    assert!(hints.payload[0] != 0x88 && hints.flags & END_STREAM == 0);
    assert!(client.response(3).is_ok());
}

#[test]
fn a_client_that_waits_for_a_100_is_told_to_continue() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    let fields = [("expect", "100-continue"), ("content-length", "5")];
    client.head(1, "POST", "/upload", &fields, false);
    let interim = client.find(|frame| frame.kind == HEADERS && frame.stream == 1);
    assert_eq!(interim.expect("a 100").flags & END_STREAM, 0);
    client.frame(DATA, END_STREAM, 1, b"hello");
    assert!(client.response(1).text().starts_with("5 "));
}

#[test]
fn the_answer_to_head_has_a_length_and_no_body() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    client.head(1, "HEAD", "/bytes?n=1000", &[], true);
    let answer = client.response(1);
    assert!(answer.is_ok() && answer.body.is_empty(), "{answer:?}");
    // Not there, and answered by Thrust or the app with a text.
    client.head(3, "HEAD", "/nothing", &[], true);
    assert!(client.response(3).body.is_empty());
}

#[test]
fn a_response_that_breaks_off_is_a_reset_stream_and_nothing_else() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/abort?after=1000");
    let answer = client.response(1);
    assert_eq!((answer.status, answer.reset), (0x88, Some(2)), "{answer:?}");
    client.get(3, "/hello");
    assert!(client.response(3).is_ok(), "the connection goes on");
}

#[test]
fn a_client_that_resets_its_stream_ends_its_request_at_the_app() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/wait-gate?name=never");
    thrust.wait_for_child_line("waiting never");
    client.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    thrust.wait_for_child_line("gone GET /wait-gate");
    assert_eq!(thrust.wait_for_request("/wait-gate").number("status"), 499);
    client.get(3, "/hello");
    assert!(client.response(3).is_ok());
}

#[test]
fn a_preface_may_come_in_pieces_and_half_of_one_may_turn_out_to_be_http_1() {
    let thrust = thrust();
    for size in [1, 2, 3, 7, 23] {
        let mut client = Frames::connect(thrust.port());
        for piece in PREFACE.chunks(size) {
            client.send(piece);
            std::thread::sleep(millis(2));
        }
        client.frame(SETTINGS, 0, 0, &[]);
        client.get(1, "/hello");
        assert!(client.response(1).is_ok(), "{size}");
    }
    let mut client = Client::connect(thrust.port());
    client.send("P");
    client.send("OST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.get("/hello").status, 200, "and goes on");
}

#[test]
fn without_h2c_enabled_the_preface_is_the_end() {
    let thrust = Thrust::builder().start();
    let mut client = Client::connect(thrust.port());
    client.send(PREFACE);
    let (said, end) = client.rest();
    assert_eq!(
        (String::from_utf8_lossy(&said).as_ref(), end),
        ("", End::Eof)
    );
}

#[test]
fn the_upgrade_form_is_ignored() {
    let thrust = thrust();
    let mut client = thrust.connect();
    let fields = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    client.send_head("GET", "/headers", fields);
    let response = client.response();
    assert_eq!(response.status, 200);
    assert!(!response.text().contains("h2c"), "{}", response.text());
}

#[test]
fn an_extended_connect_is_a_web_socket_at_the_app() {
    let mut thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    let settings = client.find(|frame| frame.kind == SETTINGS && frame.flags == 0);
    let settings = settings.expect("settings").payload;
    // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3).
    assert!(settings.chunks(6).any(|entry| entry == [0, 8, 0, 0, 0, 1]));
    let fields = [(":protocol", "websocket"), ("sec-websocket-version", "13")];
    client.head(1, "CONNECT", "/upgrade", &fields, false);
    assert_eq!(client.status(1), 0x88);
    let mut heard = String::new();
    let mut hear = |client: &mut Frames, needle: &str| {
        while !heard.contains(needle) {
            let data = client.find(|frame| frame.kind == DATA && frame.stream == 1);
            heard.push_str(&String::from_utf8_lossy(&data.expect("data").payload));
        }
        heard.clear();
    };
    hear(&mut client, "welcome\n");
    client.frame(DATA, 0, 1, b"over and over\n");
    hear(&mut client, "over and over\n");
    client.get(3, "/hello");
    assert!(client.response(3).is_ok(), "beside it");
    client.frame(DATA, END_STREAM, 1, &[]);
    assert_eq!(client.response(1).reset, None, "closed, not broken off");
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_web_socket_that_the_app_refuses_has_the_app_s_answer_and_another_protocol_ours() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    let websocket = [(":protocol", "websocket")];
    client.head(1, "CONNECT", "/status?code=404", &websocket, false);
    // `:status: 404`
    assert_eq!(client.response(1).status, 0x8d);
    client.head(
        3,
        "CONNECT",
        "/upgrade",
        &[(":protocol", "connect-udp")],
        false,
    );
    assert_ne!(client.status(3), 0x88);
    client.get(5, "/hello");
    assert!(client.response(5).is_ok());
}

#[test]
fn two_megabytes_come_down_as_the_client_makes_room() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/bytes?n=2000000");
    client.get(3, "/bytes?n=2000000");
    for stream in [1, 3] {
        assert_eq!(client.response(stream).body.len(), 2_000_000);
    }
}

#[test]
fn a_connection_error_is_said_before_the_end() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    // DATA on a stream that was never opened.
    client.send(&frame(DATA, 0, 1, b"x"));
    let (last, error) = client.goaway();
    assert!(last < ALL_STREAMS && error != 0, "{last} {error}");
    assert_eq!(client.end(), End::Eof);
}

//! Which responses are compressed, in which coding, and what their heads say then.

use crate::support::{Builder, CODINGS, Client, End, Response, Thrust, decoded, tools_are_here};

const HTML: &str = "content-type: text/html\r\n";

const GZIP: &str = "accept-encoding: gzip\r\n";

fn played() -> Thrust {
    Thrust::builder().played().start()
}

/// A page of this many bytes, which no two lengths share.
fn page(length: usize) -> Vec<u8> {
    let words =
        (length..).flat_map(|number| format!("<p>{:x}</p>\n", number * number).into_bytes());
    words.take(length).collect()
}

/// Asks, and lets the app answer: `request` and `answer` are complete lines.
fn exchange(thrust: &Thrust, method: &str, request: &str, answer: &str, body: &[u8]) -> Response {
    let mut client = thrust.connect();
    client.send_head(method, "/", request);
    let (mut app, _) = thrust.app().request();
    let (line, fields) = match answer.split_once("\r\n") {
        Some((line, fields)) if line.starts_with("HTTP/") => (line, fields),
        _ => ("HTTP/1.1 200 OK", answer),
    };
    app.send(format!("{line}\r\nconnection: close\r\n{fields}\r\n"));
    app.send(body);
    drop(app);
    client.response()
}

/// A page with a length, and what becomes of it.
fn answered(thrust: &Thrust, request: &str, fields: &str) -> Response {
    let body = page(2_000);
    let response = exchange(
        thrust,
        "GET",
        request,
        &format!("content-length: 2000\r\n{fields}"),
        &body,
    );
    if response.field("content-encoding").is_none() {
        assert!(response.body == body, "plain, and yet another: {fields:?}");
    }
    response
}

fn coding(response: &Response) -> Option<String> {
    response.field("content-encoding")
}

#[test]
fn what_is_encoded_is_decoded_by_the_codings_own_tool() {
    if !tools_are_here() {
        return;
    }
    for jitter in ["0", "32", "65535"] {
        let thrust = Thrust::builder()
            .env("GZIP_COMPRESSION_JITTER", jitter)
            .played()
            .start();
        for name in CODINGS {
            for length in [1_024, 8_000, 8_192, 16_384, 65_536, 65_537, 300_000] {
                let body = page(length);
                let response = exchange(
                    &thrust,
                    "GET",
                    &format!("accept-encoding: {name}\r\n"),
                    &format!("content-length: {length}\r\n{HTML}"),
                    &body,
                );
                assert_eq!(coding(&response).as_deref(), Some(name));
                assert!(
                    decoded(Some(name), &response.body) == body,
                    "{name} {length}"
                );
            }
        }
    }
}

#[test]
fn the_client_weighs_and_of_equals_our_order_decides() {
    let ours = played();
    let other = Thrust::builder()
        .env("THRUSTER_COMPRESSION_ENCODINGS", "gzip,br")
        .played()
        .start();
    for (thrust, accepted, expected) in [
        (&ours, "gzip, deflate, br, zstd", Some("zstd")),
        (&ours, "gzip, br", Some("br")),
        (&ours, "gzip", Some("gzip")),
        (&ours, "gzip;q=1, zstd;q=0.5", Some("gzip")),
        (&ours, "*", Some("zstd")),
        (&ours, "zstd;q=0, *;q=0.1", Some("br")),
        (&ours, "gzip;q=0", None),
        (&ours, "identity;q=1, gzip;q=0.5", None),
        (&ours, "deflate", None),
        (&ours, "", None),
        (&other, "gzip, deflate, br, zstd", Some("gzip")),
        (&other, "zstd", None),
        (&other, "gzip;q=0.1, br", Some("br")),
    ] {
        let response = answered(thrust, &format!("accept-encoding: {accepted}\r\n"), HTML);
        assert_eq!(coding(&response).as_deref(), expected, "{accepted}");
        assert_eq!(response.field("vary").as_deref(), Some("Accept-Encoding"));
    }
    assert_eq!(coding(&answered(&ours, "", HTML)), None, "nobody asked");
}

#[test]
fn what_does_not_become_smaller_or_may_not_change_is_left_alone() {
    let thrust = Thrust::builder()
        .env(
            "THRUSTER_GZIP_COMPRESSION_EXCEPT_CONTENT_TYPES",
            "text/csv, application/x-",
        )
        .played()
        .start();
    for fields in [
        "content-type: image/png\r\n",
        "content-type: image/jpeg\r\n",
        "content-type: video/mp4\r\n",
        "content-type: application/zip\r\n",
        "content-type: font/woff2\r\n",
        "content-type: text/csv; header=absent\r\n",
        "content-type: application/x-yaml\r\n",
        "",
        "content-type: text/html\r\ncontent-encoding: br\r\n",
        "content-type: text/html\r\ncache-control: public, no-transform\r\n",
        "content-type: text/html\r\ncontent-range: bytes 0-1999/4000\r\n",
    ] {
        let response = answered(&thrust, GZIP, &format!("{fields}etag: \"a\"\r\n"));
        assert_ne!(coding(&response).as_deref(), Some("gzip"), "{fields:?}");
        assert_eq!(response.field("content-length").as_deref(), Some("2000"));
        assert_eq!(response.field("etag").as_deref(), Some("\"a\""));
        assert_eq!(
            response.field("vary"),
            None,
            "nothing to choose: {fields:?}"
        );
    }
    for fields in [
        "content-type: image/svg+xml\r\n",
        "content-type: text/x-yaml\r\n",
    ] {
        let response = answered(&thrust, GZIP, fields);
        assert_eq!(coding(&response).as_deref(), Some("gzip"), "{fields:?}");
    }
}

#[test]
fn what_is_shorter_than_a_kilobyte_is_left_alone() {
    let thrust = played();
    for (length, expected) in [(0, None), (1, None), (1_023, None), (1_024, Some("gzip"))] {
        let response = exchange(
            &thrust,
            "GET",
            GZIP,
            &format!("content-length: {length}\r\n{HTML}"),
            &page(length),
        );
        assert_eq!(coding(&response).as_deref(), expected, "{length}");
        assert_eq!(response.field("vary").is_some(), expected.is_some());
    }
    // Nobody knows how long it will be.
    let chunked = format!("transfer-encoding: chunked\r\n{HTML}");
    let response = exchange(&thrust, "GET", GZIP, &chunked, b"2\r\nok\r\n0\r\n\r\n");
    assert_eq!(coding(&response).as_deref(), Some("gzip"));
}

#[test]
fn statuses_without_a_whole_body_are_left_alone() {
    let thrust = played();
    for (status, body) in [
        ("204 No Content", 0),
        ("205 Reset Content", 0),
        ("206 Partial Content", 2_000),
        ("304 Not Modified", 0),
    ] {
        let length = match body {
            0 => String::new(),
            length => format!("content-length: {length}\r\n"),
        };
        let answer =
            format!("HTTP/1.1 {status}\r\n{length}{HTML}etag: \"a\"\r\naccept-ranges: bytes\r\n");
        let response = exchange(&thrust, "GET", GZIP, &answer, &page(body));
        assert_eq!(coding(&response), None, "{status}");
        assert_eq!(response.field("etag").as_deref(), Some("\"a\""), "{status}");
        assert_eq!(response.field("accept-ranges").as_deref(), Some("bytes"));
        assert_eq!(response.field("vary"), None, "{status}");
    }
}

#[test]
fn errors_and_redirects_with_a_page_are_compressed() {
    let thrust = played();
    for status in [
        "302 Found",
        "404 Not Found",
        "422 Unprocessable Content",
        "500 Oh",
    ] {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2000\r\n{HTML}");
        let response = exchange(&thrust, "GET", GZIP, &answer, &page(2_000));
        assert_eq!(coding(&response).as_deref(), Some("gzip"), "{status}");
    }
}

#[test]
fn the_head_speaks_of_the_encoded_form() {
    let thrust = played();
    let fields = "content-type: text/html\r\netag: \"a\"\r\naccept-ranges: bytes\r\ncontent-md5: x\r\n\
                  repr-digest: sha-256=:x:\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for name in CODINGS {
        let response = answered(&thrust, &format!("accept-encoding: {name}\r\n"), fields);
        let length = response.body.len().to_string();
        for (field, expected) in [
            ("content-encoding", Some(name)),
            ("content-type", Some("text/html")),
            ("content-length", Some(length.as_str())),
            ("etag", Some("W/\"a\"")),
            ("vary", Some("Accept-Encoding")),
            ("accept-ranges", None),
            ("content-md5", None),
            ("repr-digest", None),
            ("last-modified", Some("Sun, 06 Nov 1994 08:49:37 GMT")),
        ] {
            assert_eq!(response.field(field).as_deref(), expected, "{name} {field}");
        }
    }
    let plain = answered(&thrust, "", fields);
    assert_eq!(plain.field("etag").as_deref(), Some("\"a\""));
    assert_eq!(plain.field("accept-ranges").as_deref(), Some("bytes"));
}

#[test]
fn head_says_what_get_would() {
    let thrust = played();
    let fields = "content-length: 2000\r\ncontent-type: text/html\r\netag: \"a\"\r\naccept-ranges: bytes\r\n";
    let get = exchange(&thrust, "GET", GZIP, fields, &page(2_000));
    let head = exchange(&thrust, "HEAD", GZIP, fields, b"");
    for field in [
        "content-encoding",
        "content-type",
        "etag",
        "vary",
        "accept-ranges",
    ] {
        assert_eq!(head.field(field), get.field(field), "{field}");
    }
    assert_eq!(head.field("content-length"), None, "it is not known");
    let plain = exchange(&thrust, "HEAD", "", fields, b"");
    assert_eq!(plain.field("content-length").as_deref(), Some("2000"));
    assert_eq!(plain.field("vary").as_deref(), Some("Accept-Encoding"));
    let short = exchange(
        &thrust,
        "HEAD",
        GZIP,
        "content-length: 9\r\ncontent-type: text/html\r\n",
        b"",
    );
    assert_eq!((coding(&short), short.field("vary")), (None, None));
}

#[test]
fn vary_is_said_once_whatever_the_form() {
    let thrust = played();
    for (said, expected) in [
        ("", "Accept-Encoding"),
        ("vary: Origin\r\n", "Origin, Accept-Encoding"),
        (
            "vary: accept-encoding, Origin\r\n",
            "accept-encoding, Origin",
        ),
        (
            "vary: Origin\r\nvary: Accept-Encoding\r\n",
            "Origin, Accept-Encoding",
        ),
        ("vary: *\r\n", "*"),
    ] {
        for request in [GZIP, ""] {
            let response = answered(&thrust, request, &format!("{HTML}{said}"));
            assert_eq!(
                response.field("vary").as_deref(),
                Some(expected),
                "{said:?}"
            );
        }
    }
}

#[test]
fn a_304_speaks_of_the_form_that_the_client_has() {
    let thrust = played();
    let answer = "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\nvary: Origin\r\n";
    for (known, tag) in [("W/\"a\"", "W/\"a\""), ("\"a\"", "\"a\"")] {
        let request = format!("{GZIP}if-none-match: {known}\r\n");
        let response = exchange(&thrust, "GET", &request, answer, b"");
        assert_eq!(response.field("etag").as_deref(), Some(tag));
        assert_eq!(
            response.field("vary").as_deref(),
            Some("Origin, Accept-Encoding")
        );
    }
}

/// Thruster's rules, to the letter.
#[test]
fn what_belongs_to_one_user_is_left_alone_if_so_told() {
    let careful = |builder: Builder| builder.env("GZIP_COMPRESSION_DISABLE_ON_AUTH", "1");
    let careful = careful(Thrust::builder()).played().start();
    let careless = played();
    for (request, fields, encoded) in [
        ("", "", true),
        ("cookie: a=b\r\n", "", false),
        ("authorization: Bearer x\r\n", "", false),
        ("x-csrf-token: x\r\n", "", false),
        ("", "set-cookie: a=b\r\n", false),
        ("", "cache-control: private\r\n", false),
        (
            "",
            "cache-control: public, private=\"Set-Cookie\"\r\n",
            false,
        ),
        ("", "cache-control: no-store\r\n", false),
        (
            "",
            "cache-control: public\r\ncache-control: private\r\n",
            false,
        ),
        ("", "cache-control: public, ext=\"unterminated\r\n", false),
        ("", "cache-control: public, my-private-setting=1\r\n", true),
        ("", "vary: Accept, Cookie\r\n", false),
        ("", "vary: Cookie-Name\r\n", true),
    ] {
        let request = format!("{GZIP}{request}");
        let fields = format!("{HTML}{fields}");
        let response = answered(&careful, &request, &fields);
        assert_eq!(
            coding(&response).is_some(),
            encoded,
            "{request:?} {fields:?}"
        );
        let response = answered(&careless, &request, &fields);
        assert_eq!(coding(&response).as_deref(), Some("gzip"), "{fields:?}");
    }
}

#[test]
fn switched_off_it_changes_nothing() {
    let thrust = Thrust::builder()
        .env("GZIP_COMPRESSION_ENABLED", "0")
        .played()
        .start();
    let response = answered(&thrust, GZIP, &format!("{HTML}etag: \"a\"\r\n"));
    assert_eq!((coding(&response), response.field("vary")), (None, None));
    assert_eq!(response.field("etag").as_deref(), Some("\"a\""));
}

#[test]
fn the_app_sees_what_the_client_accepts() {
    let thrust = played();
    let mut client = thrust.connect();
    client.send_head("GET", "/", "accept-encoding: gzip;q=0.5, x-own\r\n");
    let (mut app, request) = thrust.app().request();
    assert_eq!(request.field("accept-encoding"), Some("gzip;q=0.5, x-own"));
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_tunnel_is_left_alone() {
    let mut thrust = Thrust::builder().start();
    let mut client = thrust.connect();
    client.send_head(
        "GET",
        "/upgrade",
        &format!("{GZIP}connection: upgrade\r\nupgrade: echo\r\n"),
    );
    let head = client.head();
    assert_eq!(
        (head.status, coding(&head), head.field("vary")),
        (101, None, None)
    );
    let text = "hello ".repeat(1_000);
    client.send(&text);
    assert!(client.read_until(&text).ends_with(&text));
    drop(client);
    assert_eq!(thrust.stop(), 143);
}

#[test]
fn a_client_that_knows_no_chunks_gets_it_up_to_the_close() {
    if !tools_are_here() {
        return;
    }
    let thrust = played();
    let body = page(100_000);
    let mut client: Client = thrust.connect();
    client.send(format!(
        "GET / HTTP/1.0\r\nconnection: keep-alive\r\n{GZIP}\r\n"
    ));
    let (mut app, _) = thrust.app().request();
    app.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n{HTML}\r\n"
    ));
    app.send(&body);
    let head = client.head();
    assert_eq!(coding(&head).as_deref(), Some("gzip"));
    assert_eq!(
        (
            head.field("transfer-encoding"),
            head.field("content-length")
        ),
        (None, None)
    );
    assert!(!head.connection("keep-alive"));
    let (rest, end) = client.rest();
    assert_eq!(end, End::Eof);
    assert!(decoded(Some("gzip"), &rest) == body);
}

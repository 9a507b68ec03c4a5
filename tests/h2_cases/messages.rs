//! What a request is, and what an app's answer becomes.

use crate::{
    case::{Case, case, finish, get, goes_on, post, run},
    wire::{Connection, Event, Fields, STREAM_CLOSED, continuation, data, headers},
};

/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3).
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

#[test]
fn a_request_is_framed_as_it_says() {
    run(&framing());
}

#[test]
fn fields_are_lower_case_and_of_this_version() {
    run(&fields());
}

#[test]
fn pseudo_fields_are_complete_and_in_front() {
    run(&pseudo_fields());
}

#[test]
fn what_would_be_another_request_in_http_1_1_is_none() {
    run(&smuggling());
}

#[test]
fn connect_is_for_web_sockets() {
    run(&connect());
}

#[test]
fn answers_come_as_the_app_gave_them() {
    run(&answers());
}

fn framing() -> Vec<Case> {
    let trailers = || Fields::none().and("x-trailer", "yes");
    let counted = |length: &str| headers(1, Fields::post("/upload").and("content-length", length));
    vec![
        case("9113-8.1 a body and trailers")
            .send(post(1))
            .send(data(1, "body"))
            .send(headers(1, trailers()).end())
            .serves(1),
        case("9113-8.1 trailers without a body")
            .send(post(1))
            .send(headers(1, trailers()).end())
            .serves(1),
        case("9113-8.1 trailers in HEADERS and CONTINUATION")
            .send(post(1))
            .send(headers(1, trailers()).end().more())
            .send(continuation(1, trailers().encoded()))
            .serves(1),
        case("9113-8.1 second HEADERS that do not end the stream")
            .send(post(1))
            .send(headers(1, trailers()))
            .send(data(1, "body").end())
            .refuses(1),
        case("9113-8.1 DATA behind trailers")
            .send(headers(1, Fields::post("/hang")))
            .send(headers(1, trailers()).end())
            .send(data(1, "late").end())
            .resets_or_ends(1, &[STREAM_CLOSED]),
        case("9113-8.1 trailers with a pseudo-field")
            .send(post(1))
            .send(data(1, "body"))
            .send(headers(1, trailers().and(":path", "/other")).end())
            .refuses(1),
        case("9113-8.1 trailers with an upper-case name")
            .send(post(1))
            .send(data(1, "body"))
            .send(headers(1, Fields::none().and("X-Trailer", "yes")).end())
            .refuses(1),
        case("9113-8.1.1 as many octets as were promised")
            .send(counted("8"))
            .send(data(1, "four").padded(4))
            .send(data(1, "more").end())
            .serves(1),
        case("9113-8.1.1 more octets than were promised")
            .send(counted("3"))
            .send(data(1, "body").end())
            .refuses(1),
        case("9113-8.1.1 more octets than were promised, in the second DATA")
            .send(counted("4"))
            .send(data(1, "body"))
            .send(data(1, "body").end())
            .refuses(1),
        case("9113-8.1.1 fewer octets than were promised")
            .send(counted("5"))
            .send(data(1, "body").end())
            .refuses(1),
        case("9113-8.1.1 fewer octets than were promised, and trailers")
            .send(counted("5"))
            .send(data(1, "body"))
            .send(headers(1, trailers()).end())
            .refuses(1),
        case("9113-8.1.1 no octets where some were promised")
            .send(counted("5").end())
            .refuses(1),
        case("9113-8.1.1 two promises that differ")
            .send(headers(
                1,
                Fields::post("/upload")
                    .and("content-length", "4")
                    .and("content-length", "5"),
            ))
            .send(data(1, "body").end())
            .refuses(1),
        case("9113-8.1.1 a promise that is no number")
            .send(counted("+4"))
            .send(data(1, "body").end())
            .refuses(1),
        case("9113-8.1.1 a promise beyond all numbers")
            .send(counted("18446744073709551620"))
            .send(data(1, "body").end())
            .refuses(1),
    ]
}

fn fields() -> Vec<Case> {
    let with = |name: &str, value: &str| headers(1, Fields::get("/hello").and(name, value)).end();
    let named = |name: &[u8]| headers(1, Fields::get("/hello").and(name, "value")).end();
    let valued = |value: &[u8]| headers(1, Fields::get("/hello").and("x-field", value)).end();
    vec![
        case("9113-8.2.1 a name with an upper-case letter")
            .send(named(b"X-field"))
            .refuses(1),
        case("9113-8.2.1 a name with an upper-case letter in the middle")
            .send(named(b"x-fiEld"))
            .refuses(1),
        case("9113-8.2.1 a name with a space")
            .send(named(b"x field"))
            .refuses(1),
        case("9113-8.2.1 a name that ends in a space")
            .send(named(b"x-field "))
            .refuses(1),
        case("9113-8.2.1 a name with a colon")
            .send(named(b"x:field"))
            .refuses(1),
        case("9113-8.2.1 a name that ends in a colon")
            .send(named(b"x-field:"))
            .refuses(1),
        case("9113-8.2.1 a name with CR and LF")
            .send(named(b"x\r\nfield"))
            .refuses(1),
        case("9113-8.2.1 a name with NUL")
            .send(named(b"x\0field"))
            .refuses(1),
        case("9113-8.2.1 a name with DEL")
            .send(named(b"x\x7ffield"))
            .refuses(1),
        case("9113-8.2.1 a name beyond ASCII")
            .send(named(b"x-f\xc3\xaeld"))
            .refuses(1),
        case("9113-8.2.1 a name without a letter")
            .send(named(b""))
            .refuses(1),
        case("9113-8.2.1 a value with NUL")
            .send(valued(b"a\0b"))
            .refuses(1),
        case("9113-8.2.1 a value with CR")
            .send(valued(b"a\rb"))
            .refuses(1),
        case("9113-8.2.1 a value with LF")
            .send(valued(b"a\nb"))
            .refuses(1),
        case("9113-8.2.1 a value with CR and LF")
            .send(valued(b"a\r\nx-other: b"))
            .refuses(1),
        case("9113-8.2.1 a value that begins with a space")
            .send(valued(b" value"))
            .refuses(1),
        case("9113-8.2.1 a value that ends in a space")
            .send(valued(b"value "))
            .refuses(1),
        case("9113-8.2.1 a value that begins with a tab")
            .send(valued(b"\tvalue"))
            .refuses(1),
        case("9113-8.2.1 a value that ends in a tab")
            .send(valued(b"value\t"))
            .refuses(1),
        case("9113-8.2.1 a value without an octet")
            .send(valued(b""))
            .serves(1),
        case("9113-8.2.1 a value with spaces and tabs within")
            .send(valued(b"a b\tc"))
            .serves(1),
        case("9113-8.2.1 a value beyond ASCII")
            .send(valued(b"caf\xc3\xa9"))
            .serves(1),
        case("9113-8.2.2 connection")
            .send(with("connection", "keep-alive"))
            .refuses(1),
        case("9113-8.2.2 connection: close")
            .send(with("connection", "close"))
            .refuses(1),
        case("9113-8.2.2 proxy-connection")
            .send(with("proxy-connection", "keep-alive"))
            .refuses(1),
        case("9113-8.2.2 keep-alive")
            .send(with("keep-alive", "timeout=5"))
            .refuses(1),
        case("9113-8.2.2 transfer-encoding")
            .send(with("transfer-encoding", "chunked"))
            .refuses(1),
        case("9113-8.2.2 upgrade")
            .send(with("upgrade", "websocket"))
            .refuses(1),
        case("9113-8.2.2 te: gzip")
            .send(with("te", "gzip"))
            .refuses(1),
        case("9113-8.2.2 te: trailers, deflate")
            .send(with("te", "trailers, deflate"))
            .refuses(1),
        case("9113-8.2.2 te: trailers")
            .send(with("te", "trailers"))
            .serves(1),
        case("9113-8.2.3 cookies come to the app in one field")
            .send(
                headers(
                    1,
                    Fields::get("/headers")
                        .and("cookie", "a=b")
                        .and("x-other", "1")
                        .and("cookie", "c=d")
                        .and("cookie", "e=f"),
                )
                .end(),
            )
            .holds(|connection| {
                let body = body_of(connection, 1)?;
                let lines: Vec<_> = body
                    .lines()
                    .filter(|line| line.to_lowercase().starts_with("cookie:"))
                    .collect();
                (lines.len() == 1 && lines[0].ends_with(": a=b; c=d; e=f"))
                    .then_some(())
                    .ok_or(format!("{lines:?}"))
            }),
        case("9113-10.5.1 fields of a megabyte").holds(|connection| {
            let fields = (0..1_000).fold(Fields::get("/hello"), |fields, number| {
                fields.and(format!("x-{number}"), [b'a'; 1_000])
            });
            let block = fields.encoded();
            let mut pieces = block.chunks(16_384).peekable();
            connection.send(&get(1).with_payload(pieces.next().unwrap()).more());
            while let Some(piece) = pieces.next() {
                let frame = continuation(1, piece);
                connection.send(&if pieces.peek().is_some() {
                    frame.more()
                } else {
                    frame
                });
            }
            let said = connection.hear(|event| {
                event.status(1).is_some() || event.ends(1) || matches!(event, Event::Goaway { .. })
            });
            match said {
                Ok(event) if event.status(1) == Some(200) => Err("served".into()),
                Ok(Event::Goaway { .. }) => Ok(()),
                Ok(_) => goes_on(connection),
                Err(end) => Err(format!("{end:?} without a word")),
            }
        }),
    ]
}

fn pseudo_fields() -> Vec<Case> {
    let asks = |fields: Fields| headers(1, fields).end();
    let (method, scheme) = ((":method", "GET"), (":scheme", "http"));
    let (authority, path) = ((":authority", "test.example"), (":path", "/hello"));
    let of = |pairs: &[(&str, &str)]| {
        let fields = pairs.iter().fold(Fields::none(), |fields, (name, value)| {
            fields.and(name, value)
        });
        headers(1, fields).end()
    };
    vec![
        case("9113-8.3 pseudo-fields in another order")
            .send(of(&[path, authority, scheme, method]))
            .serves(1),
        case("9113-8.3 a pseudo-field that nobody knows")
            .send(asks(Fields::get("/hello").and(":unknown", "1")))
            .refuses(1),
        case("9113-8.3 a pseudo-field without a name")
            .send(asks(Fields::get("/hello").and(":", "1")))
            .refuses(1),
        case("9113-8.3 a pseudo-field of responses")
            .send(asks(Fields::get("/hello").and(":status", "200")))
            .refuses(1),
        case("9113-8.3 a pseudo-field behind a field")
            .send(of(&[method, scheme, path, ("x-field", "value"), authority]))
            .refuses(1),
        case("9113-8.3 a pseudo-field with an upper-case name")
            .send(of(&[method, scheme, authority, path, (":Method", "GET")]))
            .refuses(1),
        case("9113-8.3.1 no :method")
            .send(of(&[scheme, authority, path]))
            .refuses(1),
        case("9113-8.3.1 no :scheme")
            .send(of(&[method, authority, path]))
            .refuses(1),
        case("9113-8.3.1 no :path")
            .send(of(&[method, scheme, authority]))
            .refuses(1),
        case("9113-8.3.1 no pseudo-field")
            .send(asks(Fields::none().and("host", "test.example")))
            .refuses(1),
        case("9113-8.3.1 no field at all")
            .send(asks(Fields::none()))
            .refuses(1),
        case("9113-8.3.1 two :method")
            .send(of(&[method, method, scheme, authority, path]))
            .refuses(1),
        case("9113-8.3.1 two :scheme")
            .send(of(&[method, scheme, scheme, authority, path]))
            .refuses(1),
        case("9113-8.3.1 two :path")
            .send(of(&[method, scheme, authority, path, path]))
            .refuses(1),
        case("9113-8.3.1 two :path that differ")
            .send(of(&[method, scheme, authority, path, (":path", "/other")]))
            .refuses(1),
        case("9113-8.3.1 two :authority")
            .send(of(&[method, scheme, authority, authority, path]))
            .refuses(1),
        case("9113-8.3.1 an empty :path")
            .send(asks(Fields::get("")))
            .refuses(1),
        case("9113-8.3.1 an empty :method")
            .send(asks(Fields::request("", "/hello")))
            .refuses(1),
        case("9113-8.3.1 an empty :scheme")
            .send(of(&[method, (":scheme", ""), authority, path]))
            .refuses(1),
        case("9113-8.3.1 a :path that does not begin with a slash")
            .send(asks(Fields::get("hello")))
            .refuses(1),
        case("9113-8.3.1 * for a method that is not OPTIONS")
            .send(asks(Fields::get("*")))
            .refuses(1),
        case("9113-8.3.1 * for OPTIONS")
            .send(asks(Fields::request("OPTIONS", "*")))
            .holds(|connection| {
                // What the app says to it, or we, is not what the case is about.
                let said = connection.hear(|event| event.status(1).is_some() || event.ends(1));
                match said {
                    Ok(event) if event.status(1).is_some() => goes_on(connection),
                    other => Err(format!("{other:?}")),
                }
            }),
        case("9113-8.3.1 :authority and no Host becomes Host")
            .send(asks(Fields::get("/headers")))
            .holds(|connection| has_line(connection, "host: test.example")),
        case("9113-8.3.1 Host and no :authority")
            .send(of(&[
                method,
                scheme,
                (":path", "/headers"),
                ("host", "other.example"),
            ]))
            .holds(|connection| has_line(connection, "host: other.example")),
        case("9113-8.3.1 Host and :authority that say the same")
            .send(asks(Fields::get("/hello").and("host", "test.example")))
            .serves(1),
        case("9113-8.3.1 Host and :authority that differ")
            .send(asks(Fields::get("/hello").and("host", "other.example")))
            .refuses(1),
        case("9113-8.3.1 neither Host nor :authority")
            .send(of(&[method, scheme, path]))
            .refuses(1),
        case("9113-8.3.1 two Host")
            .send(of(&[
                method,
                scheme,
                path,
                ("host", "test.example"),
                ("host", "other.example"),
            ]))
            .refuses(1),
        case("9113-8.3.1 an empty :authority")
            .send(of(&[method, scheme, (":authority", ""), path]))
            .refuses(1),
        case("9113-8.3.1 an :authority with a user")
            .send(of(&[
                method,
                scheme,
                (":authority", "user@test.example"),
                path,
            ]))
            .refuses(1),
    ]
}

fn smuggling() -> Vec<Case> {
    let authority = |authority: &str| {
        let fields = Fields::none()
            .and(":method", "GET")
            .and(":scheme", "http")
            .and(":authority", authority)
            .and(":path", "/hello");
        headers(1, fields).end()
    };
    vec![
        case("9113-10.3 a :method with a space")
            .send(headers(1, Fields::request("GET /admin", "/hello")).end())
            .refuses(1),
        case("9113-10.3 a :method with CR and LF")
            .send(headers(1, Fields::request("GET / HTTP/1.1\r\nx: y", "/hello")).end())
            .refuses(1),
        case("9113-10.3 a :path with a space")
            .send(headers(1, Fields::get("/hello HTTP/1.1")).end())
            .refuses(1),
        case("9113-10.3 a :path with CR and LF")
            .send(headers(1, Fields::get("/hello HTTP/1.1\r\nx: y\r\n\r\n")).end())
            .refuses(1),
        case("9113-10.3 a :path with NUL")
            .send(headers(1, Fields::get("/hel\0lo")).end())
            .refuses(1),
        case("9113-10.3 a :path with a tab")
            .send(headers(1, Fields::get("/hel\tlo")).end())
            .refuses(1),
        case("9113-10.3 an :authority with CR and LF")
            .send(authority("test.example\r\nx: y"))
            .refuses(1),
        case("9113-10.3 an :authority with a space")
            .send(authority("test.example x"))
            .refuses(1),
        case("9113-10.3 an :authority with a slash")
            .send(authority("test.example/admin"))
            .refuses(1),
        case("9113-10.3 a Host with a slash")
            .send(
                headers(
                    1,
                    Fields::none()
                        .and(":method", "GET")
                        .and(":scheme", "http")
                        .and(":path", "/hello")
                        .and("host", "test.example/admin"),
                )
                .end(),
            )
            .refuses(1),
        case("9113-10.3 a :scheme with CR and LF")
            .send(
                headers(
                    1,
                    Fields::none()
                        .and(":method", "GET")
                        .and(":scheme", "http\r\nx: y")
                        .and(":authority", "test.example")
                        .and(":path", "/hello"),
                )
                .end(),
            )
            .refuses(1),
        case("9113-10.3 a body that looks like another request")
            .send(headers(1, Fields::post("/echo")))
            .send(
                data(
                    1,
                    "0\r\n\r\nGET /admin HTTP/1.1\r\nhost: test.example\r\n\r\n",
                )
                .end(),
            )
            .holds(|connection| {
                let body = body_of(connection, 1)?;
                body.starts_with("0\r\n\r\nGET /admin")
                    .then_some(())
                    .ok_or(body)?;
                goes_on(connection)
            }),
        case("9113-10.3 a name that some apps take for another")
            .send(
                headers(
                    1,
                    Fields::get("/headers").and("x_forwarded_for", "192.0.2.1"),
                )
                .end(),
            )
            .holds(|connection| {
                let body = body_of(connection, 1)?;
                (!body.contains("x_forwarded_for"))
                    .then_some(())
                    .ok_or(body)
            }),
    ]
}

fn connect() -> Vec<Case> {
    let extended =
        |protocol: &str| Fields::request("CONNECT", "/upgrade").and(":protocol", protocol);
    let tunnel = || headers(1, extended("websocket").and("sec-websocket-version", "13"));
    vec![
        case("9113-8.5 CONNECT is no way out")
            .send(headers(
                1,
                Fields::none()
                    .and(":method", "CONNECT")
                    .and(":authority", "test.example:443"),
            ))
            .holds(|connection| {
                let said = connection.hear(|event| event.status(1).is_some() || event.ends(1));
                match said {
                    Ok(event) if event.status(1) == Some(200) => Err("a tunnel".into()),
                    Ok(_) => goes_on(connection),
                    Err(end) => Err(format!("{end:?}")),
                }
            }),
        case("9113-8.5 CONNECT with :scheme and :path")
            .send(headers(1, Fields::request("CONNECT", "/hello")))
            .refuses(1),
        case("9113-8.5 CONNECT without :authority")
            .send(headers(1, Fields::none().and(":method", "CONNECT")))
            .refuses(1),
        case("8441-3 extended CONNECT is offered").holds(|connection| {
            let offered = connection.setting(ENABLE_CONNECT_PROTOCOL);
            (offered == Some(1))
                .then_some(())
                .ok_or(format!("{offered:?}"))
        }),
        case("8441-4 :protocol in a GET")
            .send(headers(1, Fields::get("/hello").and(":protocol", "websocket")).end())
            .refuses(1),
        case("8441-4 extended CONNECT without :path")
            .send(headers(
                1,
                Fields::none()
                    .and(":method", "CONNECT")
                    .and(":protocol", "websocket")
                    .and(":scheme", "http")
                    .and(":authority", "test.example"),
            ))
            .refuses(1),
        case("8441-4 extended CONNECT without :scheme")
            .send(headers(
                1,
                Fields::none()
                    .and(":method", "CONNECT")
                    .and(":protocol", "websocket")
                    .and(":path", "/upgrade")
                    .and(":authority", "test.example"),
            ))
            .refuses(1),
        case("8441-4 two :protocol")
            .send(headers(
                1,
                extended("websocket").and(":protocol", "websocket"),
            ))
            .refuses(1),
        case("8441-4 extended CONNECT for what we do not speak")
            .send(headers(1, extended("connect-udp")))
            .holds(|connection| {
                let said = connection.hear(|event| event.status(1).is_some() || event.ends(1));
                match said {
                    Ok(event) if event.status(1).is_some_and(|status| status >= 400) => {
                        goes_on(connection)
                    }
                    Ok(Event::Reset { .. }) => goes_on(connection),
                    other => Err(format!("{other:?}")),
                }
            }),
        case("8441-5 a WebSocket: both ways, and a close from either side")
            .send(tunnel())
            .holds(|connection| {
                let head = connection.hear(|event| event.status(1).is_some());
                let Ok(Event::Headers {
                    fields, end: false, ..
                }) = &head
                else {
                    return Err(format!("{head:?}"));
                };
                let hop = fields.iter().find(|(name, _)| {
                    ["upgrade", "connection", "sec-websocket-accept"].contains(&name.as_str())
                });
                if fields[0].1 != "200" || hop.is_some() {
                    return Err(format!("{fields:?}"));
                }
                hears_bytes(connection, 1, "welcome\n")?;
                connection.send(&data(1, "one"));
                hears_bytes(connection, 1, "welcome\none")?;
                connection.send(&data(1, "two").end());
                hears_bytes(connection, 1, "welcome\nonetwo")?;
                finish(connection, 1)?;
                goes_on(connection)
            }),
        case("8441-5 a WebSocket that the client resets")
            .send(tunnel())
            .perform(|connection| hears_bytes(connection, 1, "welcome\n"))
            .send(crate::wire::reset(1, crate::wire::CANCEL))
            .goes_on(),
        case("8441-5 what is sent before the answer is not lost")
            .send(tunnel())
            .send(data(1, "early"))
            .holds(|connection| hears_bytes(connection, 1, "welcome\nearly")),
        case("8441-5 a WebSocket that the app refuses")
            .send(headers(
                1,
                Fields::request("CONNECT", "/status?code=403")
                    .and(":protocol", "websocket")
                    .and("sec-websocket-version", "13"),
            ))
            .holds(|connection| {
                match connection.hear(|event| event.status(1).is_some() || event.ends(1)) {
                    Ok(event) if event.status(1) == Some(403) => goes_on(connection),
                    other => Err(format!("{other:?}")),
                }
            }),
        case("8441-5 HEADERS in a WebSocket")
            .send(tunnel())
            .perform(|connection| hears_bytes(connection, 1, "welcome\n"))
            .send(headers(1, Fields::none().and("x-trailer", "yes")))
            .holds(|connection| {
                // Malformed, or what is in it is ignored: but the connection goes on.
                goes_on(connection)
            }),
    ]
}

fn answers() -> Vec<Case> {
    let asks = |path: &str| headers(1, Fields::get(path)).end();
    vec![
        case("9113-8.2.2 no field of HTTP/1.1 comes back")
            .send(asks("/chunked?n=3&size=10&delay_ms=0"))
            .holds(|connection| {
                let body = body_of(connection, 1)?;
                let fields = fields_of(connection, 1);
                let hop = [
                    "connection",
                    "keep-alive",
                    "transfer-encoding",
                    "upgrade",
                    "proxy-connection",
                ];
                let bad = fields.iter().find(|(name, _)| {
                    hop.contains(&name.as_str()) || name.chars().any(char::is_uppercase)
                });
                if let Some(bad) = bad {
                    return Err(format!("{bad:?}"));
                }
                (body.len() == 30).then_some(()).ok_or(body)
            }),
        case("9113-8.1 trailers of the app's")
            .send(headers(1, Fields::get("/trailers").and("te", "trailers")).end())
            .holds(|connection| {
                finish(connection, 1)?;
                let trailers = connection.heard.iter().rev().find_map(|event| match event {
                    Event::Headers {
                        stream: 1,
                        fields,
                        end: true,
                    } if fields[0].0 != ":status" => Some(fields.len()),
                    _ => None,
                });
                trailers.map(drop).ok_or_else(|| "no trailers".into())
            }),
        case("9113-8.1 HEAD has no body")
            .send(headers(1, Fields::request("HEAD", "/bytes?n=100")).end())
            .holds(|connection| {
                let body = body_of(connection, 1)?;
                let length = fields_of(connection, 1)
                    .into_iter()
                    .find(|(name, _)| name == "content-length");
                match (body.is_empty(), length) {
                    (true, Some((_, length))) if length == "100" => goes_on(connection),
                    other => Err(format!("{other:?}")),
                }
            }),
        case("9113-8.1 204 and 304 have no body")
            .send(asks("/status?code=204"))
            .send(headers(3, Fields::get("/status?code=304")).end())
            .holds(|connection| {
                finish(connection, 1)?;
                finish(connection, 3)?;
                goes_on(connection)
            }),
        case("9113-8.1 an answer before the body has come, and the rest of the body")
            .send(headers(1, Fields::post("/early")))
            .holds(|connection| {
                connection.send(&data(1, [b'a'; 10_000]));
                let head = connection.hear(|event| event.status(1).is_some());
                let right = head
                    .as_ref()
                    .is_ok_and(|event| event.status(1) == Some(403));
                right.then_some(()).ok_or(format!("{head:?}"))?;
                connection.send(&data(1, "more").end());
                goes_on(connection)
            }),
        case("9113-8.1.1 an app that promises more than it sends: the stream is reset, not ended")
            .send(asks("/abort?after=1000"))
            .holds(|connection| match connection.hear(|event| event.ends(1)) {
                Ok(Event::Reset { .. }) => goes_on(connection),
                other => Err(format!("{other:?}")),
            }),
        case("9113-8.1 a body that was to wait for 100")
            .send(headers(
                1,
                Fields::post("/upload")
                    .and("expect", "100-continue")
                    .and("content-length", "4"),
            ))
            .holds(|connection| {
                // A client must not wait for 100 for ever (RFC 9110 section 10.1.1), and few do at all.
                connection
                    .listen(std::time::Duration::from_millis(300))
                    .map_err(|end| format!("{end:?}"))?;
                connection.send(&data(1, "body").end());
                match connection.hear(|event| event.status(1).is_some()) {
                    Ok(event) if event.status(1) == Some(200) => goes_on(connection),
                    other => Err(format!("{other:?}")),
                }
            }),
        case("9113-8.1 a body of a megabyte comes whole")
            .settings(&[(0x4, 1 << 24)])
            .send(crate::wire::window_update(0, 1 << 24))
            .send(asks("/bytes?n=1000000"))
            .holds(|connection| {
                let length = body_of(connection, 1)?.len();
                (length == 1_000_000)
                    .then_some(())
                    .ok_or(format!("{length}"))
            }),
    ]
}

/// The octets of DATA heard so far.
pub(crate) fn bytes_of(connection: &Connection, wanted: u32) -> Vec<u8> {
    let pieces = connection.heard.iter().filter_map(|event| match event {
        Event::Data { stream, bytes, .. } if *stream == wanted => Some(&bytes[..]),
        _ => None,
    });
    pieces.collect::<Vec<_>>().concat()
}

/// The whole body, once the stream has ended.
pub(crate) fn body_of(connection: &mut Connection, stream: u32) -> Result<String, String> {
    finish(connection, stream)?;
    let is_reset =
        |event: &Event| matches!(event, Event::Reset { stream: of, .. } if *of == stream);
    if let Some(event) = connection.heard.iter().find(|event| is_reset(event)) {
        return Err(format!("{event:?}"));
    }
    Ok(String::from_utf8_lossy(&bytes_of(connection, stream)).into_owned())
}

/// The fields of the final response's head.
fn fields_of(connection: &Connection, stream: u32) -> Vec<(String, String)> {
    let head = connection
        .heard
        .iter()
        .find(|event| event.status(stream).is_some());
    match head {
        Some(Event::Headers { fields, .. }) => fields.clone(),
        _ => Vec::new(),
    }
}

/// What the app got has this line, and the connection goes on.
fn has_line(connection: &mut Connection, wanted: &str) -> Result<(), String> {
    let body = body_of(connection, 1)?;
    let has = body.lines().any(|line| line.eq_ignore_ascii_case(wanted));
    has.then_some(()).ok_or(body)?;
    goes_on(connection)
}

fn hears_bytes(connection: &mut Connection, stream: u32, wanted: &str) -> Result<(), String> {
    while bytes_of(connection, stream).len() < wanted.len() {
        let came = bytes_of(connection, stream).len();
        connection
            .next()
            .map_err(|end| format!("{end:?} after {came} octets"))?;
    }
    let came = bytes_of(connection, stream);
    (came == wanted.as_bytes())
        .then_some(())
        .ok_or(String::from_utf8_lossy(&came).into_owned())
}

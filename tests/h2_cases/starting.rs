//! How a connection begins, and what a frame is.

use crate::{
    case::{Case, case, get, goes_on, hang, post, run},
    wire::{
        COMPRESSION_ERROR, Connection, End, Event, FRAME_SIZE_ERROR, Fields, Frame, HEADERS,
        PREFACE, PROTOCOL_ERROR, continuation, data, headers, ping, priority, reset, settings,
    },
};

/// SETTINGS_MAX_FRAME_SIZE.
const MAX_FRAME_SIZE: u16 = 0x5;

/// A type that no document defines.
const UNKNOWN: u8 = 0x42;

#[test]
fn a_connection_begins_with_the_preface_and_nothing_else() {
    run(&preface());
}

#[test]
fn a_frame_is_of_a_size_and_of_a_type() {
    run(&frames());
}

#[test]
fn a_field_block_is_whole_and_decodes() {
    run(&field_blocks());
}

fn preface() -> Vec<Case> {
    vec![
        case("9113-3.4 the server's first frame is SETTINGS, which do not enable push")
            .silently()
            .bytes(PREFACE)
            .send(settings(&[]))
            .holds(|connection| match connection.next() {
                Ok(Event::Settings(values)) if !values.iter().any(|(id, value)| *id == 2 && *value != 0) => Ok(()),
                other => Err(format!("first {other:?}")),
            }),
        case("9113-3.4 a preface, SETTINGS and a request in one write")
            .silently()
            .bytes([PREFACE, &settings(&[]).encode(), &get(1).encode()].concat())
            .serves(1),
        case("9113-3.4 a request before the server's SETTINGS are acknowledged")
            .silently()
            .perform(|connection| {
                connection.be_rude();
                Ok(())
            })
            .bytes([PREFACE, &settings(&[]).encode(), &get(1).encode()].concat())
            .serves(1),
        case("9113-3.4 a preface in many pieces")
            .silently()
            .perform(|connection| {
                for octet in [PREFACE, &settings(&[]).encode()].concat() {
                    connection.write(&[octet]).map_err(|error| error.to_string())?;
                    std::thread::yield_now();
                }
                Ok(())
            })
            .send(get(1))
            .serves(1),
        case("9113-3.4 a preface that goes wrong in its last line")
            .silently()
            .bytes("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
            .send(settings(&[]))
            .closes(),
        case("9113-3.4 a preface that goes wrong in its first line")
            .silently()
            .bytes("PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n")
            .send(settings(&[]))
            .closes(),
        case("9113-3.4 a first frame that is no SETTINGS")
            .silently()
            .bytes(PREFACE)
            .send(ping(*b"too soon"))
            .closes(),
        case("9113-3.4 a first frame that is HEADERS").silently().bytes(PREFACE).send(get(1)).closes(),
        case("9113-3.1 Upgrade: h2c is no way in")
            .silently()
            .bytes(
                "GET /hello HTTP/1.1\r\nhost: test.example\r\nconnection: upgrade, http2-settings\r\n\
                 upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
            )
            .holds(is_answered_in_http_1_1),
        case("9113-3.3 HTTP/1.1 on the same port")
            .silently()
            .bytes("GET /hello HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n\r\n")
            .holds(is_answered_in_http_1_1),
        case("9113-3.3 HTTP/1.1 that begins as the preface does")
            .silently()
            .bytes("PRINT /hello HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n\r\n")
            .holds(is_answered_in_http_1_1),
    ]
}

/// With whatever status, but 101.
fn is_answered_in_http_1_1(connection: &mut Connection) -> Result<(), String> {
    let mut answer = Vec::new();
    // A connection that is kept alive says nothing more.
    while !answer.ends_with(b"\n") {
        let (more, end) = connection.raw();
        answer.extend(more);
        if end != End::Timeout || !answer.is_empty() {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    match answer.starts_with("HTTP/1.1 ") && !answer.starts_with("HTTP/1.1 101") {
        true => Ok(()),
        false => Err(format!("answered {answer:?}")),
    }
}

fn frames() -> Vec<Case> {
    vec![
        case("9113-4.1 a frame of an unknown type")
            .send(Frame::new(UNKNOWN, 0xff, 0, "whatever"))
            .goes_on(),
        case("9113-4.1 a frame of an unknown type on a stream that is open")
            .send(post(1))
            .send(Frame::new(UNKNOWN, 0xff, 1, "whatever"))
            .send(data(1, "body").end())
            .serves(1),
        case("9113-4.1 a frame of an unknown type on a stream that is not")
            .send(Frame::new(UNKNOWN, 0, 7, ""))
            .send(get(1))
            .serves(1),
        case("9113-4.1 flags that PING does not have")
            .send(ping(*b"flagged!").with_flags(0xfe))
            .holds(|connection| hears_ping_ack(connection, *b"flagged!")),
        case("9113-4.1 flags that HEADERS do not have")
            .send(get(1).with_flags(0x92))
            .serves(1),
        case("9113-4.1 the reserved bit on a stream")
            .send(Frame {
                stream: 1 | 1 << 31,
                ..get(1)
            })
            .serves(1),
        case("9113-4.1 the reserved bit on the connection")
            .send(Frame {
                stream: 1 << 31,
                ..ping(*b"reserved")
            })
            .holds(|connection| hears_ping_ack(connection, *b"reserved")),
        case("9113-4.2 DATA of the largest size that everybody takes")
            .send(post(1))
            .send(data(1, [0; 16_384]).end())
            .serves(1),
        case("9113-4.2 DATA that are larger than the server's SETTINGS allow")
            .send(post(1))
            .perform(|connection| send_oversized(connection, |length| data(1, vec![0; length])))
            .resets_or_ends(1, &[FRAME_SIZE_ERROR]),
        case("9113-4.2 HEADERS that are larger than the server's SETTINGS allow")
            .perform(|connection| {
                send_oversized(connection, |length| {
                    let fields = Fields::get("/hello").and("x-large", vec![b'a'; length]);
                    let mut frame = headers(1, fields).end();
                    frame.payload.truncate(length);
                    frame
                })
            })
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-4.2 SETTINGS that are larger than the server's SETTINGS allow")
            .perform(|connection| {
                send_oversized(connection, |length| {
                    settings(&vec![(0x7777, 0); length / 6 + 1])
                })
            })
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-4.2 PING that are larger than the server's SETTINGS allow")
            .perform(|connection| {
                send_oversized(connection, |length| {
                    ping([0; 8]).with_payload(vec![0; length])
                })
            })
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-4.2 a frame of an unknown type that is larger than the server's SETTINGS allow")
            .perform(|connection| {
                send_oversized(connection, |length| {
                    Frame::new(UNKNOWN, 0, 0, vec![0; length])
                })
            })
            .ends(&[FRAME_SIZE_ERROR]),
    ]
}

fn send_oversized(
    connection: &mut Connection,
    frame: impl FnOnce(usize) -> Frame,
) -> Result<(), String> {
    let most = connection.setting(MAX_FRAME_SIZE).unwrap_or(16_384);
    connection.send(&frame(most as usize + 1));
    Ok(())
}

fn hears_ping_ack(connection: &mut Connection, bytes: [u8; 8]) -> Result<(), String> {
    let heard = connection.hear(|event| *event == Event::PingAck(bytes));
    heard
        .map(drop)
        .map_err(|end| format!("{end:?} and no answer to PING"))
}

fn field_blocks() -> Vec<Case> {
    let request = || Fields::get("/hello").encoded();
    let (first, second) = {
        let whole = request();
        (whole[..9].to_vec(), whole[9..].to_vec())
    };
    let begun = move || Frame::new(HEADERS, 0x1, 1, first.clone());
    let rest = move || second.clone();
    vec![
        case("9113-4.3 a block that does not decode")
            .send(headers(1, Fields::get("/hello").bytes([0x40, 0x05, b'a'])).end())
            .ends(&[COMPRESSION_ERROR]),
        case("9113-4.3 a block in HEADERS and CONTINUATION, cut within a field")
            .send(begun())
            .send(continuation(1, rest()))
            .serves(1),
        case("9113-4.3 a block in many small frames")
            .send(begun())
            .perform(|connection| {
                let block = &Fields::get("/hello").encoded()[9..];
                let mut pieces = block.chunks(block.len().div_ceil(4)).peekable();
                while let Some(piece) = pieces.next() {
                    let frame = continuation(1, piece);
                    connection.send(&if pieces.peek().is_some() {
                        frame.more()
                    } else {
                        frame
                    });
                }
                Ok(())
            })
            .serves(1),
        case("9113-4.3 fragments without a byte")
            .send(get(1).with_payload([]).more())
            .send(continuation(1, []).more())
            .send(continuation(1, request()).more())
            .send(continuation(1, []))
            .serves(1),
        case("9113-4.3 HEADERS that do not end, then PRIORITY")
            .send(begun())
            .send(priority(3, 0))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-4.3 HEADERS that do not end, then DATA of the same stream")
            .send(begun())
            .send(data(1, "body"))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-4.3 HEADERS that do not end, then HEADERS of another stream")
            .send(begun())
            .send(get(3))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-4.3 HEADERS that do not end, then PING")
            .send(begun())
            .send(ping(*b"between!"))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-4.3 HEADERS that do not end, then SETTINGS")
            .send(begun())
            .send(settings(&[]))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-4.3 HEADERS that do not end, then RST_STREAM of the same stream")
            .send(begun())
            .send(reset(1, PROTOCOL_ERROR))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-5.5 HEADERS that do not end, then a frame of an unknown type")
            .send(begun())
            .send(Frame::new(UNKNOWN, 0, 1, "whatever"))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-4.3 the table remembers the fields of a request that is refused")
            .send(
                headers(
                    1,
                    Fields::none()
                        .and_remember("x-kept", "yes")
                        .bytes(request()),
                )
                .end(),
            )
            .send(headers(3, Fields::get("/headers").indexed(62)).end())
            .holds(|connection| {
                let body = crate::messages::body_of(connection, 3)?.to_lowercase();
                body.contains("x-kept: yes").then_some(()).ok_or(body)?;
                goes_on(connection)
            }),
        case("9113-4.3 the table remembers the fields of a request that was reset")
            .send(hang(1))
            .send(reset(1, crate::wire::CANCEL))
            .send(headers(3, Fields::get("/hello").and_remember("x-kept", "yes")).end())
            .send(headers(5, Fields::get("/headers").indexed(62)).end())
            .holds(|connection| {
                let body = crate::messages::body_of(connection, 5)?.to_lowercase();
                body.contains("x-kept: yes").then_some(()).ok_or(body)
            }),
    ]
}

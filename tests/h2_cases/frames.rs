//! Each type of frame: on which stream, of which size, with which contents.

use crate::{
    case::{Case, case, finish, get, goes_on, hang, is_silent, post, run},
    wire::{
        CANCEL, Code, Connection, Event, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, Fields, Frame,
        NO_ERROR, PROTOCOL_ERROR, PUSH_PROMISE, STREAM_CLOSED, continuation, data, goaway, headers,
        ping, priority, reset, settings, window_update,
    },
};

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;

#[test]
fn data_belongs_to_a_stream() {
    run(&data_frames());
}

#[test]
fn headers_open_a_stream() {
    run(&headers_frames());
}

#[test]
fn priority_is_heard_and_forgotten() {
    run(&priority_frames());
}

#[test]
fn rst_stream_ends_one_stream() {
    run(&rst_stream_frames());
}

#[test]
fn settings_are_checked_applied_and_acknowledged() {
    run(&settings_frames());
}

#[test]
fn nobody_pushes_to_a_server() {
    run(&push_promise_frames());
}

#[test]
fn ping_is_answered_and_goaway_understood() {
    run(&ping_and_goaway_frames());
}

#[test]
fn windows_open_and_close() {
    run(&window_update_frames());
}

#[test]
fn continuation_continues_something() {
    run(&continuation_frames());
}

fn data_frames() -> Vec<Case> {
    vec![
        case("9113-6.1 DATA on stream 0")
            .send(data(0, "body"))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.1 DATA with a pad length of the whole payload")
            .send(post(1))
            .send(data(1, "body").padded_by_its_word(5).end())
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.1 DATA with a pad length beyond the payload")
            .send(post(1))
            .send(data(1, "body").padded_by_its_word(255).end())
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.1 DATA with PADDED and without a pad length")
            .send(post(1))
            .send(data(1, "").with_flags(0x8).end())
            .ends(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        case("9113-6.1 padding is left out")
            .send(headers(1, Fields::post("/echo")))
            .send(data(1, "one ").padded(200))
            .send(data(1, "two").padded(0))
            .send(data(1, "").padded(7).end())
            .holds(|connection| is_body(connection, 1, "one two")),
        case("9113-6.1 a body without a byte")
            .send(post(1))
            .send(data(1, "").end())
            .serves(1),
        case("9113-6.1 DATA behind the end")
            .send(hang(1))
            .send(data(1, "body"))
            .resets_or_ends(1, &[STREAM_CLOSED]),
    ]
}

fn headers_frames() -> Vec<Case> {
    vec![
        case("9113-6.2 HEADERS on stream 0")
            .send(get(0))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.2 HEADERS with padding")
            .send(get(1).padded(100))
            .serves(1),
        case("9113-6.2 HEADERS with priority")
            .send(get(1).depending_on(0))
            .serves(1),
        case("9113-6.2 HEADERS with an exclusive dependency")
            .send(get(1).depending_on(1 << 31))
            .serves(1),
        case("9113-6.2 HEADERS with padding and priority")
            .send(get(1).depending_on(0).padded(9))
            .serves(1),
        case("9113-6.2 HEADERS with a pad length of more than the payload")
            .send(get(1).with_payload("a").padded_by_its_word(200))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.2 HEADERS with PADDED and without a pad length")
            .send(get(1).with_payload([]).with_flags(0x8))
            .ends(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        case("9113-6.2 HEADERS with PRIORITY and half a dependency")
            .send(get(1).with_payload([0, 0]).with_flags(0x20))
            .ends(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
    ]
}

fn priority_frames() -> Vec<Case> {
    let short = |stream| priority(stream, 0).with_payload([0; 4]);
    vec![
        case("9113-6.3 PRIORITY on stream 0")
            .send(priority(0, 1))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.3 PRIORITY of four octets")
            .send(hang(1))
            .send(short(1))
            .resets_or_ends(1, &[FRAME_SIZE_ERROR]),
        case("9113-6.3 PRIORITY of six octets")
            .send(hang(1))
            .send(priority(1, 0).with_payload([0; 6]))
            .resets_or_ends(1, &[FRAME_SIZE_ERROR]),
        case("9113-6.3 PRIORITY in the midst of a body")
            .send(post(1))
            .send(data(1, "bo"))
            .send(priority(1, 3))
            .send(data(1, "dy").end())
            .serves(1),
        case("9113-6.3 PRIORITY on an even stream")
            .send(priority(2, 0))
            .goes_on(),
    ]
}

fn rst_stream_frames() -> Vec<Case> {
    vec![
        case("9113-6.4 RST_STREAM on stream 0")
            .send(reset(0, CANCEL))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.4 RST_STREAM on an idle stream")
            .send(reset(1, CANCEL))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.4 RST_STREAM of three octets")
            .send(hang(1))
            .send(reset(1, CANCEL).with_payload([0; 3]))
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-6.4 RST_STREAM of five octets")
            .send(hang(1))
            .send(reset(1, CANCEL).with_payload([0; 5]))
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-6.4 RST_STREAM in the midst of a body")
            .send(post(1))
            .send(data(1, "bo"))
            .send(reset(1, CANCEL))
            .goes_on(),
        case("9113-7 RST_STREAM with a code that nobody knows")
            .send(hang(1))
            .send(reset(1, Code(0xffff_ffff)))
            .goes_on(),
    ]
}

fn settings_frames() -> Vec<Case> {
    vec![
        case("9113-6.5 SETTINGS with ACK and a payload")
            .send(settings(&[(ENABLE_PUSH, 0)]).ack())
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-6.5 SETTINGS on a stream")
            .send(Frame {
                stream: 1,
                ..settings(&[])
            })
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.5 SETTINGS of three octets")
            .send(settings(&[]).with_payload([0; 3]))
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-6.5 SETTINGS of seven octets")
            .send(settings(&[]).with_payload([0; 7]))
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-6.5.2 ENABLE_PUSH of 2")
            .send(settings(&[(ENABLE_PUSH, 2)]))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.5.2 INITIAL_WINDOW_SIZE of 2^31")
            .send(settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]))
            .ends(&[FLOW_CONTROL_ERROR]),
        case("9113-6.5.2 MAX_FRAME_SIZE below 2^14")
            .send(settings(&[(MAX_FRAME_SIZE, 16_383)]))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.5.2 MAX_FRAME_SIZE of 2^24")
            .send(settings(&[(MAX_FRAME_SIZE, 1 << 24)]))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.5.2 the largest values that there may be")
            .send(settings(&[
                (HEADER_TABLE_SIZE, u32::MAX),
                (MAX_CONCURRENT_STREAMS, u32::MAX),
                (INITIAL_WINDOW_SIZE, (1 << 31) - 1),
                (MAX_FRAME_SIZE, (1 << 24) - 1),
                (MAX_HEADER_LIST_SIZE, u32::MAX),
            ]))
            .goes_on(),
        case("9113-6.5.2 a setting that nobody knows")
            .send(settings(&[(0xf0f0, 77)]))
            .goes_on(),
        case("9113-6.5.3 each SETTINGS is acknowledged")
            .send(settings(&[]))
            .send(settings(&[(INITIAL_WINDOW_SIZE, 100)]))
            .send(settings(&[]))
            .holds(|connection| {
                connection.round_trip().map_err(|end| format!("{end:?}"))?;
                let acks = connection
                    .heard
                    .iter()
                    .filter(|event| **event == Event::SettingsAck);
                // One was for those of the beginning.
                let acks = acks.count();
                (acks == 4)
                    .then_some(())
                    .ok_or(format!("{acks} acknowledgements"))
            }),
        case("9113-6.5.3 of two values for one setting the last counts")
            .send(settings(&[
                (INITIAL_WINDOW_SIZE, 100),
                (INITIAL_WINDOW_SIZE, 1),
            ]))
            .send(headers(1, Fields::get("/bytes?n=50")).end())
            .holds(|connection| sends_exactly(connection, 1, 1)),
        case("9113-6.5 ACK for SETTINGS that were never sent")
            .send(settings(&[]).ack())
            .holds(|connection| {
                // Nothing forbids it, and nothing asks to bear it.
                match connection.round_trip() {
                    Ok(()) => goes_on(connection),
                    Err(_)
                        if connection.heard.iter().any(|event| {
                            matches!(
                                event,
                                Event::Goaway {
                                    code: PROTOCOL_ERROR,
                                    ..
                                }
                            )
                        }) =>
                    {
                        Ok(())
                    }
                    Err(end) => Err(format!("{end:?}")),
                }
            }),
        case("7541-4.2 a table of no size is not used")
            .settings(&[(HEADER_TABLE_SIZE, 0)])
            .send(get(1))
            .finish(1)
            .send(get(3))
            .serves(3),
        case("7541-4.2 a table that shrinks and grows between requests")
            .send(get(1))
            .finish(1)
            .send(settings(&[(HEADER_TABLE_SIZE, 0)]))
            .send(settings(&[(HEADER_TABLE_SIZE, 100)]))
            .send(get(3))
            .finish(3)
            .send(get(5))
            .serves(5),
    ]
}

fn push_promise_frames() -> Vec<Case> {
    let promise = |stream| {
        let payload = [&2_u32.to_be_bytes()[..], &Fields::get("/hello").encoded()].concat();
        Frame::new(PUSH_PROMISE, 0x4, stream, payload)
    };
    vec![
        case("9113-6.6 PUSH_PROMISE on an idle stream")
            .send(promise(1))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.6 PUSH_PROMISE on stream 0")
            .send(promise(0))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-8.4 PUSH_PROMISE on a stream that is open")
            .send(hang(1))
            .send(promise(1))
            .ends(&[PROTOCOL_ERROR]),
    ]
}

fn ping_and_goaway_frames() -> Vec<Case> {
    vec![
        case("9113-6.7 PING is answered with what it says")
            .send(ping(*b"\x00\xff8bytes"))
            .holds(|connection| {
                let heard = connection.hear(|event| matches!(event, Event::PingAck(_)));
                (heard == Ok(Event::PingAck(*b"\x00\xff8bytes")))
                    .then_some(())
                    .ok_or(format!("{heard:?}"))
            }),
        case("9113-6.7 an answer to PING is not answered")
            .send(ping(*b"answered").ack())
            .holds(|connection| {
                is_silent(connection, |event| *event == Event::PingAck(*b"answered"))?;
                goes_on(connection)
            }),
        case("9113-6.7 PING on a stream")
            .send(Frame {
                stream: 1,
                ..ping(*b"astream!")
            })
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.7 PING of six octets")
            .send(ping([0; 8]).with_payload([0; 6]))
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-6.7 PING of nine octets")
            .send(ping([0; 8]).with_payload([0; 9]))
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-6.8 GOAWAY on a stream")
            .send(Frame {
                stream: 1,
                ..goaway(0, NO_ERROR)
            })
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.8 GOAWAY of four octets")
            .send(goaway(0, NO_ERROR).with_payload([0; 4]))
            .ends(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        case("9113-6.8 GOAWAY with what went wrong")
            .send(headers(1, Fields::get("/slow?ms=100")).end())
            .perform(|connection| {
                let mut frame = goaway(0, NO_ERROR);
                frame.payload.extend(b"done here");
                connection.send(&frame);
                Ok(())
            })
            .holds(|connection| finish(connection, 1)),
    ]
}

fn window_update_frames() -> Vec<Case> {
    const MOST: u32 = (1 << 31) - 1;
    vec![
        case("9113-6.9 an increment of 0 on the connection")
            .send(window_update(0, 0))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.9 an increment of 0 on a stream")
            .send(hang(1))
            .send(window_update(1, 0))
            .resets_or_ends(1, &[PROTOCOL_ERROR]),
        case("9113-6.9 WINDOW_UPDATE of three octets")
            .send(window_update(0, 1).with_payload([0; 3]))
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-6.9 WINDOW_UPDATE of five octets on a stream")
            .send(hang(1))
            .send(window_update(1, 1).with_payload([0; 5]))
            .ends(&[FRAME_SIZE_ERROR]),
        case("9113-6.9 the reserved bit of an increment")
            .send(settings(&[(INITIAL_WINDOW_SIZE, 0)]))
            .send(headers(1, Fields::get("/bytes?n=50")).end())
            .send(window_update(1, 1 << 31 | 7))
            .holds(|connection| sends_exactly(connection, 1, 7)),
        case("9113-6.9.1 a connection's window beyond 2^31-1")
            .send(window_update(0, MOST))
            .send(window_update(0, MOST))
            .ends(&[FLOW_CONTROL_ERROR]),
        case("9113-6.9.1 a stream's window beyond 2^31-1")
            .send(hang(1))
            .send(window_update(1, MOST))
            .send(window_update(1, MOST))
            .resets(1, &[FLOW_CONTROL_ERROR]),
        case("9113-6.9.1 no byte beyond a stream's window")
            .settings(&[(INITIAL_WINDOW_SIZE, 10)])
            .send(headers(1, Fields::get("/bytes?n=50")).end())
            .holds(|connection| {
                sends_exactly(connection, 1, 10)?;
                connection.send(&window_update(1, 5));
                sends_exactly(connection, 1, 15)?;
                connection.send(&window_update(1, 1_000));
                finish(connection, 1)?;
                sends_exactly(connection, 1, 50)
            }),
        case("9113-6.9.1 a stream without a window does not stop the others")
            .settings(&[(INITIAL_WINDOW_SIZE, 0)])
            .send(headers(1, Fields::get("/bytes?n=50")).end())
            .send(headers(3, Fields::get("/bytes?n=60")).end())
            .send(window_update(3, 60))
            .holds(|connection| {
                finish(connection, 3)?;
                sends_exactly(connection, 1, 0)
            }),
        case("9113-6.9.1 no byte beyond the connection's window")
            .settings(&[(INITIAL_WINDOW_SIZE, 1 << 20)])
            .send(headers(1, Fields::get("/bytes?n=100000")).end())
            .holds(|connection| {
                sends_exactly(connection, 1, 65_535)?;
                connection.send(&window_update(0, 65_535));
                finish(connection, 1)?;
                sends_exactly(connection, 1, 100_000)
            }),
        case("9113-6.9.2 SETTINGS open the window of a stream that is open")
            .settings(&[(INITIAL_WINDOW_SIZE, 0)])
            .send(headers(1, Fields::get("/bytes?n=50")).end())
            .holds(|connection| {
                sends_exactly(connection, 1, 0)?;
                connection.send(&settings(&[(INITIAL_WINDOW_SIZE, 3)]));
                sends_exactly(connection, 1, 3)
            }),
        case("9113-6.9.2 a window may be below zero")
            .settings(&[(INITIAL_WINDOW_SIZE, 10)])
            .send(headers(1, Fields::get("/bytes?n=50")).end())
            .holds(|connection| {
                sends_exactly(connection, 1, 10)?;
                connection.send(&settings(&[(INITIAL_WINDOW_SIZE, 4)]));
                // That is -6: five octets more open nothing, and another three two.
                connection.send(&window_update(1, 5));
                sends_exactly(connection, 1, 10)?;
                connection.send(&window_update(1, 3));
                sends_exactly(connection, 1, 12)
            }),
        case("9113-6.9.2 SETTINGS that open a window beyond 2^31-1")
            .send(hang(1))
            .send(window_update(1, MOST - 65_535))
            .send(settings(&[(INITIAL_WINDOW_SIZE, 65_536)]))
            .ends(&[FLOW_CONTROL_ERROR]),
        case("9113-6.9.1 DATA beyond the window of the server")
            .send(post_to_nobody(1))
            .holds(|connection| {
                let beyond = |connection: &mut Connection| {
                    // Twice what any server of ours would ever take.
                    (0..8_192).any(|_| {
                        connection.try_send(&data(1, [0; 16_384])).is_err() || has_ended(connection)
                    })
                };
                let ended = beyond(connection);
                let right = connection.hear(|event| {
                    matches!(
                        event,
                        Event::Reset {
                            stream: 1,
                            code: FLOW_CONTROL_ERROR
                        } | Event::Goaway {
                            code: FLOW_CONTROL_ERROR,
                            ..
                        }
                    )
                });
                right
                    .map(drop)
                    .map_err(|end| format!("{end:?}, ended while sending: {ended}"))
            }),
        case("9113-6.9 a body larger than any window, sent as the windows open").holds(
            |connection| {
                connection.send(&post(1));
                let mut windows = Windows::of(connection);
                windows.send(connection, 1, 4 << 20, true)?;
                match connection.hear(|event| event.status(1).is_some()) {
                    Ok(event) if event.status(1) == Some(200) => goes_on(connection),
                    other => Err(format!("{other:?}")),
                }
            },
        ),
        case("9113-6.9 the connection's window comes back for what nobody reads").holds(
            |connection| {
                // What a stream that was reset had in its window must not be lost to the connection.
                let mut windows = Windows::of(connection);
                for number in 0..100 {
                    let stream = 1 + 2 * number;
                    connection.send(&post_to_nobody(stream));
                    windows.send(connection, stream, 32_768, false)?;
                    // One at a time: not in haste, as a flood is.
                    connection.round_trip().map_err(|end| format!("{end:?}"))?;
                    connection.send(&reset(stream, CANCEL));
                }
                goes_on(connection)
            },
        ),
    ]
}

fn continuation_frames() -> Vec<Case> {
    let more = || Fields::none().and("a", "b").encoded();
    vec![
        case("9113-6.10 CONTINUATION on stream 0")
            .send(get(1).more())
            .send(continuation(0, more()))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.10 CONTINUATION of nothing")
            .send(continuation(1, more()))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.10 CONTINUATION behind a block that has ended")
            .send(post(1))
            .send(continuation(1, more()))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.10 CONTINUATION behind CONTINUATION that has ended the block")
            .send(post(1).more())
            .send(continuation(1, more()))
            .send(continuation(1, more()))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.10 CONTINUATION behind DATA")
            .send(post(1))
            .send(data(1, "body"))
            .send(continuation(1, more()))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.10 CONTINUATION of another stream")
            .send(get(1).more())
            .send(continuation(3, more()))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-6.10 a block in three frames, and a body")
            .send(post(1).more())
            .send(continuation(1, more()).more())
            .send(continuation(1, more()))
            .send(data(1, "body").end())
            .serves(1),
    ]
}

/// A request whose body the app does not read.
fn post_to_nobody(stream: u32) -> Frame {
    headers(stream, Fields::post("/upload?gate=never"))
}

fn has_ended(connection: &mut Connection) -> bool {
    let heard = connection.next_within(std::time::Duration::from_micros(1));
    let is_end = |event: &Event| matches!(event, Event::Reset { .. } | Event::Goaway { .. });
    heard.as_ref().is_ok_and(is_end)
}

/// So many octets of a body have come, or come, and no more.
fn sends_exactly(connection: &mut Connection, stream: u32, length: usize) -> Result<(), String> {
    let came = |connection: &Connection| crate::messages::bytes_of(connection, stream).len();
    while came(connection) < length {
        connection
            .next()
            .map_err(|end| format!("{end:?} after {} octets", came(connection)))?;
    }
    is_silent(
        connection,
        |event| matches!(event, Event::Data { bytes, .. } if !bytes.is_empty()),
    )?;
    let came = came(connection);
    (came == length)
        .then_some(())
        .ok_or(format!("{came} octets, not {length}"))
}

fn is_body(connection: &mut Connection, stream: u32, wanted: &str) -> Result<(), String> {
    let body = crate::messages::body_of(connection, stream)?;
    (body == wanted).then_some(()).ok_or(body)
}

/// What the server lets us send.
#[derive(Debug)]
struct Windows {
    connection: i64,
    initial: i64,
    /// How much of what was heard is in here.
    heard: usize,
}

impl Windows {
    fn of(connection: &Connection) -> Self {
        Windows {
            connection: 65_535,
            initial: connection
                .setting(INITIAL_WINDOW_SIZE)
                .unwrap_or(65_535)
                .into(),
            heard: 0,
        }
    }

    /// A body on a stream that has sent nothing yet.
    fn send(
        &mut self,
        connection: &mut Connection,
        stream: u32,
        length: i64,
        end: bool,
    ) -> Result<(), String> {
        let (mut left, mut window) = (length, self.initial);
        while left > 0 {
            window += self.take(connection, stream);
            let size = left.min(window).min(self.connection).min(16_384);
            if size <= 0 {
                connection.next().map_err(|stop| {
                    format!("{stop:?}: {left} octets left, windows {window} and {self:?}")
                })?;
                continue;
            }
            let frame = data(stream, vec![b'a'; usize::try_from(size).unwrap()]);
            connection.send(&if end && size == left {
                frame.end()
            } else {
                frame
            });
            (left, window, self.connection) = (left - size, window - size, self.connection - size);
        }
        Ok(())
    }

    /// Enters what was heard since; returns what it is for this stream.
    fn take(&mut self, connection: &Connection, wanted: u32) -> i64 {
        let mut more = 0;
        for event in &connection.heard[self.heard..] {
            match event {
                Event::WindowUpdate {
                    stream: 0,
                    increment,
                } => self.connection += i64::from(*increment),
                Event::WindowUpdate { stream, increment } if *stream == wanted => {
                    more += i64::from(*increment);
                }
                _ => {}
            }
        }
        self.heard = connection.heard.len();
        more
    }
}

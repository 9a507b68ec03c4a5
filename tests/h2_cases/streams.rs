//! Which frame a stream takes in which state, and how streams are numbered.

use crate::{
    case::{Case, case, finish, get, goes_on, hang, is_silent, post, run},
    wire::{
        CANCEL, Connection, Event, Fields, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED,
        continuation, data, goaway, headers, priority, reset, window_update,
    },
};

/// SETTINGS_MAX_CONCURRENT_STREAMS.
const MAX_CONCURRENT_STREAMS: u16 = 0x3;

#[test]
fn an_idle_stream_takes_headers_and_priority() {
    run(&idle());
}

#[test]
fn a_stream_that_the_client_has_ended_takes_no_more_of_it() {
    run(&half_closed());
}

#[test]
fn a_closed_stream_does_not_open_again() {
    run(&closed());
}

#[test]
fn streams_are_numbered_upwards_and_limited() {
    run(&numbers());
}

#[test]
fn an_error_has_its_scope() {
    run(&errors());
}

fn idle() -> Vec<Case> {
    vec![
        case("9113-5.1 idle: DATA")
            .send(data(1, "body").end())
            .ends(&[PROTOCOL_ERROR]),
        case("9113-5.1 idle: RST_STREAM")
            .send(reset(1, CANCEL))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-5.1 idle: WINDOW_UPDATE")
            .send(window_update(1, 100))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-5.1 idle: CONTINUATION")
            .send(continuation(1, Fields::get("/hello").encoded()))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-5.1 idle: PRIORITY")
            .send(priority(1, 0))
            .send(get(1))
            .serves(1),
        case("9113-5.1 idle: DATA on a stream above one that was used")
            .send(get(1))
            .finish(1)
            .send(data(3, "body"))
            .ends(&[PROTOCOL_ERROR]),
    ]
}

fn half_closed() -> Vec<Case> {
    vec![
        case("9113-5.1 half-closed: DATA")
            .send(hang(1))
            .send(data(1, "body").end())
            .resets_or_ends(1, &[STREAM_CLOSED]),
        case("9113-5.1 half-closed: DATA after a body that has ended")
            .send(headers(1, Fields::post("/hang")))
            .send(data(1, "body").end())
            .send(data(1, "more").end())
            .resets_or_ends(1, &[STREAM_CLOSED]),
        case("9113-5.1 half-closed: HEADERS")
            .send(hang(1))
            .send(get(1))
            .resets_or_ends(1, &[STREAM_CLOSED]),
        case("9113-5.1 half-closed: CONTINUATION")
            .send(hang(1))
            .send(continuation(1, Fields::none().and("a", "b").encoded()))
            .ends(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        case("9113-5.1 half-closed: WINDOW_UPDATE")
            .send(hang(1))
            .send(window_update(1, 100))
            .goes_on(),
        case("9113-5.1 half-closed: PRIORITY")
            .send(hang(1))
            .send(priority(1, 3))
            .goes_on(),
        case("9113-5.1 half-closed: RST_STREAM")
            .send(hang(1))
            .send(reset(1, CANCEL))
            .goes_on(),
    ]
}

fn closed() -> Vec<Case> {
    vec![
        case("9113-5.1 closed by both: DATA")
            .send(get(1))
            .finish(1)
            .send(data(1, "body").end())
            .discards(1, &[STREAM_CLOSED]),
        case("9113-5.1 closed by both: HEADERS")
            .send(get(1))
            .finish(1)
            .send(get(1))
            .discards(1, &[STREAM_CLOSED, PROTOCOL_ERROR]),
        case("9113-5.1 closed by both: CONTINUATION")
            .send(get(1))
            .finish(1)
            .send(continuation(1, Fields::none().and("a", "b").encoded()))
            .ends(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        case("9113-5.1 closed by both: WINDOW_UPDATE")
            .send(get(1))
            .finish(1)
            .send(window_update(1, 9))
            .goes_on(),
        case("9113-5.1 closed by both: RST_STREAM")
            .send(get(1))
            .finish(1)
            .send(reset(1, CANCEL))
            .goes_on(),
        case("9113-5.1 closed by both: PRIORITY")
            .send(get(1))
            .finish(1)
            .send(priority(1, 0))
            .goes_on(),
        case("9113-5.1 closed by the client: DATA")
            .send(post(1))
            .send(reset(1, CANCEL))
            .send(data(1, "body").end())
            .discards(1, &[STREAM_CLOSED]),
        case("9113-5.1 closed by the client: HEADERS")
            .send(hang(1))
            .send(reset(1, CANCEL))
            .send(get(1))
            .discards(1, &[STREAM_CLOSED, PROTOCOL_ERROR]),
        case("9113-5.1 closed by the client: CONTINUATION")
            .send(hang(1))
            .send(reset(1, CANCEL))
            .send(continuation(1, Fields::none().and("a", "b").encoded()))
            .ends(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        case("9113-5.1 closed by the client: RST_STREAM once more")
            .send(hang(1))
            .send(reset(1, CANCEL))
            .send(reset(1, CANCEL))
            .goes_on(),
        case("9113-5.1 closed by the server: DATA and trailers on their way")
            .send(headers(
                1,
                Fields::post("/upload").and("content-length", "1"),
            ))
            .send(data(1, "too much"))
            .send(data(1, "still more"))
            .send(headers(1, Fields::none().and("x-trailer", "late")).end())
            .holds(goes_on),
    ]
}

fn numbers() -> Vec<Case> {
    vec![
        case("9113-5.1.1 an even number")
            .send(get(2))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-5.1.1 number 0")
            .send(get(0))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-5.1.1 a number below one that was used")
            .send(get(5))
            .finish(5)
            .send(get(3))
            .ends(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        case("9113-5.1.1 numbers that leave some out")
            .send(get(1))
            .send(get(7))
            .finish(1)
            .serves(7),
        case("9113-5.1.1 the last number there is")
            .send(get(0x7fff_ffff))
            .holds(|connection| {
                finish(connection, 0x7fff_ffff)?;
                connection.round_trip().map_err(|end| format!("{end:?}"))
            }),
        case("9113-5.1.2 one stream more than the server's SETTINGS allow").holds(one_too_many),
        case("9113-5.1.2 a stream that ends makes room for another").holds(|connection| {
            let most = concurrent(connection)?;
            for number in 0..most {
                connection.send(&hang(1 + 2 * number));
            }
            connection.send(&reset(1, CANCEL));
            let next = 1 + 2 * most;
            connection.send(&get(next));
            match connection.hear(|event| event.status(next).is_some() || event.ends(next)) {
                Ok(event) if event.status(next) == Some(200) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }),
    ]
}

/// How many streams there may be: a server without a limit is not what we are.
fn concurrent(connection: &Connection) -> Result<u32, String> {
    match connection.setting(MAX_CONCURRENT_STREAMS) {
        Some(most @ 1..=1_000) => Ok(most),
        other => Err(format!("SETTINGS_MAX_CONCURRENT_STREAMS {other:?}")),
    }
}

fn one_too_many(connection: &mut Connection) -> Result<(), String> {
    let most = concurrent(connection)?;
    for number in 0..=most {
        connection.send(&hang(1 + 2 * number));
    }
    let last = 1 + 2 * most;
    match connection.hear(|event| event.ends(last) || matches!(event, Event::Goaway { .. })) {
        Ok(Event::Reset {
            code: REFUSED_STREAM | PROTOCOL_ERROR,
            ..
        }) => {}
        other => return Err(format!("{other:?}")),
    }
    connection.send(&reset(1, CANCEL));
    goes_on(connection)
}

fn errors() -> Vec<Case> {
    vec![
        case("9113-5.3.1 a stream that depends on itself, in HEADERS")
            .send(get(1).depending_on(1))
            .holds(|connection| {
                // RFC 7540 made it an error, RFC 9113 has no dependencies.
                match connection.hear(|event| event.status(1).is_some() || is_end(event)) {
                    Ok(
                        Event::Reset {
                            code: PROTOCOL_ERROR,
                            ..
                        }
                        | Event::Goaway {
                            code: PROTOCOL_ERROR,
                            ..
                        },
                    ) => Ok(()),
                    Ok(event) if event.status(1) == Some(200) => goes_on(connection),
                    other => Err(format!("{other:?}")),
                }
            }),
        case("9113-5.3.1 a stream that depends on one that does not exist")
            .send(get(1).depending_on(77))
            .serves(1),
        case("9113-5.4.1 GOAWAY names the last stream that was looked at")
            .send(get(1))
            .finish(1)
            .send(get(5))
            .finish(5)
            .send(data(0, "nowhere"))
            .holds(|connection| {
                match connection.hear(|event| matches!(event, Event::Goaway { .. })) {
                    Ok(Event::Goaway {
                        last: 5,
                        code: PROTOCOL_ERROR,
                    }) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            }),
        case("9113-5.4.1 nothing that comes behind the error is served")
            .send(data(0, "nowhere"))
            .send(get(1))
            .ends(&[PROTOCOL_ERROR]),
        case("9113-5.4.2 an error of one stream leaves the others alone")
            .send(headers(1, Fields::get("/slow?ms=200")).end())
            .send(headers(3, Fields::get("/hello").and("connection", "close")).end())
            .serves(1),
        case("9113-5.4.2 RST_STREAM is not answered with RST_STREAM")
            .send(hang(1))
            .send(reset(1, CANCEL))
            .holds(|connection| is_silent(connection, is_end)),
        case("9113-5.4.3 a client that says goodbye gets what it asked for")
            .send(headers(1, Fields::get("/slow?ms=200")).end())
            .send(goaway(0, crate::wire::NO_ERROR))
            .holds(
                |connection| match connection.hear(|event| event.status(1).is_some()) {
                    Ok(event) if event.status(1) == Some(200) => finish(connection, 1),
                    other => Err(format!("{other:?}")),
                },
            ),
    ]
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Reset { .. } | Event::Goaway { .. })
}

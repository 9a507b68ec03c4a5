//! A client that costs the server more than itself: it is stopped, or it gains nothing. Meanwhile another is served.

use std::{
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use crate::{
    case::{get, goes_on, hang, post},
    server::Server,
    stranger::Stranger,
    support::{alone, seconds},
    wire::{
        CANCEL, Connection, End, Event, Fields, Frame, HEADERS, NO_ERROR, PREFACE, continuation,
        data, headers, ping, priority, reset, settings, window_update,
    },
};

/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW_SIZE: u16 = 0x4;

/// How long a flood lasts if nobody ends it.
const LASTS: Duration = Duration::from_secs(2);

/// How much memory one connection may cost at the most.
const MEMORY: u64 = 24 << 20;

/// How long the stranger may wait for an answer on a machine that has other things to do.
const LATENCY: Duration = Duration::from_secs(4);

/// How a flood went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The server has closed the connection.
    Ended,
    /// The server reads no more of it.
    Stalled,
    /// All was read.
    Endured,
}

#[test]
fn a_rapid_reset_is_ended() {
    let outcome = flood(|number| {
        let stream = 1 + 2 * number;
        vec![hang(stream), reset(stream, CANCEL)]
    });
    assert_eq!(outcome, Outcome::Ended);
}

#[test]
fn a_rapid_reset_by_the_server_itself_is_ended() {
    // Requests that are refused as malformed once they are under way.
    let outcome = flood(|number| {
        let stream = 1 + 2 * number;
        vec![hang(stream), window_update(stream, 0)]
    });
    assert_eq!(outcome, Outcome::Ended);
}

#[test]
fn continuation_without_end_is_ended() {
    let begun = get(1).more();
    let field = Fields::none().and("x-field", [b'a'; 10_000]).encoded();
    let outcome = flood_after(&[begun], |_| vec![continuation(1, field.clone()).more()]);
    assert_eq!(outcome, Outcome::Ended);
}

#[test]
fn continuation_without_bytes_is_ended() {
    let outcome = flood_after(&[get(1).more()], |_| vec![continuation(1, []).more()]);
    assert_eq!(outcome, Outcome::Ended);
}

#[test]
fn pings_whose_answers_nobody_reads_cost_no_memory() {
    flood(|number| vec![ping(u64::from(number).to_be_bytes())]);
}

#[test]
fn settings_whose_acknowledgements_nobody_reads_cost_no_memory() {
    flood(|number| vec![settings(&[(INITIAL_WINDOW_SIZE, number)])]);
}

#[test]
fn data_without_bytes_cost_no_memory() {
    flood_after(&[post(1)], |_| vec![data(1, "")]);
}

#[test]
fn data_of_one_byte_and_much_padding_cost_no_memory() {
    flood_after(&[post(1)], |_| vec![data(1, "a").padded(255)]);
}

#[test]
fn priorities_cost_no_memory() {
    flood(|number| vec![priority(1 + 2 * number, 0)]);
}

#[test]
fn windows_opened_byte_by_byte_cost_no_memory() {
    let request = headers(1, Fields::get("/bytes?n=100000000")).end();
    flood_after(&[request], |_| {
        vec![window_update(1, 1), window_update(0, 1)]
    });
}

#[test]
fn frames_that_nobody_knows_cost_no_memory() {
    flood(|number| vec![Frame::new(0x42, 0, number, [0; 100])]);
}

#[test]
fn requests_whose_answers_nobody_reads_cost_no_memory() {
    flood(|number| vec![headers(1 + 2 * number, Fields::get("/bytes?n=1000000")).end()]);
}

#[test]
fn fields_that_multiply_cost_no_memory() {
    // One entry of four kilobytes, named by one octet each time.
    let mut connection_number = 0;
    let outcome = flood(|number| {
        connection_number = number;
        let fields = Fields::get("/hello").and_remember("x-bomb", [b'a'; 4_000]);
        let bomb = fields.bytes([0x80 | 62; 12_000]);
        vec![headers(1 + 2 * number, bomb).end()]
    });
    assert!(
        outcome != Outcome::Stalled,
        "after {connection_number} requests"
    );
}

#[test]
fn streams_without_a_window_are_let_go_in_time() {
    let server = Server::start_with(|builder| builder.env("HTTP_WRITE_TIMEOUT", "1"));
    let before = server.memory();
    let mut connection = server.open();
    connection.begin(&[(INITIAL_WINDOW_SIZE, 0)]).unwrap();
    let most = connection.setting(0x3).unwrap_or(100).min(1_000);
    for number in 0..most {
        let request = headers(1 + 2 * number, Fields::get("/bytes?n=10000000"));
        connection.send(&request.end());
    }
    let ends = |event: &Event| event.ends(1) || matches!(event, Event::Goaway { .. });
    let ended = connection.hear(ends);
    assert!(!matches!(ended, Err(End::Timeout)), "still held");
    let cost = server.memory().saturating_sub(before);
    assert!(cost < 2 * MEMORY, "{} MiB", cost >> 20);
    server.assert_unharmed();
}

#[test]
fn a_block_that_does_not_go_on_is_ended_in_time() {
    let begun = Frame::new(HEADERS, 0, 1, Fields::get("/hello").encoded());
    assert_closed_in_time("HTTP_READ_TIMEOUT", |connection| {
        connection.begin(&[]).unwrap();
        connection.send(&begun);
    });
}

#[test]
fn a_block_that_drips_is_ended_in_time() {
    let server = Server::start_with(|builder| builder.env("HTTP_READ_TIMEOUT", "1"));
    let mut connection = server.begin();
    connection.send(&Frame::new(HEADERS, 0, 1, Fields::get("/hello").encoded()));
    // One frame, byte by byte, slower than the whole may take.
    let drips = continuation(1, Fields::none().and("x-field", "value").encoded()).encode();
    let began = Instant::now();
    for octet in drips.iter().cycle() {
        if connection.write(&[*octet]).is_err() {
            break;
        }
        match connection.next_within(Duration::from_millis(100)) {
            Err(End::Timeout) => {}
            Err(_) => break,
            Ok(_) => {}
        }
        assert!(began.elapsed() < seconds(8), "it may drip for ever");
    }
    server.assert_unharmed();
}

#[test]
fn half_a_frame_is_ended_in_time() {
    assert_closed_in_time("HTTP_READ_TIMEOUT", |connection| {
        connection.begin(&[]).unwrap();
        connection.write(&get(1).encode()[..20]).unwrap();
    });
}

#[test]
fn half_a_preface_is_ended_in_time() {
    assert_closed_in_time("HTTP_READ_TIMEOUT", |connection| {
        connection.write(&PREFACE[..10]).unwrap();
    });
}

#[test]
fn a_preface_without_settings_is_ended_in_time() {
    // All that is due has come; SETTINGS are no more than the next frame, which an acknowledgement must not be.
    assert_closed_in_time("HTTP_IDLE_TIMEOUT", |connection| {
        connection.be_rude();
        connection.write(PREFACE).unwrap();
    });
}

#[test]
fn a_body_that_does_not_go_on_ends_its_stream_alone() {
    let server = Server::start_with(|builder| builder.env("HTTP_READ_TIMEOUT", "1"));
    let mut connection = server.begin();
    connection.send(&post(1));
    connection.send(&data(1, "half"));
    let said = connection
        .hear(|event| event.status(1).is_some() || event.ends(1))
        .unwrap();
    assert!(matches!(said.status(1), None | Some(408)), "{said:?}");
    assert_eq!(goes_on(&mut connection), Ok(()));
}

#[test]
fn pings_do_not_keep_an_idle_connection() {
    let server = Server::start_with(|builder| builder.env("HTTP_IDLE_TIMEOUT", "1"));
    let mut connection = server.begin();
    connection.send(&get(1));
    connection.hear(|event| event.ends(1)).unwrap();
    let began = Instant::now();
    loop {
        connection.send(&ping(*b"stay!!!!"));
        match connection.next_within(Duration::from_millis(100)) {
            Ok(Event::Goaway { code, .. }) => assert_eq!(code, NO_ERROR),
            Ok(_) => thread::sleep(Duration::from_millis(20)),
            Err(End::Timeout) => {}
            Err(_) => break,
        }
        assert!(began.elapsed() < seconds(8), "still open");
    }
    assert!(
        began.elapsed() > Duration::from_millis(700),
        "not idle for long"
    );
}

#[test]
fn an_idle_connection_is_told_that_it_ends() {
    let server = Server::start_with(|builder| builder.env("HTTP_IDLE_TIMEOUT", "1"));
    let mut connection = server.begin();
    assert_eq!(connection.end(), End::Eof);
    let goodbye = |event: &Event| matches!(event, Event::Goaway { code: NO_ERROR, .. });
    assert!(connection.heard.iter().any(goodbye), "{connection:?}");
}

#[test]
fn an_open_stream_is_no_idle_connection() {
    let server = Server::start_with(|builder| builder.env("HTTP_IDLE_TIMEOUT", "1"));
    let mut connection = server.begin();
    connection.send(&headers(1, Fields::get("/slow?ms=2500")).end());
    let said = connection.hear(|event| event.status(1).is_some());
    assert_eq!(said.unwrap().status(1), Some(200));
}

#[test]
fn a_client_that_leaves_in_the_midst_of_everything_leaves_nothing_behind() {
    let server = Server::start();
    let before = server.memory();
    for _ in 0..30 {
        let mut connection = server.begin();
        for number in 0..20 {
            connection.send(&hang(1 + 4 * number));
            connection.send(&post(3 + 4 * number));
        }
        connection.round_trip().unwrap();
        connection.socket().shutdown(Shutdown::Both).unwrap();
    }
    server.assert_unharmed();
    let cost = server.memory().saturating_sub(before);
    assert!(cost < MEMORY, "{} MiB", cost >> 20);
}

/// What `setup` has begun is closed once the time in this variable is over, and a stranger never notices.
#[track_caller]
fn assert_closed_in_time(variable: &str, setup: impl FnOnce(&mut Connection)) {
    let server = Server::start_with(|builder| builder.env(variable, "1"));
    let mut connection = server.open();
    setup(&mut connection);
    let began = Instant::now();
    let end = loop {
        match connection.next_within(seconds(8).saturating_sub(began.elapsed())) {
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    assert_ne!(end, End::Timeout, "still open");
    assert!(
        began.elapsed() > Duration::from_millis(700),
        "not given the time"
    );
    server.assert_unharmed();
}

/// Sends what `frames` makes of 0, 1, 2, … and reads nothing.
#[track_caller]
fn flood(frames: impl FnMut(u32) -> Vec<Frame>) -> Outcome {
    flood_after(&[], frames)
}

#[track_caller]
fn flood_after(first: &[Frame], mut frames: impl FnMut(u32) -> Vec<Frame>) -> Outcome {
    let _alone = alone();
    let server = Server::start();
    let mut connection = server.begin();
    for frame in first {
        connection.send(frame);
    }
    let stranger = Stranger::start(&server);
    let outcome = pour(&mut connection, &mut frames);
    let seen = stranger.finish();
    eprintln!("{outcome:?}, {seen:?}");
    assert!(seen.lost.is_empty(), "{seen:?}");
    assert!(seen.slowest < LATENCY, "{seen:?}");
    assert!(seen.memory < MEMORY, "{seen:?}");
    drop(connection);
    server.assert_unharmed();
    outcome
}

fn pour(connection: &mut Connection, frames: &mut impl FnMut(u32) -> Vec<Frame>) -> Outcome {
    let patience = Duration::from_millis(1_000);
    connection
        .socket()
        .set_write_timeout(Some(patience))
        .unwrap();
    let began = Instant::now();
    for round in 0.. {
        // Many at once: a flood is none if it waits for the kernel each time.
        let many = (0..50).flat_map(|number| frames(round * 50 + number));
        let wire = many
            .map(|frame| frame.encode())
            .collect::<Vec<_>>()
            .concat();
        if let Err(error) = connection.write(&wire) {
            return match error.kind() {
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Outcome::Stalled,
                _ => Outcome::Ended,
            };
        }
        if began.elapsed() > LASTS {
            break;
        }
    }
    match connection.round_trip() {
        Ok(()) => Outcome::Endured,
        Err(End::Timeout) => Outcome::Stalled,
        Err(_) => Outcome::Ended,
    }
}

//! Limits of HTTP/2: what keeps us busy with nothing ends its connection, and only that.

use std::time::Instant;

use crate::support::{
    End, Thrust,
    frames::{
        DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, frame, head,
    },
    millis, seconds,
};

/// The error of a GOAWAY that asks for calm.
const ENHANCE_YOUR_CALM: u32 = 11;

fn thrust() -> Thrust {
    Thrust::builder().env("H2C_ENABLED", "1").start()
}

/// What became of a client that sends `flood` for as long as it can.
fn flooded(thrust: &Thrust, flood: &[u8]) -> Option<u32> {
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/hello");
    assert!(client.response(1).is_ok());
    let until = Instant::now() + seconds(10);
    let many = flood.repeat(200);
    while Instant::now() < until && client.try_send(&many).is_ok() {}
    assert!(Instant::now() < until, "it goes on");
    let goaway = client.find(|frame| frame.kind == 7).ok()?;
    Some(u32::from_be_bytes(goaway.payload[4..8].try_into().ok()?))
}

#[test]
fn floods_of_frames_that_ask_for_nothing_end_the_connection() {
    let thrust = thrust();
    let floods = [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(2, 0, 1, &[0; 5]),
        frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        frame(99, 0, 0, &[]),
    ];
    for flood in floods {
        let error = flooded(&thrust, &flood);
        // It may be lost to a reset: the client was still sending.
        assert!(
            error.is_none_or(|error| error == ENHANCE_YOUR_CALM),
            "{flood:?}: {error:?}"
        );
    }
    assert_eq!(thrust.get("/hello").status, 200, "for others all is well");
}

#[test]
fn a_flood_is_answered_with_enhance_your_calm() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    client.send(&frame(PING, 1, 0, &[0; 8]).repeat(2_010));
    assert_eq!(client.goaway().1, ENHANCE_YOUR_CALM);
    assert_eq!(client.end(), End::Eof);
}

#[test]
fn pings_and_window_updates_of_an_honest_client_are_no_flood() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    // A PING and two WINDOW_UPDATEs for each DATA frame.
    client.get(1, "/bytes?n=20000000");
    let mut received = 0;
    while received < 20_000_000 {
        let data = client.find(|frame| frame.kind == DATA).expect("data");
        client.frame(PING, 1, 0, &[0; 8]);
        received += data.payload.len();
    }
    client.get(3, "/hello");
    assert!(client.response(3).is_ok());
}

#[test]
fn requests_that_are_reset_at_once_end_the_connection() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    let mut stream = 1;
    // A second of it is how long what comes after the GOAWAY is read and dropped, so that it is not lost in a reset.
    let until = Instant::now() + seconds(5);
    loop {
        assert!(Instant::now() < until, "it goes on");
        let mut both = head(stream, "GET", "/hang", &[], true);
        both.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        stream += 2;
        if client.try_send(&both).is_err() {
            break;
        }
    }
    assert_eq!(thrust.get("/hello").status, 200);
}

#[test]
fn a_header_block_without_end_has_the_read_timeout() {
    for flags in [0, END_HEADERS] {
        let thrust = Thrust::builder()
            .env("H2C_ENABLED", "1")
            .env("HTTP_READ_TIMEOUT", "1")
            .start();
        let mut client = Frames::h2c(thrust.port());
        client.get(1, "/hello");
        assert!(client.response(1).is_ok());
        let began = Instant::now();
        let mut part = frame(HEADERS, flags | END_STREAM, 3, &[0x82; 100]);
        part.truncate(if flags == 0 { part.len() } else { 50 });
        client.send(&part);
        assert_eq!(client.end(), End::Eof);
        let took = began.elapsed();
        assert!(took > millis(900) && took < seconds(8), "{took:?}");
    }
}

#[test]
fn half_a_preface_has_the_read_timeout() {
    for length in [1, 23, 24] {
        let thrust = Thrust::builder()
            .env("H2C_ENABLED", "1")
            .env("HTTP_READ_TIMEOUT", "1")
            .env("HTTP_IDLE_TIMEOUT", "2")
            .start();
        let mut client = Frames::connect(thrust.port());
        client.send(&PREFACE[..length]);
        let began = Instant::now();
        assert!(
            [End::Eof, End::Malformed].contains(&client.end()),
            "{length}"
        );
        assert!(began.elapsed() < seconds(8), "{length}");
    }
}

#[test]
fn pings_are_no_sign_of_life() {
    let thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_IDLE_TIMEOUT", "1")
        .start();
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/hello");
    assert!(client.response(1).is_ok());
    let began = Instant::now();
    client.patience(millis(50));
    let end = loop {
        match client.end() {
            End::Timeout => drop(client.try_send(&frame(PING, 0, 0, &[0; 8]))),
            end => break end,
        }
        assert!(began.elapsed() < seconds(8), "it goes on");
    };
    assert_eq!(end, End::Eof);
    assert!(began.elapsed() > millis(900));
}

#[test]
fn an_idle_connection_is_told_before_it_is_closed() {
    let thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_IDLE_TIMEOUT", "1")
        .start();
    let mut client = Frames::h2c(thrust.port());
    client.get(1, "/hello");
    assert!(client.response(1).is_ok());
    assert_eq!(client.goaway(), (1, 0));
    assert_eq!(client.end(), End::Eof);
}

#[test]
fn a_client_that_makes_no_room_for_a_response_loses_it_and_no_other() {
    let thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_WRITE_TIMEOUT", "1")
        .start();
    let mut client = Frames::connect(thrust.port()).opens_no_windows();
    client.send(PREFACE);
    // SETTINGS_INITIAL_WINDOW_SIZE: 100
    client.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 100]);
    client.get(1, "/bytes?n=1000");
    let began = Instant::now();
    let answer = client.response(1);
    assert_eq!((answer.body.len(), answer.reset), (100, Some(8)), "CANCEL");
    assert!(began.elapsed() > millis(900));
    client.get(3, "/status?code=204");
    assert_eq!(client.response(3).status, 0x89);
}

#[test]
fn a_stream_whose_window_stays_shut_is_cut_though_others_of_its_connection_go_on() {
    let thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_WRITE_TIMEOUT", "1")
        .start();
    let mut client = Frames::connect(thrust.port()).opens_no_windows();
    client.send(PREFACE);
    client.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 100]);
    client.get(1, "/bytes?n=9999999");
    client.get(3, "/bytes?n=1000000");
    // The third takes a little now and then, for three times as long as the first one may take nothing.
    let (mut resets, began) = (Vec::new(), Instant::now());
    client.patience(millis(200));
    while began.elapsed() < seconds(3) {
        match client.next() {
            Ok(frame) if frame.kind == RST_STREAM => resets.push(frame.stream),
            Ok(_) => {}
            Err(End::Timeout) => client.frame(WINDOW_UPDATE, 0, 3, &100_u32.to_be_bytes()),
            Err(end) => panic!("{end:?}"),
        }
    }
    assert_eq!(resets, [1]);
    // Its connection to the app is free.
    thrust.wait_for_child_line("gone GET /bytes?n=9999999");
}

#[test]
fn streams_that_wait_for_their_turn_are_not_cut() {
    let thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_WRITE_TIMEOUT", "1")
        .start();
    let mut client = Frames::connect(thrust.port()).opens_no_windows();
    client.send(PREFACE);
    // The streams' windows are wide open, the connection's is not.
    client.frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    for stream in [1, 3, 5, 7, 9] {
        client.get(stream, "/bytes?n=9999999");
    }
    let began = Instant::now();
    client.patience(millis(300));
    while began.elapsed() < seconds(4) {
        match client.next() {
            Ok(frame) => assert_ne!(frame.kind, RST_STREAM),
            Err(End::Timeout) => client.frame(WINDOW_UPDATE, 0, 0, &100_u32.to_be_bytes()),
            Err(end) => panic!("{end:?}"),
        }
    }
    // Now nobody gets anything.
    client.patience(seconds(10));
    for _ in 0..5 {
        assert!(client.find(|frame| frame.kind == RST_STREAM).is_ok());
        thrust.wait_for_child_line("gone GET /bytes");
    }
    client.get(11, "/status?code=204");
    assert_eq!(client.response(11).status, 0x89);
}

#[test]
fn a_browser_may_cancel_all_of_a_tab_at_once() {
    let thrust = thrust();
    let mut client = Frames::h2c(thrust.port());
    let numbers = (0..100).map(|number| 1 + 2 * number);
    let mut all = Vec::new();
    for stream in numbers.clone() {
        all.extend(head(stream, "GET", "/hang", &[], true));
    }
    for stream in numbers {
        all.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    client.send(&all);
    client.get(201, "/hello");
    assert!(client.response(201).is_ok());
}

#[test]
fn a_client_that_sends_nothing_of_its_body_is_answered_408_and_others_go_on() {
    let thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("HTTP_READ_TIMEOUT", "1")
        .start();
    let mut client = Frames::h2c(thrust.port());
    client.head(1, "POST", "/upload", &[("content-length", "5")], false);
    client.frame(DATA, 0, 1, b"he");
    let answer = client.response(1);
    assert!(answer.text().contains("in time"), "{answer:?}");
    assert_eq!(thrust.wait_for_request("/upload").number("status"), 408);
    client.get(3, "/hello");
    assert!(client.response(3).is_ok());
}

#[test]
fn a_body_that_is_too_large_is_refused_and_others_go_on() {
    let thrust = Thrust::builder()
        .env("H2C_ENABLED", "1")
        .env("MAX_REQUEST_BODY", "10")
        .start();
    let mut client = Frames::h2c(thrust.port());
    for (stream, fields) in [(1, &[("content-length", "20")][..]), (3, &[])] {
        client.head(stream, "POST", "/upload", fields, false);
        client.frame(DATA, END_STREAM, stream, &[b'x'; 20]);
        assert!(client.response(stream).text().contains("larger"));
    }
    client.get(5, "/hello");
    assert!(client.response(5).is_ok());
}

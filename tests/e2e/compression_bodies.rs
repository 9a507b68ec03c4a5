//! Compressed bodies: whole or not, flushed in time, blurred in length, and never in anybody's way.

use std::{collections::BTreeSet, thread};

use nix::sys::signal::Signal;

use crate::support::{
    AppConnection, CODINGS, Client, End, PATIENCE, Response, Thrust, decoded, decoded_so_far,
    tools_are_here,
};

fn played() -> Thrust {
    Thrust::builder().played().start()
}

/// Bytes that compress well, or hardly, or not at all, by `seed`.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let range = [4, 40, 256][(seed % 3) as usize];
    (0..length).map(|_| (next() % range) as u8).collect()
}

/// A request, and the app's connection that it came on.
fn asked(thrust: &Thrust, coding: &str) -> (Client, AppConnection) {
    let mut client = thrust.connect();
    client.send_head(
        "GET",
        "/",
        &format!("accept-encoding: {coding}\r\nte: trailers\r\n"),
    );
    let (app, _) = thrust.app().request();
    (client, app)
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", piece.len());
    [size.as_bytes(), piece, b"\r\n"].concat()
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n";

/// Reads chunks of an answer whose head was read, and decodes all that came of it so far.
struct Reading {
    client: Client,
    coding: &'static str,
    encoded: Vec<u8>,
}

impl Reading {
    /// Reads until that much can be decoded, and no more.
    #[track_caller]
    fn up_to(&mut self, expected: &[u8]) {
        while decoded_so_far(self.coding, &self.encoded).0.len() < expected.len() {
            let size = self.client.try_line().expect("a chunk");
            let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
            assert_ne!(size, 0, "the end, and too little");
            let mut piece = Response {
                fields: vec![("content-length".into(), (size + 2).to_string())],
                ..Response::default()
            };
            self.client.try_body(&mut piece).expect("a chunk");
            self.encoded.extend(&piece.body[..size]);
        }
        assert!(decoded_so_far(self.coding, &self.encoded).0 == expected);
    }
}

#[test]
fn an_event_arrives_before_the_app_sends_the_next() {
    let thrust = played();
    for (coding, content_type) in [
        ("zstd", "text/event-stream"),
        ("gzip", "text/event-stream; charset=utf-8"),
        ("zstd", "text/vnd.turbo-stream.html"),
        ("gzip", "text/html"),
        ("br", "text/html"),
    ] {
        let (mut client, mut app) = asked(&thrust, coding);
        app.send(format!("{CHUNKED}content-type: {content_type}\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.field("content-encoding").as_deref(), Some(coding));
        let (mut sent, mut reading) = (
            Vec::new(),
            Reading {
                client,
                coding,
                encoded: Vec::new(),
            },
        );
        for number in 0..20 {
            let event = format!("data: {number}\n\n");
            app.send(chunk(event.as_bytes()));
            sent.extend(event.into_bytes());
            reading.up_to(&sent);
        }
        app.send("0\r\n\r\n");
        reading.client.read_until("\r\n0\r\n\r\n");
    }
}

#[test]
fn an_event_stream_takes_little_memory_and_so_is_not_brotli() {
    let thrust = played();
    for (accepted, expected) in [("br, gzip", Some("gzip")), ("br", None)] {
        let (mut client, mut app) = asked(&thrust, accepted);
        app.send(format!(
            "{CHUNKED}content-type: text/event-stream\r\n\r\n0\r\n\r\n"
        ));
        assert_eq!(
            client.response().field("content-encoding").as_deref(),
            expected
        );
    }
}

#[test]
fn a_pause_inside_of_a_known_length_holds_nothing_back() {
    let thrust = played();
    for coding in CODINGS {
        let body = content(1, 50_000);
        let (mut client, mut app) = asked(&thrust, coding);
        app.send("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 50000\r\n\r\n");
        app.send(&body[..20_000]);
        client.head();
        let mut reading = Reading {
            client,
            coding,
            encoded: Vec::new(),
        };
        reading.up_to(&body[..20_000]);
        app.send(&body[20_000..]);
        reading.up_to(&body);
    }
}

#[test]
fn however_it_is_cut_and_whenever_it_pauses_it_is_the_same() {
    if !tools_are_here() {
        return;
    }
    let thrust = played();
    for coding in CODINGS {
        for seed in 0..9 {
            let body = content(seed, 120_000);
            let (mut client, mut app) = asked(&thrust, coding);
            app.send(format!("{CHUNKED}content-type: text/html\r\n\r\n"));
            let mut response = client.head();
            let sizes = content(3 * seed + 2, 64)
                .into_iter()
                .map(|byte| 1 + usize::from(byte) * 97);
            let mut rest = &body[..];
            let (mut sent, mut reading) = (
                0,
                Reading {
                    client,
                    coding,
                    encoded: Vec::new(),
                },
            );
            for size in sizes {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                if piece.is_empty() {
                    break;
                }
                app.send(chunk(piece));
                sent += piece.len();
                rest = after;
                if size % 5 == 0 {
                    reading.up_to(&body[..sent]);
                }
            }
            if !rest.is_empty() {
                app.send(chunk(rest));
            }
            app.send("0\r\n\r\n");
            reading.client.try_body(&mut response).expect("the rest");
            let encoded = [reading.encoded, response.body].concat();
            assert!(decoded(Some(coding), &encoded) == body, "{coding} {seed}");
        }
    }
}

#[test]
fn a_long_body_is_whole_and_does_not_hold_up_others() {
    if !tools_are_here() {
        return;
    }
    let length = 10 * 1024 * 1024;
    let thrust = Thrust::builder().before_exec(one_core).played().start();
    for coding in CODINGS {
        let body = content(1, length);
        let (client, mut app) = asked(&thrust, coding);
        let sent = body.clone();
        let sending = thread::spawn(move || {
            let length = sent.len();
            app.send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n"));
            app.send(sent);
        });
        let reading = thread::spawn(move || {
            let mut client = client.patience(4 * PATIENCE);
            client.response()
        });
        let mut others = 0;
        while !reading.is_finished() {
            let (mut client, mut app) = asked(&thrust, coding);
            app.answer("ok");
            assert_eq!(client.response().text(), "ok");
            others += 1;
        }
        sending.join().unwrap();
        let response = reading.join().unwrap();
        assert!(decoded(Some(coding), &response.body) == body, "{coding}");
        assert!(others > 5, "{coding}: only {others} others had a turn");
    }
}

/// Before the exec: one core, so that all that is asked shares it.
fn one_core() -> std::io::Result<()> {
    // SAFETY: a set is plain integers, all zeros is the empty one, and the call reads what it is given.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    match set {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[test]
fn a_body_that_breaks_off_never_looks_whole() {
    let thrust = played();
    let mut logged = 0;
    for coding in CODINGS {
        for head in [
            "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n",
        ] {
            let body = content(1, 30_000);
            let (mut client, mut app) = asked(&thrust, coding);
            let framed = match head.contains("chunked") {
                true => chunk(&body),
                false => body.clone(),
            };
            app.send(format!("{head}content-type: text/html\r\n\r\n"));
            app.send(framed);
            drop(app);
            client.head();
            let (received, end) = client.rest();
            assert_ne!(end, End::Timeout);
            assert!(!received.ends_with(b"0\r\n\r\n"), "{coding}: a last chunk");
            let mut encoded = Vec::new();
            let mut rest = &received[..];
            while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
                let size = std::str::from_utf8(&rest[..line]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                encoded.extend(&rest[line + 2..line + 2 + size]);
                rest = &rest[line + 2 + size + 2..];
            }
            let (told, ended) = decoded_so_far(coding, &encoded);
            assert!(
                told == body && !ended,
                "{coding}: {} bytes, {ended}",
                told.len()
            );
            let line = thrust.wait_for_nth(logged, "Request", PATIENCE);
            logged += 1;
            assert_eq!(line.field("cause"), "upstream_closed");
        }
    }
}

#[test]
fn trailers_come_behind_it() {
    let thrust = played();
    for coding in CODINGS {
        let (mut client, mut app) = asked(&thrust, coding);
        app.send(format!(
            "{CHUNKED}content-type: text/html\r\ntrailer: x-sum\r\n\r\n"
        ));
        // A digest of the plain bytes is none of these.
        app.send("2\r\nok\r\n0\r\nx-sum: 7\r\ncontent-md5: x\r\n\r\n");
        let response = client.response();
        assert_eq!(
            decoded_so_far(coding, &response.body),
            (b"ok".to_vec(), true)
        );
        assert_eq!(response.trailers, [("x-sum".into(), "7".into())]);
    }
}

/// The encoded body of a page that shows `text`.
fn shown(thrust: &Thrust, coding: &str, text: &str) -> Vec<u8> {
    let page = format!("<p>{text}</p>{}", "<p>something</p>".repeat(400));
    let (mut client, mut app) = asked(thrust, coding);
    let length = page.len();
    app.send(format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{page}"
    ));
    let response = client.response();
    assert_eq!(response.field("content-encoding").as_deref(), Some(coding));
    response.body
}

#[test]
fn asking_again_and_again_averages_nothing_out() {
    let thrust = played();
    for coding in CODINGS {
        let lengths: BTreeSet<_> = (0..100)
            .map(|_| shown(&thrust, coding, "guess").len())
            .collect();
        assert_eq!(lengths.len(), 1, "{coding}: {lengths:?}");
    }
}

#[test]
fn other_contents_of_one_length_have_other_lengths() {
    let texts: Vec<_> = (1_000..1_060)
        .map(|number: u32| format!("{number:08x}"))
        .collect();
    for (jitter, expected) in [("0", 1..=4), ("32", 18..=36)] {
        let thrust = Thrust::builder()
            .env("GZIP_COMPRESSION_JITTER", jitter)
            .played()
            .start();
        for coding in CODINGS {
            let lengths: BTreeSet<_> = texts
                .iter()
                .map(|text| shown(&thrust, coding, text).len())
                .collect();
            assert!(
                expected.contains(&lengths.len()),
                "{coding} {jitter}: {lengths:?}"
            );
        }
    }
}

#[test]
fn the_padding_is_a_comment_or_a_frame_that_is_skipped() {
    let thrust = played();
    let gzip = shown(&thrust, "gzip", "guess");
    assert_eq!(gzip[..4], [0x1f, 0x8b, 8, 0x10], "with a comment");
    let comment = gzip[10..].iter().position(|byte| *byte == 0).unwrap();
    assert!((1..=32).contains(&comment), "{comment}");
    let zstd = shown(&thrust, "zstd", "guess");
    let frame = zstd
        .windows(4)
        .rposition(|window| window == [0x50, 0x2a, 0x4d, 0x18]);
    let frame = &zstd[frame.unwrap()..];
    let length = u32::from_le_bytes(frame[4..8].try_into().unwrap()) as usize;
    assert_eq!(frame.len(), 8 + length);
    assert!((1..=32).contains(&length), "{length}");
    let brotli = shown(&thrust, "br", "guess");
    let metadata = brotli
        .iter()
        .rev()
        .skip(1)
        .take_while(|byte| **byte == 0)
        .count();
    assert!(
        brotli.ends_with(&[3]) && (1..=34).contains(&metadata),
        "{metadata}"
    );
}

#[test]
fn the_log_counts_what_was_sent() {
    let thrust = played();
    let body = shown(&thrust, "zstd", "guess");
    let line = thrust.wait_for("Request");
    assert_eq!(line.number("resp_content_length"), body.len() as u64);
}

#[test]
fn what_is_under_way_in_a_stop_is_whole() {
    let mut thrust = Thrust::builder().start();
    let mut clients: Vec<_> = CODINGS
        .iter()
        .map(|coding| {
            let mut client = thrust.connect();
            client.send_head(
                "GET",
                "/gated-body?name=late&framing=chunked",
                &format!("accept-encoding: {coding}\r\n"),
            );
            assert_eq!(
                client.head().field("content-encoding").as_deref(),
                Some(*coding)
            );
            client
        })
        .collect();
    thrust.signal(Signal::SIGTERM);
    thrust.wait_for("draining");
    thrust.open_gate("late");
    for (client, coding) in clients.iter_mut().zip(CODINGS) {
        let mut response = Response {
            fields: vec![("transfer-encoding".into(), "chunked".into())],
            ..Response::default()
        };
        client.try_body(&mut response).expect("all of it");
        let expected = b"before the gate\nbehind the gate\n".to_vec();
        assert_eq!(
            decoded_so_far(coding, &response.body),
            (expected, true),
            "{coding}"
        );
    }
    assert_eq!(thrust.wait_exit(PATIENCE), 143);
}

//! The app behind Chromium: a page, fifty scripts, a WebSocket that echoes, and what the page has to report.

use std::{
    io::{BufRead, BufReader, Read, Write},
    sync::mpsc,
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use socket2::Socket;

/// How many scripts the page has.
pub(crate) const ASSETS: usize = 50;

/// How often the WebSocket says something and hears it back.
pub(crate) const MESSAGES: usize = 20;

/// Counts its scripts, asks how they came, talks through a WebSocket, and reports.
const SCRIPT: &str = "
    addEventListener('load', () => {
        const entries = performance.getEntriesByType('resource').filter(e => e.name.includes('/asset/'));
        const h2 = entries.filter(e => e.nextHopProtocol == 'h2').length;
        const page = performance.getEntriesByType('navigation')[0].nextHopProtocol;
        const report = text => fetch(`/report?page=${page}&assets=${window.count}&h2=${h2}&${text}`);
        const socket = new WebSocket(`wss://${location.host}/socket`);
        let heard = 0;
        socket.onopen = () => socket.send('0');
        socket.onerror = () => report('socket=error');
        socket.onclose = () => report(`socket=closed&heard=${heard}`);
        socket.onmessage = message => {
            if (message.data != String(heard)) return report(`socket=wrong`);
            if (++heard == MESSAGES) return report(`socket=ok&heard=${heard}`);
            setTimeout(() => socket.send(String(heard)), 25);
        };
    });
";

/// Serves on `socket` for ever; the queries of the reports come out.
pub(crate) fn serve(socket: Socket) -> mpsc::Receiver<String> {
    let (report, reports) = mpsc::channel();
    // Whoever waits for one has its own patience.
    socket.set_read_timeout(None).unwrap();
    thread::spawn(move || {
        while let Ok((connection, _)) = socket.accept() {
            let report = report.clone();
            thread::spawn(move || answer(connection, &report));
        }
    });
    reports
}

/// Answers requests until the connection ends.
fn answer(connection: Socket, report: &mpsc::Sender<String>) -> Option<()> {
    let mut writer = connection.try_clone().ok()?;
    let mut reader = BufReader::new(connection);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let path = head.split(' ').nth(1)?;
        if path == "/socket" {
            let key = field(&head, "sec-websocket-key")?;
            write!(
                writer,
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-accept: {}\r\n\r\n",
                accept(key)
            )
            .ok()?;
            return echo(reader, writer);
        }
        let (kind, body) = match path.split_once('?') {
            Some(("/report", query)) => {
                report.send(query.to_owned()).ok()?;
                ("text/plain", String::new())
            }
            _ if path.starts_with("/asset/") => {
                let body = "window.count = (window.count || 0) + 1;\n";
                ("text/javascript", body.to_owned())
            }
            _ => ("text/html", page()),
        };
        let length = body.len();
        write!(
            writer,
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncache-control: no-store\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .ok()?;
    }
}

fn page() -> String {
    let scripts: String = (0..ASSETS)
        .map(|number| format!("<script src=\"/asset/{number}\"></script>\n"))
        .collect();
    let script = SCRIPT.replace("MESSAGES", &MESSAGES.to_string());
    format!("<!doctype html><title>A page</title>\n{scripts}<script>{script}</script>\n")
}

fn field<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
    found.next().map(|(_, value)| value.trim())
}

/// Short messages, back as they came (RFC 6455 section 5.2).
fn echo(mut reader: impl Read, mut writer: impl Write) -> Option<()> {
    loop {
        let (mut head, mut mask) = ([0; 2], [0; 4]);
        reader.read_exact(&mut head).ok()?;
        reader.read_exact(&mut mask).ok()?;
        let mut body = vec![0; usize::from(head[1] & 0x7f)];
        reader.read_exact(&mut body).ok()?;
        for (octet, mask) in body.iter_mut().zip(mask.iter().cycle()) {
            *octet ^= mask;
        }
        writer.write_all(&[head[0], head[1] & 0x7f]).ok()?;
        writer.write_all(&body).ok()?;
    }
}

/// RFC 6455 section 4.2.2.
fn accept(key: &str) -> String {
    STANDARD.encode(sha_1(
        format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes(),
    ))
}

/// FIPS 180-4 section 6.1, as WebSockets want it.
fn sha_1(message: &[u8]) -> [u8; 20] {
    let mut padded = [message, &[0x80]].concat();
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    for block in padded.chunks_exact(64) {
        let mut words: Vec<u32> = block
            .chunks_exact(4)
            .map(|four| u32::from_be_bytes(four.try_into().unwrap()))
            .collect();
        for at in 16..80 {
            let mixed = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
            words.push(mixed.rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (f, k) = match at {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = [f, e, k, *word]
                .into_iter()
                .fold(a.rotate_left(5), u32::wrapping_add);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (of, more) in state.iter_mut().zip([a, b, c, d, e]) {
            *of = of.wrapping_add(more);
        }
    }
    let octets: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
    octets.try_into().unwrap()
}

#[test]
fn a_key_is_accepted_as_the_rfc_has_it() {
    // RFC 6455 section 1.3.
    assert_eq!(
        accept("dGhlIHNhbXBsZSBub25jZQ=="),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}

//! A request, its one right answer, and what came instead.

use std::{
    io::{self, ErrorKind},
    sync::{LazyLock, atomic::Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use crate::{
    account::Account,
    chance::Chance,
    load::Load,
    support::{Client, End, Failure, Response},
};

/// A request that is no older than this when the client sees the end was on the wire together with the FIN.
const CROSSING: Duration = Duration::from_millis(5);

/// What is asked, and what the answer must be.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Head and body as they go over the wire, in pieces with a pause between each two.
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) pause: Duration,
    /// The same for HTTP/2: a path, and a body without its framing.
    pub(crate) target: String,
    pub(crate) body: Vec<Vec<u8>>,
    pub(crate) answer: Answer,
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// "hello from PID": the app itself has answered.
    Hello,
    Exactly(Vec<u8>),
}

impl Ask {
    pub(crate) fn get(target: &str, answer: Answer) -> Self {
        let head = format!("GET {target} HTTP/1.1\r\nhost: test.example\r\n\r\n");
        Self::of(target, vec![head.into()], answer)
    }

    fn of(target: &str, pieces: Vec<Vec<u8>>, answer: Answer) -> Self {
        Ask {
            pieces,
            pause: Duration::ZERO,
            target: target.into(),
            body: Vec::new(),
            answer,
        }
    }

    pub(crate) fn hello() -> Self {
        Self::get("/hello", Answer::Hello)
    }

    /// One of the quick ones.
    pub(crate) fn quick(chance: &mut Chance) -> Self {
        match chance.between(0, 4) {
            0 => {
                let length = chance.between(1, 40_000);
                Self::get(
                    &format!("/bytes?n={length}"),
                    Answer::Exactly(pattern(length)),
                )
            }
            1 => {
                let (count, size) = (chance.between(1, 5), chance.between(1, 3_000));
                let body = pattern(size).repeat(usize::try_from(count).unwrap());
                let target = format!("/chunked?n={count}&size={size}&delay_ms=0");
                Self::get(&target, Answer::Exactly(body))
            }
            _ => Self::hello(),
        }
    }

    /// One that takes its time, before its head or in its body.
    pub(crate) fn slow(chance: &mut Chance) -> Self {
        if chance.once_in(2) {
            let target = format!("/slow?ms={}", chance.between(20, 500));
            return Self::get(&target, Answer::Exactly(b"slow\n".to_vec()));
        }
        let (count, delay) = (chance.between(2, 8), chance.between(5, 60));
        let body: String = (0..count)
            .map(|number| format!("piece {number}\n"))
            .collect();
        let target = format!("/stream?n={count}&delay_ms={delay}");
        Self::get(&target, Answer::Exactly(body.into()))
    }

    /// A body in several pieces, counted or chunked; the app answers with its length and checksum.
    pub(crate) fn upload(chance: &mut Chance) -> Self {
        let pieces = chance.between(1, 6);
        let size = chance.between(1, 100_000);
        let piece = pattern(size);
        let body = piece.repeat(usize::try_from(pieces).unwrap());
        let answer = format!("{} {:08x}", body.len(), crc32(&body));
        let head = "POST /upload HTTP/1.1\r\nhost: test.example\r\n";
        let mut wire: Vec<Vec<u8>>;
        if chance.once_in(2) {
            let framed = [format!("{size:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
            wire = vec![format!("{head}transfer-encoding: chunked\r\n\r\n").into()];
            wire.extend((0..pieces).map(|_| framed.clone()));
            wire.push(b"0\r\n\r\n".to_vec());
        } else {
            wire = vec![format!("{head}content-length: {}\r\n\r\n", body.len()).into()];
            wire.extend((0..pieces).map(|_| piece.clone()));
        }
        Ask {
            pause: chance.millis(0, 40),
            body: vec![piece; usize::try_from(pieces).unwrap()],
            ..Self::of("/upload", wire, Answer::Exactly(answer.into()))
        }
    }

    /// Asks the server to close afterwards.
    pub(crate) fn closing(mut self) -> Self {
        let head = String::from_utf8(self.pieces[0].clone()).unwrap();
        self.pieces[0] = head
            .replacen("host:", "connection: close\r\nhost:", 1)
            .into();
        self
    }

    pub(crate) fn send(&self, client: &mut Client) -> io::Result<()> {
        for (number, piece) in self.pieces.iter().enumerate() {
            if number > 0 && !self.pause.is_zero() {
                thread::sleep(self.pause);
            }
            client.try_send(piece)?;
        }
        Ok(())
    }

    /// What is wrong with this answer.
    pub(crate) fn check(&self, response: &Response) -> Result<(), String> {
        check_body(self, response.status, &response.body)
    }
}

/// What is wrong with an answer, whichever protocol it came with.
pub(crate) fn check_body(ask: &Ask, status: u16, body: &[u8]) -> Result<(), String> {
    if status != 200 {
        let text = String::from_utf8_lossy(body);
        return Err(format!("{status} {:?}", text.trim()));
    }
    let right = match &ask.answer {
        Answer::Hello => body.starts_with(b"hello from "),
        Answer::Exactly(wanted) => body == wanted,
    };
    right.then_some(()).ok_or_else(|| "a wrong body".into())
}

/// A connection, and whether it has served.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) client: Client,
    pub(crate) reused: bool,
}

/// A fresh connection; none if it was refused, as it may be after the signal.
pub(crate) fn connect(load: &Load, account: &mut Account) -> Option<Kept> {
    match load.dial().and_then(Client::from_stream) {
        Ok(client) => Some(Kept {
            client,
            reused: false,
        }),
        Err(error) => {
            not_connected(load, &error, account);
            None
        }
    }
}

/// Enters a connection that did not come about.
pub(crate) fn not_connected(load: &Load, error: &io::Error, account: &mut Account) {
    // Asked only now: the signal may have been sent while we connected.
    match error.kind() {
        ErrorKind::ConnectionRefused if load.signalled.load(SeqCst) => account.refused += 1,
        ErrorKind::ConnectionRefused => account.lose("refused before the signal"),
        _ => account.lose(format!("connecting: {error}")),
    }
}

/// Asks on `kept`, and says whether the connection may serve again.
pub(crate) fn ask(load: &Load, kept: Kept, ask: &Ask, account: &mut Account) -> Option<Kept> {
    let Kept { mut client, reused } = kept;
    if reused && is_closed(load, &client, account) {
        return None;
    }
    let began = Instant::now();
    let sent = ask.send(&mut client);
    let outcome = client.try_response();
    settle(
        load,
        client,
        Asked {
            ask,
            began,
            reused,
            sent,
        },
        outcome,
        account,
    )
}

/// A request that is on its way.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) ask: &'a Ask,
    /// When its first byte was written.
    pub(crate) began: Instant,
    pub(crate) reused: bool,
    pub(crate) sent: io::Result<()>,
}

/// Enters what came into the account.
pub(crate) fn settle(
    load: &Load,
    client: Client,
    asked: Asked<'_>,
    outcome: Result<Response, Failure>,
    account: &mut Account,
) -> Option<Kept> {
    let Asked {
        ask,
        began,
        reused,
        sent,
    } = asked;
    let kind = if reused { "reused" } else { "fresh" };
    match outcome {
        Ok(response) => match ask.check(&response) {
            Ok(()) => {
                account.served += 1;
                account.reused += u64::from(reused);
                let kept = Kept {
                    client,
                    reused: true,
                };
                (!response.connection("close")).then_some(kept)
            }
            Err(wrong) => {
                account.lose(format!("{wrong} on a {kind} connection"));
                None
            }
        },
        Err(failure) => {
            let (end, bytes) = (failure.end, failure.received.len());
            let late = began.elapsed();
            let crossing = reused && bytes == 0 && end == End::Eof && load.signalled.load(SeqCst);
            if crossing && late <= CROSSING {
                account.crossed += 1;
                retry(load, ask, account);
            } else if bytes == 0 {
                let write = sent.err().map(|error| format!(", writing: {error}"));
                let write = write.unwrap_or_default();
                let late = late.as_millis();
                account.lose(format!(
                    "{end:?} before a byte on a {kind} connection after {late} ms{write}"
                ));
            } else {
                let head = failure.received.windows(4).any(|four| four == b"\r\n\r\n");
                let place = if head { "body" } else { "head" };
                account.lose(format!("{end:?} in the {place} on a {kind} connection"));
            }
            None
        }
    }
}

/// What every client does with a request that crossed the FIN: once more, on a fresh connection.
fn retry(load: &Load, ask: &Ask, account: &mut Account) {
    let Some(fresh) = connect(load, account) else {
        return;
    };
    let Kept { mut client, .. } = fresh;
    match ask.send(&mut client).map(|()| client.try_response()) {
        Ok(Ok(response)) if ask.check(&response).is_ok() => account.served += 1,
        other => account.lose(format!("after crossing the FIN: {other:?}")),
    }
}

/// Whether the server has closed a connection that nothing was asked on since.
fn is_closed(load: &Load, client: &Client, account: &mut Account) -> bool {
    let stream = client.stream();
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    match peeked {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
        Ok(0) if load.signalled.load(SeqCst) => account.closed_idle += 1,
        Ok(0) => account.lose("closed while idle before the signal"),
        Ok(_) => account.lose("bytes nobody asked for"),
        Err(error) => account.lose(format!("idle: {error}")),
    }
    true
}

/// What `/bytes` answers.
fn pattern(length: u64) -> Vec<u8> {
    (0..length)
        .map(|place| {
            b"abcdefghijklmnopqrstuvwxyz0123456789\n"[usize::try_from(place % 37).unwrap()]
        })
        .collect()
}

/// CRC-32 as zlib and the app have it.
fn crc32(bytes: &[u8]) -> u32 {
    static TABLE: LazyLock<[u32; 256]> = LazyLock::new(|| {
        std::array::from_fn(|place| {
            (0..8).fold(u32::try_from(place).unwrap(), |value, _| {
                if value & 1 == 1 {
                    0xedb8_8320 ^ value >> 1
                } else {
                    value >> 1
                }
            })
        })
    });
    let step = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8;
    !bytes.iter().fold(!0, step)
}

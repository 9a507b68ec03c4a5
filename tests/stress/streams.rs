//! Clients that speak HTTP/2: many requests at once on one connection, and an end that was announced.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering::SeqCst,
    thread,
    time::{Duration, Instant},
};

use crate::{
    account::Account,
    chance::Chance,
    instant::around_the_signal,
    load::{Ended, Load, Report},
    long::{GOODBYE_LINE, arrive, assert_events},
    request::{Ask, check_body},
    support::PATIENCE,
    wire::{Connection, End, Event, Fields, REFUSED_STREAM, data, headers, window_update},
};

/// More than a run brings to one connection.
const WINDOW: u32 = 1 << 30;

/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW_SIZE: u16 = 0x4;

/// How long a client that was refused waits before it tries again.
const REFUSED: Duration = Duration::from_millis(20);

/// Several requests at once, for as long as the connection lasts; then on another.
pub(crate) fn many(load: &Load, mut chance: Chance) -> Report {
    let mut report = Report::default();
    while load.goes_on() {
        let Some(mut streams) = Streams::connect(load, &mut report.account) else {
            thread::sleep(REFUSED);
            continue;
        };
        let at_once = usize::try_from(chance.between(1, 10)).unwrap();
        while streams.takes_more() && load.goes_on() {
            while streams.open.len() < at_once && streams.takes_more() {
                streams.ask(any(&mut chance));
            }
            streams.hear(&mut report.account);
        }
        streams.finish(&mut report.account);
    }
    report
}

/// An idle connection on which several requests begin in the instant of the signal.
pub(crate) fn at_the_signal(load: &Load, mut chance: Chance) -> Report {
    let mut report = Report::default();
    let Some(mut streams) = Streams::connect(load, &mut report.account) else {
        return report;
    };
    streams.ask(Ask::hello());
    while !streams.open.is_empty() {
        streams.hear(&mut report.account);
    }
    around_the_signal(load, &mut chance);
    for _ in 0..8 {
        // As any client: what has come is read before more is asked, here on a machine that may have been elsewhere.
        streams.hear_within(Duration::from_millis(1), &mut report.account);
        if streams.takes_more() {
            streams.ask(any(&mut chance));
        }
    }
    streams.finish(&mut report.account);
    report
}

/// An event stream beside other requests.
pub(crate) fn event_stream(load: &Load, mut chance: Chance) -> Report {
    let mut report = Report::default();
    arrive(load, &mut chance);
    let Some(streams) = Streams::connect(load, &mut report.account) else {
        return report;
    };
    let mut connection = streams.connection;
    let target = format!("/sse?every_ms={}", chance.between(3, 60));
    connection.send(&headers(1, Fields::get(&target)).end());
    let mut body = Vec::new();
    let ended = loop {
        match connection.next_within(PATIENCE) {
            Ok(Event::Data {
                stream: 1,
                bytes,
                end,
            }) => {
                body.extend(bytes);
                if end {
                    break Ok(());
                }
            }
            Ok(Event::Headers {
                stream: 1,
                end: true,
                ..
            }) => break Ok(()),
            Ok(Event::Reset { code, .. }) => break Err(format!("{code:?}")),
            Ok(_) => {}
            Err(end) => break Err(format!("{end:?}")),
        }
    };
    assert_events(load, &body, &mut report.account);
    match ended {
        Ok(()) => {
            report.account.served += 1;
            report.ended.push(Ended::EventStream(Instant::now()));
        }
        Err(how) => report
            .account
            .lose(format!("an event stream over HTTP/2 that ends with {how}")),
    }
    report
}

/// A WebSocket (RFC 8441) that says something and hears it back until the app closes it.
pub(crate) fn web_socket(load: &Load, mut chance: Chance) -> Report {
    let mut report = Report::default();
    arrive(load, &mut chance);
    let Some(streams) = Streams::connect(load, &mut report.account) else {
        return report;
    };
    let mut connection = streams.connection;
    let request = Fields::request("CONNECT", "/upgrade").and(":protocol", "websocket");
    connection.send(&headers(1, request.and("sec-websocket-version", "13")));
    let (mut number, mut heard, mut wanted) = (0_u64, Vec::new(), b"welcome\n".to_vec());
    let ended = loop {
        match connection.next_within(PATIENCE) {
            Ok(Event::Data {
                stream: 1,
                bytes,
                end,
            }) => {
                heard.extend(bytes);
                if end {
                    break Ok(());
                }
            }
            Ok(Event::Headers {
                stream: 1,
                end: true,
                ..
            }) => break Ok(()),
            Ok(Event::Reset { code, .. }) => break Err(format!("{code:?}")),
            Ok(_) => {}
            Err(end) => break Err(format!("{end:?}")),
        }
        if heard == wanted {
            report.account.served += 1;
            number += 1;
            thread::sleep(chance.millis(1, 30));
            wanted = format!("{number}\n").into();
            heard.clear();
            connection.send(&data(1, wanted.clone()));
        }
    };
    report.ended.push(Ended::WebSocket(Instant::now()));
    let said_goodbye = heard
        .windows(GOODBYE_LINE.len())
        .any(|line| line == GOODBYE_LINE.as_bytes());
    match ended {
        Ok(()) if said_goodbye => {}
        how => {
            let loss =
                format!("a WebSocket over HTTP/2 that ends with {how:?}, goodbye {said_goodbye}");
            report.account.lose(loss);
        }
    }
    report
}

fn any(chance: &mut Chance) -> Ask {
    match chance.between(0, 8) {
        0 => Ask::slow(chance),
        1 => Ask::upload(chance),
        _ => Ask::quick(chance),
    }
}

/// A connection and what is asked on it.
struct Streams<'a> {
    load: &'a Load,
    connection: Connection,
    next: u32,
    open: BTreeMap<u32, Open>,
    /// How much the server takes on the connection, and on a new stream.
    window: i64,
    initial: i64,
    /// Set by GOAWAY: the last stream that is served.
    last: Option<u32>,
    end: Option<End>,
}

/// A request that is under way.
struct Open {
    ask: Ask,
    began: Instant,
    status: Option<u16>,
    body: Vec<u8>,
    /// What of its body is still to be sent.
    unsent: Vec<u8>,
    window: i64,
}

impl<'a> Streams<'a> {
    /// None if it was refused, as it may be after the signal.
    fn connect(load: &'a Load, account: &mut Account) -> Option<Self> {
        let stream = load.streams(account)?;
        let mut connection = Connection::over(stream).ok()?;
        if let Err(end) = connection.begin(&[(INITIAL_WINDOW_SIZE, WINDOW)]) {
            account.lose(format!("{end:?} before both sides' SETTINGS"));
            return None;
        }
        connection.send(&window_update(0, WINDOW));
        let initial = connection
            .setting(INITIAL_WINDOW_SIZE)
            .unwrap_or(65_535)
            .into();
        let mut streams = Streams {
            load,
            connection,
            next: 1,
            open: BTreeMap::new(),
            window: 65_535,
            initial,
            last: None,
            end: None,
        };
        for event in std::mem::take(&mut streams.connection.heard) {
            streams.take(event, account);
        }
        Some(streams)
    }

    fn takes_more(&self) -> bool {
        self.last.is_none() && self.end.is_none()
    }

    fn ask(&mut self, ask: Ask) {
        let id = self.next;
        self.next += 2;
        let body = ask.body.concat();
        let frame = match body.is_empty() {
            true => headers(id, Fields::get(&ask.target)).end(),
            false => headers(id, Fields::post(&ask.target)),
        };
        self.connection.send(&frame);
        let open = Open {
            ask,
            began: Instant::now(),
            status: None,
            body: Vec::new(),
            unsent: body,
            window: self.initial,
        };
        self.open.insert(id, open);
        self.send_bodies();
    }

    fn send_bodies(&mut self) {
        for (id, open) in &mut self.open {
            while !open.unsent.is_empty() && open.window.min(self.window) > 0 {
                let most = open.window.min(self.window).min(16_384);
                let size = open.unsent.len().min(usize::try_from(most).unwrap());
                let piece: Vec<u8> = open.unsent.drain(..size).collect();
                let frame = data(*id, piece);
                self.connection.send(&if open.unsent.is_empty() {
                    frame.end()
                } else {
                    frame
                });
                open.window -= i64::try_from(size).unwrap();
                self.window -= i64::try_from(size).unwrap();
            }
        }
    }

    /// Hears one event, or nothing for a moment.
    fn hear(&mut self, account: &mut Account) {
        self.hear_within(Duration::from_millis(50), account);
    }

    fn hear_within(&mut self, time: Duration, account: &mut Account) {
        match self.connection.next_within(time) {
            Ok(event) => self.take(event, account),
            Err(End::Timeout) => self.lose_the_late(account),
            Err(end) => self.end = Some(end),
        }
        self.connection.heard.clear();
        self.send_bodies();
    }

    fn take(&mut self, event: Event, account: &mut Account) {
        match event {
            Event::Goaway { last, .. } => self.last = Some(last),
            Event::WindowUpdate {
                stream: 0,
                increment,
            } => self.window += i64::from(increment),
            Event::WindowUpdate { stream, increment } => {
                if let Some(open) = self.open.get_mut(&stream) {
                    open.window += i64::from(increment);
                }
            }
            Event::Headers {
                stream,
                ref fields,
                end,
            } => {
                let status = event.status(stream);
                if let Some(open) = self.open.get_mut(&stream) {
                    open.status = open.status.or(status);
                } else {
                    account.lose(format!("fields of no stream: {fields:?}"));
                }
                self.settle(stream, end, account);
            }
            Event::Data { stream, bytes, end } => {
                if let Some(open) = self.open.get_mut(&stream) {
                    open.body.extend(bytes);
                }
                self.settle(stream, end, account);
            }
            Event::Reset { stream, code } => {
                let Some(open) = self.open.remove(&stream) else {
                    return;
                };
                match code {
                    REFUSED_STREAM if self.last.is_some() => account.crossed += 1,
                    _ => account.lose(format!("{code:?} for {}", open.ask.target)),
                }
            }
            _ => {}
        }
    }

    fn settle(&mut self, stream: u32, end: bool, account: &mut Account) {
        let Some(open) = end.then(|| self.open.remove(&stream)).flatten() else {
            return;
        };
        match check_body(&open.ask, open.status.unwrap_or(0), &open.body) {
            Ok(()) => {
                account.served += 1;
                account.reused += u64::from(stream > 1);
            }
            Err(wrong) => account.lose(format!("{wrong} on stream {stream} of a connection")),
        }
    }

    fn lose_the_late(&mut self, account: &mut Account) {
        let late = |open: &Open| open.began.elapsed() > PATIENCE;
        for (_, open) in self.open.extract_if(.., |_, open| late(open)) {
            account.lose(format!("no answer to {}", open.ask.target));
        }
    }

    /// Hears what is still to come, and how the connection ends.
    fn finish(mut self, account: &mut Account) {
        let began = Instant::now();
        while self.end.is_none() && began.elapsed() < PATIENCE {
            // One that nobody says goodbye to is left when all is over.
            if self.open.is_empty() && self.last.is_none() && !self.load.goes_on() {
                return;
            }
            self.hear(account);
        }
        let announced = self.last;
        for (id, open) in std::mem::take(&mut self.open) {
            match announced {
                Some(last) if id > last => account.crossed += 1,
                _ => account.lose(format!(
                    "{:?} with stream {id} open ({}), GOAWAY {announced:?}",
                    self.end, open.ask.target
                )),
            }
        }
        match (self.end, announced) {
            (Some(End::Eof), Some(_)) if self.load.signalled.load(SeqCst) => {
                account.closed_idle += 1;
            }
            (end, announced) => account.lose(format!(
                "an HTTP/2 connection ends with {end:?}, GOAWAY {announced:?}"
            )),
        }
    }
}

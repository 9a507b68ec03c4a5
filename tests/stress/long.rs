//! Connections that outlive any drain: event streams and WebSockets.

use std::{sync::atomic::Ordering::SeqCst, thread, time::Instant};

use crate::{
    account::Account,
    chance::Chance,
    load::{Ended, Load, Report},
    request::{Kept, connect},
    support::{Client, End},
};

/// What the app says to its WebSockets before it exits.
pub(crate) const GOODBYE: &str = "goodbye";

pub(crate) const GOODBYE_LINE: &str = "goodbye\n";

/// One event stream, opened at any time before the signal, read to its end.
pub(crate) fn event_stream(load: &Load, mut chance: Chance) -> Report {
    let mut report = Report::default();
    arrive(load, &mut chance);
    let Some(Kept { mut client, .. }) = connect(load, &mut report.account) else {
        return report;
    };
    client.send_get(&format!("/sse?every_ms={}", chance.between(3, 60)));
    match client.try_response() {
        Ok(response) if response.status == 200 => {
            assert_events(load, &response.body, &mut report.account);
            report.account.served += 1;
            report.ended.push(Ended::EventStream(Instant::now()));
            expect_eof(&mut client, "event stream", &mut report.account);
        }
        Ok(response) => report
            .account
            .lose(format!("an event stream with {}", response.status)),
        Err(failure) => report.account.lose(format!(
            "an event stream that ends with {:?} after {} bytes",
            failure.end,
            failure.received.len()
        )),
    }
    report
}

/// Whether all events are there, in order, and the end came after the signal.
pub(crate) fn assert_events(load: &Load, body: &[u8], account: &mut Account) {
    let events: Vec<_> = body
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| *line != b"\n")
        .collect();
    let in_order =
        |(number, event): (usize, &&[u8])| **event == *format!("data: {number}\n").as_bytes();
    if events.is_empty() || !events.iter().enumerate().all(in_order) {
        account.lose("an event stream with a gap");
    }
    if !load.signalled.load(SeqCst) {
        account.lose("an event stream ended before the signal");
    }
}

/// One WebSocket, which says something and hears it back until the app closes it.
pub(crate) fn web_socket(load: &Load, mut chance: Chance) -> Report {
    let mut report = Report::default();
    let account = &mut report.account;
    arrive(load, &mut chance);
    let Some(Kept { mut client, .. }) = connect(load, account) else {
        return report;
    };
    client.send_head(
        "GET",
        "/upgrade",
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    );
    match client.try_head() {
        Ok(head) if head.status == 101 => {}
        other => {
            account.lose(format!("no WebSocket but {other:?}"));
            return report;
        }
    }
    if client.read_until("\n") != "welcome\n" {
        account.lose("a WebSocket that lost its first bytes");
    }
    let mut number = 0_u64;
    let end = loop {
        number += 1;
        let said = format!("{number}\n");
        if client.try_send(&said).is_err() {
            // Closed already: how, the reading half knows.
            let (rest, end) = client.rest();
            break if rest == GOODBYE_LINE.as_bytes() && end == End::Eof {
                Ok(())
            } else {
                Err(end)
            };
        }
        match client.try_line() {
            Ok(heard) if heard == said => account.served += 1,
            // The app's last words. What was on its way to it is lost with it, or still echoed by another thread.
            Ok(heard) if heard == GOODBYE_LINE => match client.rest() {
                (rest, End::Eof) if rest.is_empty() || rest == said.as_bytes() => break Ok(()),
                (_, end) => break Err(end),
            },
            Ok(heard) => account.lose(format!("a WebSocket that echoed {heard:?} for {said:?}")),
            Err(end) => break Err(end),
        }
        thread::sleep(chance.millis(1, 30));
    };
    report.ended.push(Ended::WebSocket(Instant::now()));
    if let Err(end) = end {
        let loss = format!("a WebSocket that ends with {end:?} and no goodbye");
        report.account.lose(loss);
    }
    report
}

/// Opened before the signal, at any time.
pub(crate) fn arrive(load: &Load, chance: &mut Chance) {
    let left = load.signal_at.saturating_duration_since(Instant::now());
    let left = u64::try_from(left.as_millis()).unwrap_or(0).max(2);
    thread::sleep(chance.millis(0, left - 1));
}

fn expect_eof(client: &mut Client, what: &str, account: &mut Account) {
    let (rest, end) = client.rest();
    if !rest.is_empty() || end != End::Eof {
        account.lose(format!("a connection of an {what} that ends with {end:?}"));
    }
}

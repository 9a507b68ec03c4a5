//! Clients that do the awkward thing at the very instant of the signal.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    account::Account,
    chance::Chance,
    load::{Load, Report},
    request::{Ask, Asked, Kept, ask, connect, settle},
};

/// One of each is a crowd.
pub(crate) const ALL: [fn(&Load, Chance) -> Report; 7] = [
    idle_asks_at_the_signal,
    half_a_head_fresh,
    half_a_head_reused,
    pipelines,
    pipelines_behind_a_long_body,
    silent_then_asks,
    expects_100_continue,
];

/// How far from the signal, before or after, is still its instant.
const AROUND: u64 = 4;

/// An idle connection that was kept alive asks once more.
fn idle_asks_at_the_signal(load: &Load, mut chance: Chance) -> Report {
    perform(|account| {
        let idle = used(load, account)?;
        around_the_signal(load, &mut chance);
        ask(load, idle, &Ask::quick(&mut chance), account);
        Some(())
    })
}

/// A first request whose head is cut in two by the signal.
fn half_a_head_fresh(load: &Load, mut chance: Chance) -> Report {
    perform(|account| {
        let before = chance.millis(0, 300);
        until(load.signal_at.checked_sub(before)?);
        let fresh = connect(load, account)?;
        half_a_head(load, fresh, &mut chance, account);
        Some(())
    })
}

/// A second request whose head is cut in two by the signal.
fn half_a_head_reused(load: &Load, mut chance: Chance) -> Report {
    perform(|account| {
        let used = used(load, account)?;
        let before = chance.millis(0, 300);
        until(load.signal_at.checked_sub(before)?);
        half_a_head(load, used, &mut chance, account);
        Some(())
    })
}

fn half_a_head(load: &Load, kept: Kept, chance: &mut Chance, account: &mut Account) {
    let mut wanted = Ask::quick(chance);
    let head = wanted.pieces.remove(0);
    let cut = usize::try_from(chance.between(1, head.len() as u64 - 1)).unwrap();
    wanted.pieces = vec![head[..cut].to_vec(), head[cut..].to_vec()];
    let Kept { mut client, reused } = kept;
    let began = Instant::now();
    let mut sent = client.try_send(&wanted.pieces[0]);
    until(load.signal_at + chance.millis(0, 700));
    if sent.is_ok() {
        sent = client.try_send(&wanted.pieces[1]);
    }
    let asked = Asked {
        ask: &wanted,
        began,
        reused,
        sent,
    };
    let outcome = client.try_response();
    settle(load, client, asked, outcome, account);
}

/// Two requests in one write. The second may go unanswered if the first answer says close (RFC 9112 section 9.3.2).
fn pipelines(load: &Load, mut chance: Chance) -> Report {
    perform(|account| {
        let used = used(load, account)?;
        around_the_signal(load, &mut chance);
        let asks = [Ask::quick(&mut chance), Ask::hello()];
        two(load, used, &asks, account);
        Some(())
    })
}

/// A response that began before the signal did not say close: what is sent behind it is a request like any other,
/// and here the end of its head comes late.
fn pipelines_behind_a_long_body(load: &Load, mut chance: Chance) -> Report {
    perform(|account| {
        let Kept { mut client, .. } = connect(load, account)?;
        until(load.signal_at.checked_sub(chance.millis(50, 150))?);
        let body: String = (0..8).map(|number| format!("piece {number}\n")).collect();
        let long = Ask::get(
            "/stream?n=8&delay_ms=40",
            crate::request::Answer::Exactly(body.into()),
        );
        let began = Instant::now();
        let mut sent = long.send(&mut client);
        let mut response = match client.try_head() {
            Ok(head) => head,
            Err(failure) => {
                account.lose(format!("no head of a long body: {failure:?}"));
                return None;
            }
        };
        let hello = &Ask::hello().pieces[0];
        let cut = usize::try_from(chance.between(1, hello.len() as u64 - 1)).unwrap();
        sent = sent.and(client.try_send(&hello[..cut]));
        let outcome = client.try_body(&mut response).map(|()| response);
        let asked = Asked {
            ask: &long,
            began,
            reused: false,
            sent,
        };
        let Kept { mut client, reused } = settle(load, client, asked, outcome, account)?;
        let began = Instant::now();
        thread::sleep(chance.millis(0, 400));
        let asked = Asked {
            ask: &Ask::hello(),
            began,
            reused,
            sent: client.try_send(&hello[cut..]),
        };
        let outcome = client.try_response();
        settle(load, client, asked, outcome, account);
        Some(())
    })
}

fn two(load: &Load, kept: Kept, asks: &[Ask; 2], account: &mut Account) {
    let Kept { mut client, reused } = kept;
    let both = asks.each_ref().map(|ask| ask.pieces[0].clone()).concat();
    let began = Instant::now();
    let sent = client.try_send(both);
    let mut kept = Some(Kept { client, reused });
    let mut sent = Some(sent);
    for wanted in asks {
        let Some(Kept { mut client, reused }) = kept.take() else {
            return;
        };
        let asked = Asked {
            ask: wanted,
            began,
            reused,
            sent: sent.take().unwrap_or(Ok(())),
        };
        let outcome = client.try_response();
        kept = settle(load, client, asked, outcome, account);
    }
}

/// A connection that was accepted and has said nothing yet: it may, for its first 500 ms.
fn silent_then_asks(load: &Load, mut chance: Chance) -> Report {
    perform(|account| {
        let before = chance.millis(0, 200);
        until(load.signal_at.checked_sub(before)?);
        let fresh = connect(load, account)?;
        let connected = Instant::now();
        // Well within, on a busy machine as well.
        until(connected + before.min(Duration::from_millis(250)) + chance.millis(0, 100));
        ask(load, fresh, &Ask::quick(&mut chance), account);
        Some(())
    })
}

/// An upload that waits to be asked for its body while the signal comes.
fn expects_100_continue(load: &Load, mut chance: Chance) -> Report {
    perform(|account| {
        let Kept { mut client, reused } = used(load, account)?;
        let mut wanted = Ask::upload(&mut chance);
        let head = String::from_utf8(wanted.pieces.remove(0)).unwrap();
        let head = head.replacen("host:", "expect: 100-continue\r\nhost:", 1);
        around_the_signal(load, &mut chance);
        let began = Instant::now();
        let mut sent = client.try_send(head);
        let outcome = match client.try_head() {
            Ok(interim) if interim.status == 100 => {
                sent = sent.and(wanted.send(&mut client));
                client.try_response()
            }
            other => other,
        };
        let asked = Asked {
            ask: &wanted,
            began,
            reused,
            sent,
        };
        settle(load, client, asked, outcome, account);
        Some(())
    })
}

/// Does it once.
fn perform(act: impl FnOnce(&mut Account) -> Option<()>) -> Report {
    let mut report = Report::default();
    // Without an outcome there is one in the account.
    let _ = act(&mut report.account);
    report
}

/// A connection that has served.
fn used(load: &Load, account: &mut Account) -> Option<Kept> {
    let fresh = connect(load, account)?;
    ask(load, fresh, &Ask::hello(), account)
}

pub(crate) fn around_the_signal(load: &Load, chance: &mut Chance) {
    until(load.signal_at + chance.millis(0, 2 * AROUND) - Duration::from_millis(AROUND));
}

fn until(instant: Instant) {
    thread::sleep(instant.saturating_duration_since(Instant::now()));
}

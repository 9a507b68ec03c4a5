//! The clients of one run: each kind a thread of its own, each with its own account.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    account::Account,
    chance::Chance,
    instant, long,
    request::{Ask, Kept, ask, connect},
};

/// How long a client that was refused waits before it tries again.
const REFUSED: Duration = Duration::from_millis(20);

/// What all clients of a run see.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) port: u16,
    /// When the signal will be sent: known beforehand to those who mean to meet it.
    pub(crate) signal_at: Instant,
    /// The signal is being sent, or was: from here on connections may be refused and closed.
    pub(crate) signalled: AtomicBool,
    /// Thrust has exited.
    pub(crate) over: AtomicBool,
}

/// How many clients of each kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) fresh: usize,
    pub(crate) kept: usize,
    pub(crate) uploads: usize,
    pub(crate) slow: usize,
    pub(crate) event_streams: usize,
    pub(crate) web_sockets: usize,
    /// Of each kind that does something at the very instant of the signal.
    pub(crate) at_the_signal: usize,
}

/// A connection that lives as long as the app or the drain lets it, and how it ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended {
    EventStream(Instant),
    WebSocket(Instant),
}

/// What a client brings home.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) account: Account,
    pub(crate) ended: Vec<Ended>,
}

/// The clients at work.
#[derive(Debug)]
pub(crate) struct Clients {
    load: Arc<Load>,
    threads: Vec<JoinHandle<Report>>,
}

type Behaviour = fn(&Load, Chance) -> Report;

impl Clients {
    pub(crate) fn start(port: u16, signal_at: Instant, crowd: Crowd, chance: &mut Chance) -> Self {
        let load = Arc::new(Load {
            port,
            signal_at,
            signalled: false.into(),
            over: false.into(),
        });
        let mut kinds: Vec<(usize, Behaviour)> = vec![
            (crowd.fresh, fresh),
            (crowd.kept, kept),
            (crowd.uploads, uploads),
            (crowd.slow, slow),
            (crowd.event_streams, long::event_stream),
            (crowd.web_sockets, long::web_socket),
        ];
        kinds.extend(instant::ALL.map(|behaviour| (crowd.at_the_signal, behaviour)));
        let mut threads = Vec::new();
        for (count, behaviour) in kinds {
            for _ in 0..count {
                let (load, chance) = (load.clone(), chance.fork());
                threads.push(thread::spawn(move || behaviour(&load, chance)));
            }
        }
        Clients { load, threads }
    }

    /// To be called just before the signal is sent.
    pub(crate) fn expect_the_signal(&self) {
        self.load.signalled.store(true, SeqCst);
    }

    /// To be called after the exit.
    pub(crate) fn finish(self) -> Report {
        self.load.over.store(true, SeqCst);
        let mut all = Report::default();
        for thread in self.threads {
            let report = thread.join().expect("clients do not panic");
            all.account += report.account;
            all.ended.extend(report.ended);
        }
        all
    }
}

impl Load {
    pub(crate) fn goes_on(&self) -> bool {
        !self.over.load(SeqCst)
    }
}

/// A connection for each request.
fn fresh(load: &Load, mut chance: Chance) -> Report {
    repeat(load, &mut chance, false, |chance| {
        let ask = Ask::quick(chance);
        if chance.once_in(2) {
            ask.closing()
        } else {
            ask
        }
    })
}

/// One connection, as long as it lasts; now and then a pause in which the FIN may come.
fn kept(load: &Load, mut chance: Chance) -> Report {
    let longest = chance.between(20, 600);
    repeat(load, &mut chance, true, |chance| {
        if chance.once_in(6) {
            thread::sleep(chance.millis(0, longest));
        }
        Ask::quick(chance)
    })
}

fn uploads(load: &Load, mut chance: Chance) -> Report {
    let keeps = chance.once_in(2);
    repeat(load, &mut chance, keeps, Ask::upload)
}

fn slow(load: &Load, mut chance: Chance) -> Report {
    let keeps = chance.once_in(2);
    repeat(load, &mut chance, keeps, Ask::slow)
}

/// Asks one thing after the other.
fn repeat(
    load: &Load,
    chance: &mut Chance,
    keeps: bool,
    mut next: impl FnMut(&mut Chance) -> Ask,
) -> Report {
    let mut account = Account::default();
    let mut kept: Option<Kept> = None;
    while load.goes_on() {
        let wanted = next(chance);
        let connection = kept.take().or_else(|| connect(load, &mut account));
        let Some(connection) = connection else {
            thread::sleep(REFUSED);
            continue;
        };
        kept = ask(load, connection, &wanted, &mut account).filter(|_| keeps);
        // Room for others: what is looked for are losses, not figures.
        thread::sleep(chance.millis(0, 3));
    }
    Report {
        account,
        ended: Vec::new(),
    }
}

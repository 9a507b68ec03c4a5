//! The clients of one run: each kind a thread of its own, each with its own account.

use std::{
    io,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustls::ClientConfig;

use crate::{
    account::Account,
    bridge,
    chance::Chance,
    instant, long,
    request::{Ask, Kept, ask, connect, not_connected},
    streams,
};

/// How long a client that was refused waits before it tries again.
const REFUSED: Duration = Duration::from_millis(20);

/// What all clients of a run see.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) front: Front,
    /// When the signal will be sent: known beforehand to those who mean to meet it.
    pub(crate) signal_at: Instant,
    /// The signal is being sent, or was: from here on connections may be refused and closed.
    pub(crate) signalled: AtomicBool,
    /// Thrust has exited.
    pub(crate) over: AtomicBool,
}

/// Where the clients go, and how they get in.
#[derive(Debug, Clone)]
pub(crate) enum Front {
    /// HTTP/1.1, and HTTP/2 by prior knowledge.
    Plain(u16),
    /// HTTPS.
    Secure(u16, Secure),
}

/// Clients that trust the server: of HTTP/1.1, and of HTTP/2.
#[derive(Debug, Clone)]
pub(crate) struct Secure {
    pub(crate) http_1: Arc<ClientConfig>,
    pub(crate) http_2: Arc<ClientConfig>,
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
    /// Each of them on a connection of HTTP/2.
    pub(crate) streams: usize,
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
    pub(crate) fn start(
        front: Front,
        signal_at: Instant,
        crowd: Crowd,
        chance: &mut Chance,
    ) -> Self {
        let load = Arc::new(Load {
            front,
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
            (crowd.streams, streams::many),
            (crowd.streams, streams::at_the_signal),
            (
                crowd.event_streams.min(crowd.streams),
                streams::event_stream,
            ),
            (crowd.web_sockets.min(crowd.streams), streams::web_socket),
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

    /// A connection for HTTP/1.1.
    pub(crate) fn dial(&self) -> io::Result<TcpStream> {
        match &self.front {
            Front::Plain(port) => TcpStream::connect(("127.0.0.1", *port)),
            Front::Secure(port, secure) => bridge::connect(*port, &secure.http_1),
        }
    }

    /// A connection for HTTP/2; none if it was refused, as it may be after the signal.
    pub(crate) fn streams(&self, account: &mut Account) -> Option<TcpStream> {
        let stream = match &self.front {
            Front::Plain(port) => TcpStream::connect(("127.0.0.1", *port)),
            Front::Secure(port, secure) => bridge::connect(*port, &secure.http_2),
        };
        let noted = stream.inspect_err(|error| not_connected(self, error, account));
        noted.ok()
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

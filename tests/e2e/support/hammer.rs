//! Clients that never stop asking, and an account of what each request came to.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use super::{Client, millis};

/// Clients that send `GET /hello` over and over: half of them on a connection per request, half on one that they keep
/// as long as it lasts.
#[derive(Debug)]
pub(crate) struct Hammer {
    flags: Arc<Flags>,
    clients: Vec<JoinHandle<Outcomes>>,
}

#[derive(Debug, Default)]
struct Flags {
    /// From here on the front may refuse and close.
    ending: AtomicBool,
    enough: AtomicBool,
}

/// How many requests came to what: `200`, `refused`, `crossed` (a reused connection that ended without a byte, as any
/// client may try again), or the description of a loss.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(pub(crate) BTreeMap<String, usize>);

impl Hammer {
    pub(crate) fn start(port: u16, clients: usize) -> Self {
        Self::introduced(port, clients, "")
    }

    /// Each connection begins with `introduction`.
    pub(crate) fn introduced(port: u16, clients: usize, introduction: &'static str) -> Self {
        let flags = Arc::new(Flags::default());
        let clients = (0..clients).map(|number| {
            let flags = Arc::clone(&flags);
            thread::spawn(move || hammer(port, number % 2 == 0, introduction, &flags))
        });
        Hammer {
            clients: clients.collect(),
            flags,
        }
    }

    /// To be called before the stop signal is sent.
    pub(crate) fn expect_the_end(&self) {
        self.flags.ending.store(true, SeqCst);
    }

    pub(crate) fn finish(self) -> Outcomes {
        self.flags.enough.store(true, SeqCst);
        let mut all = Outcomes::default();
        for client in self.clients {
            for (what, count) in client.join().expect("clients do not panic").0 {
                *all.0.entry(what).or_default() += count;
            }
        }
        all
    }
}

impl Outcomes {
    fn note(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    #[track_caller]
    pub(crate) fn assert_nothing_lost(&self) {
        let lost = self
            .0
            .keys()
            .any(|what| !["200", "refused", "crossed"].contains(&what.as_str()));
        assert!(!lost && self.0.contains_key("200"), "{:?}", self.0);
        // Nobody can cross the FIN more often than once per kept connection; hardly anybody does at all.
        let crossed = self.0.get("crossed").copied().unwrap_or(0);
        assert!(crossed <= 4, "{:?}", self.0);
    }
}

fn hammer(port: u16, keep_alive: bool, introduction: &str, flags: &Flags) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let mut kept: Option<Client> = None;
    while !flags.enough.load(SeqCst) {
        let reused = kept.is_some();
        let connected = kept.take().map_or_else(|| Client::try_connect(port), Ok);
        let mut client = match connected {
            Ok(client) => client,
            // Read anew: the signal may have been sent while we connected.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                outcomes.note(if flags.ending.load(SeqCst) {
                    "refused"
                } else {
                    "refused too early"
                });
                thread::sleep(millis(20));
                continue;
            }
            Err(error) => {
                outcomes.note(format!("connecting: {error}"));
                continue;
            }
        };
        let kind = if reused { "used" } else { "new" };
        let introduction = if reused { "" } else { introduction };
        let sent = client.try_send(format!(
            "{introduction}GET /hello HTTP/1.1\r\nhost: test.example\r\n\r\n"
        ));
        match sent.map(|()| client.try_response()) {
            Ok(Ok(response))
                if response.status == 200 && response.text().starts_with("hello from ") =>
            {
                outcomes.note("200");
                kept = (keep_alive && !response.connection("close")).then_some(client);
            }
            Ok(Ok(response)) => outcomes.note(format!("{} {}", response.status, response.text())),
            Ok(Err(failure))
                if reused && failure.received.is_empty() && flags.ending.load(SeqCst) =>
            {
                outcomes.note("crossed");
            }
            Ok(Err(failure)) => outcomes.note(format!("{:?} on a {kind} connection", failure.end)),
            Err(_) if reused && flags.ending.load(SeqCst) => outcomes.note("crossed"),
            Err(error) => outcomes.note(format!("sending on a {kind} connection: {error}")),
        }
    }
    outcomes
}

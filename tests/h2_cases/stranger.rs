//! Somebody else, who is to be served whatever happens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    server::Server,
    support::resident_memory_of,
    wire::{Connection, Fields, headers},
};

/// Asks over and over, on a new connection each time, and looks at the server's memory.
pub(crate) struct Stranger {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) served: usize,
    pub(crate) lost: Vec<String>,
    pub(crate) slowest: Duration,
    /// How much more of it the server had at the most than at the beginning.
    pub(crate) memory: u64,
}

impl Stranger {
    pub(crate) fn start(server: &Server) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let (port, pid, flag) = (server.port, server.pid(), Arc::clone(&enough));
        let thread = thread::spawn(move || ask(port, pid, &flag));
        Stranger { enough, thread }
    }

    pub(crate) fn finish(self) -> Seen {
        self.enough.store(true, SeqCst);
        self.thread.join().expect("it does not panic")
    }
}

fn ask(port: u16, pid: Option<u32>, enough: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let memory = || pid.map_or(0, resident_memory_of);
    let before = memory();
    while !enough.load(SeqCst) {
        let began = Instant::now();
        match ask_once(port) {
            Ok(()) => seen.served += 1,
            Err(loss) => seen.lost.push(loss),
        }
        seen.slowest = seen.slowest.max(began.elapsed());
        seen.memory = seen.memory.max(memory().saturating_sub(before));
        thread::sleep(Duration::from_millis(10));
    }
    seen
}

fn ask_once(port: u16) -> Result<(), String> {
    let mut connection = Connection::open(port).map_err(|error| error.to_string())?;
    connection
        .begin(&[])
        .map_err(|end| format!("{end:?} at once"))?;
    connection.send(&headers(1, Fields::get("/hello")).end());
    let answer = connection.hear(|event| event.status(1).is_some());
    let status = answer
        .map_err(|end| format!("{end:?}, no answer"))?
        .status(1);
    (status == Some(200))
        .then_some(())
        .ok_or_else(|| format!("{status:?}"))
}

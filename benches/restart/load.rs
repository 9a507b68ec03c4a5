//! New connections at a steady rate, one request each, and what became of them.

use std::{
    fmt,
    io::{self, ErrorKind},
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Longer than anything that is answered at all.
const BOUND: Duration = Duration::from_secs(30);

/// A load that runs on a thread of its own.
pub(crate) struct Load {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<(Instant, End)>>>,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Good,
    BadGateway,
    OtherStatus,
    Reset,
    /// It ended without an answer, or in the middle of one, or not at all.
    Cut,
    Refused,
}

/// How many ended in which way, by whether they began before the signal.
pub(crate) struct Tally {
    before: [usize; End::ALL.len()],
    after: [usize; End::ALL.len()],
}

impl Load {
    pub(crate) fn start(port: u16, rate: u32) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let ended = ended.clone();
            move || runtime()?.block_on(open_loop(port, Duration::from_secs(1) / rate, &ended))
        });
        Self { ended, thread }
    }

    /// Opens no more, waits for each to come to its end, and counts.
    pub(crate) fn end(self, signal: Instant) -> io::Result<Tally> {
        self.ended.store(true, Ordering::Relaxed);
        let ends = self.thread.join();
        let ends = ends.map_err(|_| io::Error::other("the load has panicked"))??;
        let mut tally = Tally {
            before: [0; End::ALL.len()],
            after: [0; End::ALL.len()],
        };
        for (began, end) in ends {
            let row = if began < signal {
                &mut tally.before
            } else {
                &mut tally.after
            };
            row[end as usize] += 1;
        }
        Ok(tally)
    }
}

/// Whether one request is answered well.
pub(crate) fn answers(port: u16) -> bool {
    runtime().is_ok_and(|runtime| runtime.block_on(fetch(port)) == End::Good)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Keeps to its clock, however slowly the answers come.
async fn open_loop(
    port: u16,
    period: Duration,
    ended: &AtomicBool,
) -> io::Result<Vec<(Instant, End)>> {
    let mut connections = JoinSet::new();
    let mut clock = interval(period);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !ended.load(Ordering::Relaxed) {
        clock.tick().await;
        connections.spawn(async move { (Instant::now(), fetch(port).await) });
    }
    Ok(connections.join_all().await)
}

async fn fetch(port: u16) -> End {
    let fetched = timeout(BOUND, try_fetch(port)).await;
    match fetched {
        Ok(Ok(response)) => End::of(&response),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => End::Refused,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
        Ok(Err(_)) | Err(_) => End::Cut,
    }
}

async fn try_fetch(port: u16) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    socket.write_all(REQUEST).await?;
    let mut response = Vec::new();
    socket.read_to_end(&mut response).await?;
    Ok(response)
}

impl End {
    const ALL: [(Self, &str); 6] = [
        (Self::Good, "200"),
        (Self::BadGateway, "502"),
        (Self::OtherStatus, "other"),
        (Self::Reset, "reset"),
        (Self::Cut, "cut"),
        (Self::Refused, "refused"),
    ];

    fn of(response: &[u8]) -> Self {
        let is_status = |code: &[u8]| response.get(9..12) == Some(code);
        if is_status(b"200") && response.ends_with(b"hello\n") {
            Self::Good
        } else if is_status(b"502") {
            Self::BadGateway
        } else if is_status(b"200") || response.is_empty() {
            Self::Cut
        } else {
            Self::OtherStatus
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<18}", "connections")?;
        for (_, name) in End::ALL {
            write!(f, "{name:>9}")?;
        }
        for (name, row) in [
            ("before the signal", &self.before),
            ("after it", &self.after),
        ] {
            write!(f, "\n{name:<18}")?;
            for count in row {
                write!(f, "{count:>9}")?;
            }
        }
        writeln!(f)
    }
}

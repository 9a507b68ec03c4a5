use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: front\r\nConnection: close\r\n\r\n";

/// What every server under this load answers.
pub(crate) const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

/// 500 per second.
const PERIOD: Duration = Duration::from_millis(2);

/// By which time any connection must have come to an end.
const BOUND: Duration = Duration::from_secs(15);

/// The reins of a load that runs on another thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    answered: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

/// What became of the connections.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answered: usize,
    /// Established as far as the client could see, then reset.
    pub(crate) reset: usize,
    /// When each refusal was seen.
    pub(crate) refused: Vec<Instant>,
    /// Anything else: cut short, another status, timed out.
    pub(crate) other: Vec<String>,
}

enum End {
    Answered,
    Reset,
    Refused(Instant),
    Other(String),
}

impl Load {
    /// Opens connections until [`end`](Self::end), then waits for each to come to an end of its own.
    pub(crate) fn run(&self, target: SocketAddr) -> Tally {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(self.open_loop(target))
    }

    /// Blocks until the server is known to be answering under load.
    pub(crate) fn warm_up(&self) {
        let start = Instant::now();
        while self.answered.load(Ordering::Relaxed) < 100 {
            assert!(start.elapsed() < BOUND, "the server does not answer");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// No new connections from now on.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    async fn open_loop(&self, target: SocketAddr) -> Tally {
        let (mut tally, mut connections) = (Tally::default(), JoinSet::new());
        let mut clock = interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !self.ended.load(Ordering::Relaxed) {
            clock.tick().await;
            connections.spawn(one(target));
            while let Some(end) = connections.try_join_next() {
                self.count(&mut tally, end.unwrap());
            }
        }
        while let Some(end) = connections.join_next().await {
            self.count(&mut tally, end.unwrap());
        }
        tally
    }

    fn count(&self, tally: &mut Tally, end: End) {
        tally.count(end);
        self.answered.store(tally.answered, Ordering::Relaxed);
    }
}

impl Tally {
    fn count(&mut self, end: End) {
        match end {
            End::Answered => self.answered += 1,
            End::Reset => self.reset += 1,
            End::Refused(at) => self.refused.push(at),
            End::Other(what) => self.other.push(what),
        }
    }

    /// Adds what another load met.
    pub(crate) fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.reset += other.reset;
        self.refused.extend(other.refused);
        self.other.extend(other.other);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            answered,
            reset,
            refused,
            other,
        } = self;
        let (refused, others) = (refused.len(), other.len());
        write!(
            f,
            "{reset} reset, {refused} refused, {answered} answered, {others} other"
        )
    }
}

async fn one(target: SocketAddr) -> End {
    match timeout(BOUND, exchange(target)).await {
        Ok(Ok(response)) if is_whole(&response) => End::Answered,
        Ok(Ok(response)) => End::Other(String::from_utf8_lossy(&response).into_owned()),
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused => End::Refused(Instant::now()),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
            _ => End::Other(error.to_string()),
        },
        Err(_) => End::Other("timed out".into()),
    }
}

async fn exchange(target: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(REQUEST).await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(response)
}

fn is_whole(response: &[u8]) -> bool {
    response.starts_with(b"HTTP/1.1 200 ") && response.ends_with(b"\r\n\r\nhello")
}

/// Reads one request and gives the one answer.
pub(crate) async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(RESPONSE).await?;
    stream.shutdown().await
}

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::network::Node;

/// By when anything ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a client rests after a request.
const REST: Duration = Duration::from_millis(10);

/// How many requests one connection is kept for.
const KEPT: usize = 100;

/// How many clients there are of each kind.
const NEW: usize = 4;
const KEEPING: usize = 6;
const SLOW: usize = 2;
const UPLOADING: usize = 1;

/// Clients at work: some connect for each request, some keep their connections, some wait long for an answer, some upload.
#[derive(Debug)]
pub(crate) struct Clients {
    ends: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Tally>>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    /// New connections that ended before a byte of an answer: behind the Service a refusal looks like that.
    pub(crate) turned_away: u64,
    pub(crate) failed: Vec<String>,
}

/// One of them.
struct Client {
    service: (String, u16),
    ends: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tally: Tally,
}

/// A connection, and how many answers came on it.
struct Connection(TcpStream, usize);

impl Clients {
    pub(crate) fn start(node: &Node, service: &(String, u16)) -> Self {
        let (ends, answered) = (Arc::default(), Arc::default());
        let mut clients = Self {
            ends,
            answered,
            threads: Vec::new(),
        };
        let hello = "GET /hello HTTP/1.1\r\nhost: rollout\r\n\r\n".to_owned();
        let once = hello.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let slow = hello.replace("/hello", "/slow?ms=700");
        let body = "x".repeat(100_000);
        let upload = format!(
            "POST /upload HTTP/1.1\r\nhost: rollout\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        for (count, request, keeps) in [
            (NEW, once, 1),
            (KEEPING, hello, KEPT),
            (SLOW, slow, 3),
            (UPLOADING, upload, KEPT),
        ] {
            (0..count).for_each(|_| clients.spawn(node, service, request.clone(), keeps));
        }
        clients
    }

    fn spawn(&mut self, node: &Node, service: &(String, u16), request: String, keeps: usize) {
        let client = Client {
            service: service.clone(),
            ends: self.ends.clone(),
            answered: self.answered.clone(),
            tally: Tally::default(),
        };
        let inside = node.handle();
        let ask = move || inside.run(move || client.ask(&request, keeps));
        self.threads.push(thread::spawn(ask));
    }

    /// Blocks until there are answers.
    pub(crate) fn warm_up(&self) {
        let began = Instant::now();
        while self.answered.load(Relaxed) < 100 {
            assert!(began.elapsed() < PATIENCE, "no answers");
            thread::sleep(REST);
        }
    }

    pub(crate) fn end(self) -> Tally {
        self.ends.store(true, Relaxed);
        let mut sum = Tally::default();
        for thread in self.threads {
            let tally = thread.join().unwrap();
            sum.answered += tally.answered;
            sum.turned_away += tally.turned_away;
            sum.failed.extend(tally.failed);
        }
        sum
    }
}

impl Client {
    fn ask(mut self, request: &str, keeps: usize) -> Tally {
        let mut connection = None;
        while !self.ends.load(Relaxed) && self.tally.failed.len() < 10 {
            connection = self.ask_once(connection.take(), request, keeps);
            thread::sleep(REST);
        }
        self.tally
    }

    /// Asks on `connection` or a new one; gives it back if it may be asked again.
    fn ask_once(
        &mut self,
        connection: Option<Connection>,
        request: &str,
        keeps: usize,
    ) -> Option<Connection> {
        let (host, port) = (&*self.service.0, self.service.1);
        let connection = connection.map_or_else(
            || TcpStream::connect((host, port)).map(|socket| Connection(socket, 0)),
            Ok,
        );
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                self.tally.failed.push(format!("no connection: {error}"));
                return None;
            }
        };
        let mut answer = Vec::new();
        let asked = connection.exchange(request, &mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        match asked {
            Ok(()) if text.starts_with("HTTP/1.1 200 ") => {
                self.tally.answered += 1;
                self.answered.fetch_add(1, Relaxed);
                let goes_on = connection.1 < keeps && !text.contains("connection: close");
                return goes_on.then_some(connection);
            }
            Err(_) if answer.is_empty() && connection.1 == 0 => self.tally.turned_away += 1,
            outcome => self.tally.failed.push(format!(
                "{outcome:?} after {} answers: {text:?}",
                connection.1
            )),
        }
        None
    }
}

impl Connection {
    /// Sends a request and reads its answer.
    fn exchange(&mut self, request: &str, answer: &mut Vec<u8>) -> io::Result<()> {
        let Self(socket, answers) = self;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        // An answer may have come before; if not, the reading says so.
        let wrote = socket.write_all(request.as_bytes());
        let mut piece = [0; 4096];
        while !is_whole(answer) {
            match socket.read(&mut piece)? {
                0 => return Err(wrote.err().unwrap_or(io::ErrorKind::UnexpectedEof.into())),
                count => answer.extend_from_slice(&piece[..count]),
            }
        }
        *answers += 1;
        Ok(())
    }
}

/// Whether a response with a Content-Length is all there.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.parse().ok())?
    });
    length.is_some_and(|length| body.len() == length)
}

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::fd::AsRawFd,
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How many clients open one connection after the other, and how long each rests in between.
const CLIENTS: usize = 4;
const REST: Duration = Duration::from_millis(10);

/// By when anything ends.
const BOUND: Duration = Duration::from_secs(20);

/// The container's address, as its clients know it, and theirs.
const FRONT: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);

/// Clients in a network beside a container's, at work until they are refused.
pub(crate) struct Load {
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Tally>>,
    slow: JoinHandle<Tally>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answered: usize,
    /// Answers that had been awaited when the stop came.
    pub(crate) slow: usize,
    pub(crate) refused: usize,
    pub(crate) failed: Vec<String>,
}

impl Load {
    /// Asks at `port` of a container, from outside of its `network`.
    pub(crate) fn start(network: &File, port: u16) -> Self {
        let network = Arc::new(beside(network));
        let answered = Arc::new(AtomicUsize::new(0));
        let spawn = |task: Box<dyn FnOnce() -> Tally + Send>| {
            let network = network.clone();
            thread::spawn(move || {
                enter(&network);
                task()
            })
        };
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let answered = answered.clone();
                spawn(Box::new(move || new_connections(port, &answered)))
            })
            .collect();
        clients.push(spawn(Box::new(move || kept_alive(port))));
        let slow = spawn(Box::new(move || {
            let mut tally = Tally::default();
            // Either app finds what it knows.
            tally.count(fetch(port, "/slow?ms=3000&s=3"));
            tally.slow = tally.answered;
            tally
        }));
        Self {
            answered,
            clients,
            slow,
        }
    }

    /// Blocks until the front answers, and the slow request is known to be on its way.
    pub(crate) fn warm_up(&self) {
        let began = Instant::now();
        while self.answered.load(Ordering::Relaxed) < 200 {
            assert!(began.elapsed() < BOUND, "no answers");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the clients, each of which leaves when it is refused.
    pub(crate) fn end(self) -> Tally {
        let mut sum = Tally::default();
        for client in self.clients.into_iter().chain([self.slow]) {
            let tally = client.join().unwrap();
            sum.answered += tally.answered;
            sum.slow += tally.slow;
            sum.refused += tally.refused;
            sum.failed.extend(tally.failed);
        }
        sum
    }
}

impl Tally {
    fn count(&mut self, outcome: io::Result<String>) {
        match outcome {
            Ok(response) if is_good(&response) => self.answered += 1,
            Ok(response) => self.failed.push(format!("{response:?}")),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.refused += 1,
            Err(error) => self.failed.push(error.to_string()),
        }
    }
}

/// A response of the app's: Thrust's own have no such body.
fn is_good(response: &str) -> bool {
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    head.starts_with("HTTP/1.1 200 ") && !body.is_empty()
}

/// A network with a cable to `network`: users come from elsewhere. Who comes over a container's own loopback may be let in by
/// the kernel up to the moment in which the port closes, for no container may filter TCP (see the last call).
fn beside(network: &File) -> File {
    let outside = thread::spawn(|| {
        // SAFETY: unshare(2) takes no pointer, and gives this thread alone a new network.
        let made = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(made, 0, "unshare: {}", io::Error::last_os_error());
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    let outside = outside.join().unwrap();
    let place = format!("/proc/{}/fd/{}", process::id(), outside.as_raw_fd());
    thread::scope(|scope| {
        scope.spawn(|| {
            enter(network);
            ip(&format!(
                "link add front type veth peer name clients netns {place}"
            ));
            ip(&format!("address add {FRONT}/24 dev front"));
            ip("link set front up");
            enter(&outside);
            ip(&format!("address add {OUTSIDE}/24 dev clients"));
            ip("link set clients up");
        });
    });
    outside
}

/// Runs iproute2's command in the network of this thread.
fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("iproute2 is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
}

/// Moves this thread into a network.
fn enter(network: &File) {
    // SAFETY: setns(2) takes a descriptor that lives, and moves this thread alone.
    let entered = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(entered, 0, "setns: {}", io::Error::last_os_error());
}

fn new_connections(port: u16, answered: &AtomicUsize) -> Tally {
    let mut tally = Tally::default();
    let began = Instant::now();
    while tally.refused == 0 && tally.failed.is_empty() && began.elapsed() < BOUND {
        tally.count(fetch(port, "/hello"));
        answered.fetch_add(1, Ordering::Relaxed);
        thread::sleep(REST);
    }
    tally
}

fn fetch(port: u16, target: &str) -> io::Result<String> {
    let mut socket = connect(port)?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    Ok(response)
}

/// One request after the other on one connection, until a response says that it was the last.
fn kept_alive(port: u16) -> Tally {
    let mut tally = Tally::default();
    let outcome = connect(port).and_then(|mut socket| {
        loop {
            socket.write_all(b"GET /hello HTTP/1.1\r\nHost: docker\r\n\r\n")?;
            let response = read_one(&mut socket)?;
            let last = response.to_ascii_lowercase().contains("connection: close");
            tally.count(Ok(response));
            if last || !tally.failed.is_empty() {
                return Ok(());
            }
            thread::sleep(REST);
        }
    });
    if let Err(error) = outcome {
        tally.failed.push(format!("kept alive: {error}"));
    }
    tally
}

/// A response whose body ends with a line break, as the app's `/hello` does.
fn read_one(socket: &mut TcpStream) -> io::Result<String> {
    let mut response = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        response.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&response);
        if text
            .split_once("\r\n\r\n")
            .is_some_and(|(_, body)| body.ends_with('\n'))
        {
            return Ok(text.into_owned());
        }
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((FRONT, port))?;
    socket.set_read_timeout(Some(BOUND))?;
    Ok(socket)
}

//! The app behind Thrust in its tests: obedient or disobedient, as told.
//!
//! ```text
//! upstream [options]                listens on 127.0.0.1:$PORT unless told otherwise
//!   --bind ADDR                     another address, such as ::1 or 0.0.0.0 (the port is still $PORT)
//!   --socket PATH                   a unix socket instead
//!   --on-term HOW                   what TERM, INT and QUIT do (default: exit)
//!       exit                          die of the signal at once
//!       exit-after=SECS               go on serving, then die of it
//!       close-port-then-exit-after=SECS
//!       finish-requests               close the port, finish what is in flight, then die of it
//!       ignore
//!   --goodbye TEXT                  a last line to every upgraded connection, just before it dies
//!   --exit-code N                   leave with N where the above says "die of the signal"
//!   --start-delay MS                wait before opening the port
//!   --start-when NAME               wait for gate NAME before opening the port
//!   --gates DIR                     where gates are files: gate X is open once DIR/X exists
//!   --log FILE                      one line per event, `SECONDS event…`; `-` is stderr
//!   --probe-front PORT              when told to stop, connect to 127.0.0.1:PORT at once and log `probe refused|accepted`
//!   --spawn-grandchild              a grandchild that holds stdout open for 30 s
//!   --print-env                     the environment on stdout, one variable per line
//! ```
//!
//! Logged events: `started pid=…`, `port open`, `port closed`, `accepted`, `request METHOD TARGET`,
//! `done METHOD TARGET`, `gone METHOD TARGET` (the peer went away first), `waiting NAME` (at a gate),
//! `answering METHOD TARGET` (of /slow, just before it does), `signal NAME connections=N` (N: open ones that the peer has
//! not closed), `probe …`, `exit …`.
//! `SECONDS` is CLOCK_MONOTONIC, comparable between processes.
//!
//! Requests, by path and query:
//!
//! ```text
//! /hello                            "hello from PID"
//! /bytes?n=N                        N bytes with a Content-Length
//! /own?n=N                          N bytes that no other host and target has; public, fresh for ten minutes
//! /chunked?n=N&size=S&delay_ms=D    N chunks of S bytes, D ms apart
//! /slow?ms=M                        answers after M ms
//! /stream?n=N&delay_ms=D            the head at once, then N pieces of text, D ms apart
//! /gated-body?name=X[&framing=chunked]
//!                                   head and first half at once, the second half when gate X opens
//! /sse?every_ms=M&count=N           N events, M ms apart (count 0: until somebody leaves)
//! /echo                             the request's body, sent back as it arrives
//! /upload[?gate=X]                  reads the whole body (after gate X): "LENGTH CRC32"
//! /headers                          the request's head, byte for byte
//! /process                          /proc/self/status as it was at the start
//! /early[?close=1]                  403 before the body is read; then discards it, or closes
//! /status?code=N                    an empty answer with that status
//! /named[?status=N&beside=N&gate=X]  an answer (when gate X opens) with the fields that the request's `Answer` lists as
//!                                   `name: value | name: value`, and a body of N bytes beside them
//! /early-hints                      103 with two Link fields, then 200
//! /trailers                         chunked, with two trailer fields
//! /continue-count                   "expected=N sent=M": requests with Expect, and 100s written
//! /upgrade[?gate=X]                 101 (after gate X), a greeting in the same write, then an echo of raw bytes
//! /abort?after=N                    promises 1 MiB, sends N bytes, closes
//! /reset                            closes with a reset
//! /close-without-answer
//! /hang                             never answers
//! /keepalive-close                  answers as if to go on, then closes
//! /exit?code=N                      the process exits, unanswered
//! /crash                            the process kills itself, unanswered
//! /close-port, /open-port           stops and restarts accepting
//! /probe-front?port=N               as --probe-front, for ports known later
//! /notify?say=TEXT[&gate=X][&times=N]
//!                                   sends TEXT (%20 is a space) to NOTIFY_SOCKET, as sd_notify(3) does (after gate X, N
//!                                   times over); 500 where it is not set
//! /wait-gate?name=X                 answers when the gate opens
//! /open-gate?name=X                 opens it
//! ```
#![expect(
    clippy::exit,
    clippy::unwrap_used,
    reason = "test equipment that dies in every way, loudly"
)]

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::{self, Command, Stdio},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use signal_hook::{iterator::Signals, low_level};
use socket2::SockRef;

/// How often a waiting request looks at its gate and at its peer.
const GLANCE: Duration = Duration::from_millis(3);

fn main() {
    let options = Options::from_args();
    // Before the handlers below change it: this is what our parent gave us.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let signals = Signals::new(watched_signals()).unwrap();
    let (commands, inbox) = mpsc::channel();
    let (wake, woken) = UnixStream::pair().unwrap();
    let app = Arc::new(App::new(options, status, commands, wake));
    app.log(format_args!("started pid={}", process::id()));

    if app.options.print_env {
        env::vars_os().for_each(|(name, value)| println!("{}={}", name.display(), value.display()));
    }
    if app.options.spawn_grandchild {
        drop(
            Command::new("sleep")
                .arg("30")
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        );
    }
    let watcher = Arc::clone(&app);
    thread::spawn(move || watcher.obey(signals));
    thread::sleep(app.options.start_delay);
    if let Some(gate) = &app.options.start_when {
        app.log(format_args!("waiting {gate}"));
        while !app.gate_is_open(gate) {
            thread::sleep(GLANCE);
        }
    }
    app.accept(&inbox, &woken);
}

/// What the command line said.
#[derive(Debug)]
struct Options {
    bind: IpAddr,
    socket: Option<PathBuf>,
    on_term: OnTerm,
    goodbye: Option<String>,
    exit_code: Option<i32>,
    start_delay: Duration,
    start_when: Option<String>,
    gates: PathBuf,
    log: Option<PathBuf>,
    probe_front: u16,
    spawn_grandchild: bool,
    print_env: bool,
}

#[derive(Debug, Clone, Copy)]
enum OnTerm {
    ExitAfter(Duration),
    ClosePortThenExitAfter(Duration),
    FinishRequests,
    Ignore,
}

impl Options {
    fn from_args() -> Self {
        let mut options = Options {
            bind: IpAddr::from([127, 0, 0, 1]),
            socket: None,
            on_term: OnTerm::ExitAfter(Duration::ZERO),
            goodbye: None,
            exit_code: None,
            start_delay: Duration::ZERO,
            start_when: None,
            gates: env::temp_dir().join(format!("gates-{}", process::id())),
            log: None,
            probe_front: 0,
            spawn_grandchild: false,
            print_env: false,
        };
        let mut args = env::args().skip(1);
        while let Some(name) = args.next() {
            let mut value = || {
                args.next()
                    .unwrap_or_else(|| refuse(&format!("{name} needs a value")))
            };
            match name.as_str() {
                "--bind" => options.bind = value().trim_matches(['[', ']']).parse().unwrap(),
                "--socket" => options.socket = Some(value().into()),
                "--on-term" => options.on_term = OnTerm::parse(&value()),
                "--goodbye" => options.goodbye = Some(value()),
                "--exit-code" => options.exit_code = Some(value().parse().unwrap()),
                "--start-delay" => {
                    options.start_delay = Duration::from_millis(value().parse().unwrap());
                }
                "--start-when" => options.start_when = Some(value()),
                "--gates" => options.gates = value().into(),
                "--log" => options.log = Some(value().into()),
                "--probe-front" => options.probe_front = value().parse().unwrap(),
                "--spawn-grandchild" => options.spawn_grandchild = true,
                "--print-env" => options.print_env = true,
                other => refuse(&format!("unknown option {other}")),
            }
        }
        options
    }
}

impl OnTerm {
    fn parse(text: &str) -> Self {
        let (how, seconds) = text.split_once('=').unwrap_or((text, "0"));
        let after = Duration::from_secs_f64(seconds.parse().unwrap());
        match how {
            "exit" | "exit-after" => OnTerm::ExitAfter(after),
            "close-port-then-exit-after" => OnTerm::ClosePortThenExitAfter(after),
            "finish-requests" => OnTerm::FinishRequests,
            "ignore" => OnTerm::Ignore,
            other => refuse(&format!("unknown --on-term {other}")),
        }
    }
}

fn refuse(why: &str) -> ! {
    eprintln!("upstream: {why}");
    process::exit(64)
}

/// Everything the threads share.
struct App {
    options: Options,
    /// /proc/self/status at the start.
    status: String,
    log: Option<Mutex<Box<dyn Write + Send>>>,
    port: mpsc::Sender<PortCommand>,
    wake: UnixStream,
    connections: Mutex<Vec<Weak<Stream>>>,
    tunnels: Mutex<Vec<Weak<Stream>>>,
    in_flight: AtomicUsize,
    finishing: AtomicBool,
    front: AtomicU16,
    expected: AtomicUsize,
    continued: AtomicUsize,
}

/// Opens or closes the port; the sender hears when it is done.
enum PortCommand {
    Open(mpsc::Sender<()>),
    Close(mpsc::Sender<()>),
}

impl App {
    fn new(
        options: Options,
        status: String,
        port: mpsc::Sender<PortCommand>,
        wake: UnixStream,
    ) -> Self {
        let log = options
            .log
            .as_ref()
            .map(|path| -> Mutex<Box<dyn Write + Send>> {
                if path.as_os_str() == "-" {
                    return Mutex::new(Box::new(io::stderr()));
                }
                Mutex::new(Box::new(
                    File::options()
                        .create(true)
                        .append(true)
                        .open(path)
                        .unwrap(),
                ))
            });
        App {
            front: options.probe_front.into(),
            options,
            status,
            log,
            port,
            wake,
            connections: Mutex::default(),
            tunnels: Mutex::default(),
            in_flight: 0.into(),
            finishing: false.into(),
            expected: 0.into(),
            continued: 0.into(),
        }
    }

    /// One write per line, so that lines of several processes do not mix.
    fn log(&self, event: std::fmt::Arguments<'_>) {
        if let Some(log) = &self.log {
            let now = monotonic();
            let line = format!("{}.{:06} {event}\n", now.as_secs(), now.subsec_micros());
            // A reader that has left is no reason for the app to fall over.
            let _ = log.lock().unwrap().write_all(line.as_bytes());
        }
    }

    fn accept(self: &Arc<Self>, inbox: &mpsc::Receiver<PortCommand>, mut woken: &UnixStream) {
        let mut listener = Some(self.listen());
        loop {
            let mut fds = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
            fds.extend(
                listener
                    .as_ref()
                    .map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)),
            );
            let _ = nix::poll::poll(&mut fds, PollTimeout::NONE);
            if fds[0].any() == Some(true) {
                let _ = woken.read(&mut [0; 16]);
            }
            while let Ok(command) = inbox.try_recv() {
                let heard = match command {
                    PortCommand::Open(heard) => {
                        listener.get_or_insert_with(|| self.listen());
                        heard
                    }
                    PortCommand::Close(heard) => {
                        listener = None;
                        self.log(format_args!("port closed"));
                        heard
                    }
                };
                let _ = heard.send(());
            }
            match listener.as_ref().map(Listener::accept) {
                Some(Ok(stream)) => self.serve_on_a_thread(stream),
                Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => {
                    self.log(format_args!("accept {error}"));
                }
                _ => {}
            }
        }
    }

    fn listen(&self) -> Listener {
        let listener = match &self.options.socket {
            Some(path) => {
                let _ = fs::remove_file(path);
                Listener::Unix(
                    UnixListener::bind(path)
                        .unwrap_or_else(|error| refuse(&format!("{error}: {path:?}"))),
                )
            }
            None => {
                let port = env::var("PORT").ok().and_then(|port| port.parse().ok());
                let address = SocketAddr::new(
                    self.options.bind,
                    port.unwrap_or_else(|| refuse("PORT is not set")),
                );
                // std sets SO_REUSEADDR.
                let listener = TcpListener::bind(address);
                Listener::Tcp(
                    listener.unwrap_or_else(|error| refuse(&format!("{error}: {address}"))),
                )
            }
        };
        SockRef::from(&listener).set_nonblocking(true).unwrap();
        self.log(format_args!("port open"));
        listener
    }

    fn port(&self, command: impl FnOnce(mpsc::Sender<()>) -> PortCommand) {
        let (heard, done) = mpsc::channel();
        if self.port.send(command(heard)).is_ok() {
            let _ = (&self.wake).write_all(b"!");
            let _ = done.recv();
        }
    }

    fn serve_on_a_thread(self: &Arc<Self>, stream: Stream) {
        self.log(format_args!("accepted"));
        let (app, stream) = (Arc::clone(self), Arc::new(stream));
        let mut connections = self.connections.lock().unwrap();
        connections.retain(|stream| stream.strong_count() > 0);
        connections.push(Arc::downgrade(&stream));
        thread::spawn(move || {
            let mut connection = Connection {
                app: &app,
                stream: &stream,
                buffer: Vec::new(),
            };
            while let Ok(true) = connection.serve_one() {}
        });
    }

    /// How many connections are open whose peer has not closed its side.
    fn open_connections(&self) -> usize {
        let connections = self.connections.lock().unwrap();
        connections
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|stream| !stream.peer_is_gone())
            .count()
    }

    fn obey(self: &Arc<Self>, mut signals: Signals) {
        for signal in signals.forever() {
            let connections = self.open_connections();
            self.log(format_args!(
                "signal {} connections={connections}",
                signal_name(signal)
            ));
            if matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT) {
                self.probe();
                self.stop(signal);
            }
        }
    }

    fn probe(&self) {
        let port = self.front.load(SeqCst);
        if port != 0 {
            let found = match TcpStream::connect(("127.0.0.1", port)) {
                Ok(_) => "accepted".to_owned(),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused".to_owned(),
                Err(error) => error.to_string(),
            };
            self.log(format_args!("probe {found}"));
        }
    }

    /// Returns at once, so that further signals are still logged.
    fn stop(self: &Arc<Self>, signal: i32) {
        let app = Arc::clone(self);
        match self.options.on_term {
            OnTerm::Ignore => {}
            OnTerm::ExitAfter(Duration::ZERO) => self.die(signal),
            OnTerm::ExitAfter(after) => drop(thread::spawn(move || app.die_after(signal, after))),
            OnTerm::ClosePortThenExitAfter(after) => {
                self.port(PortCommand::Close);
                drop(thread::spawn(move || app.die_after(signal, after)));
            }
            OnTerm::FinishRequests => {
                self.finishing.store(true, SeqCst);
                self.port(PortCommand::Close);
                drop(thread::spawn(move || {
                    while app.in_flight.load(SeqCst) > 0 {
                        thread::sleep(GLANCE);
                    }
                    app.die(signal)
                }));
            }
        }
    }

    fn die_after(&self, signal: i32, after: Duration) {
        thread::sleep(after);
        self.die(signal)
    }

    fn die(&self, signal: i32) -> ! {
        self.say_goodbye();
        self.log(format_args!("exit {}", signal_name(signal)));
        if let Some(code) = self.options.exit_code {
            process::exit(code)
        }
        let _ = low_level::emulate_default_handler(signal);
        process::exit(128 + signal)
    }

    fn say_goodbye(&self) {
        if let Some(text) = &self.options.goodbye {
            let tunnels = self.tunnels.lock().unwrap();
            for tunnel in tunnels.iter().filter_map(Weak::upgrade) {
                // Who has left needs none.
                let _ = (&*tunnel).write_all(format!("{text}\n").as_bytes());
            }
        }
    }

    fn gate_is_open(&self, name: &str) -> bool {
        self.options.gates.join(name).exists()
    }
}

fn monotonic() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec for the kernel to fill; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

fn watched_signals() -> Vec<i32> {
    use libc::*;
    let named = [
        SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH,
        SIGPWR,
    ];
    named.into_iter().chain(SIGRTMIN()..=SIGRTMAX()).collect()
}

fn signal_name(signal: i32) -> String {
    match signal {
        libc::SIGPWR => "SIGPWR".into(),
        _ => match low_level::signal_name(signal) {
            Some(name) => name.into(),
            None => format!("SIGRTMIN+{}", signal - libc::SIGRTMIN()),
        },
    }
}

/// The port, of either family.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        let stream = match self {
            Listener::Tcp(listener) => Stream::Tcp(listener.accept()?.0),
            Listener::Unix(listener) => Stream::Unix(listener.accept()?.0),
        };
        if let Stream::Tcp(stream) = &stream {
            stream.set_nodelay(true)?;
        }
        Ok(stream)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A connection, of either family.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Whether the peer has closed its side and nothing of it is left to read.
    fn peer_is_gone(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked =
            SockRef::from(self).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        match peeked {
            Ok(read) => read == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buffer),
            Stream::Unix(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write_vectored(pieces),
            Stream::Unix(stream) => (&*stream).write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A request's head, taken apart.
struct Head {
    raw: Vec<u8>,
    method: String,
    target: String,
    path: String,
    query: HashMap<String, String>,
    fields: Vec<(String, String)>,
    http_10: bool,
}

impl Head {
    fn parse(raw: Vec<u8>) -> io::Result<Self> {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let mut words = lines
            .next()
            .unwrap_or_default()
            .splitn(3, ' ')
            .map(str::to_owned);
        let (Some(method), Some(target), Some(version)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(ErrorKind::InvalidData.into());
        };
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Ok(Head {
            path: path.to_owned(),
            query: query
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            raw,
            method,
            target: target.clone(),
            fields,
            http_10: version == "HTTP/1.0",
        })
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str, token: &str) -> bool {
        self.field(name)
            .is_some_and(|value| value.to_ascii_lowercase().contains(token))
    }

    /// A number from the query.
    fn number(&self, name: &str, default: u64) -> u64 {
        self.query
            .get(name)
            .map_or(default, |value| value.parse().unwrap_or(default))
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name, 0))
    }

    fn wants_close(&self) -> bool {
        self.has("connection", "close") || self.http_10 && !self.has("connection", "keep-alive")
    }
}

/// How much of the request's body is still to come.
#[derive(Clone, Copy)]
enum Rest {
    Bytes(u64),
    /// So many bytes of the current chunk, and more chunks after it.
    Chunks(u64),
    Nothing,
}

/// Counts a request as in flight while it lives.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

struct Connection<'a> {
    app: &'a App,
    stream: &'a Stream,
    /// Read from the socket and not yet used.
    buffer: Vec<u8>,
}

impl Connection<'_> {
    /// Answers the next request. `Ok(true)`: the connection may carry another.
    fn serve_one(&mut self) -> io::Result<bool> {
        let Some(raw) = self.read_head()? else {
            return Ok(false);
        };
        self.app.in_flight.fetch_add(1, SeqCst);
        let _counted = InFlight(&self.app.in_flight);
        let head = Head::parse(raw)?;
        self.app
            .log(format_args!("request {} {}", head.method, head.target));
        let rest = match head.field("content-length") {
            _ if head.has("transfer-encoding", "chunked") => Rest::Chunks(0),
            Some(length) => Rest::Bytes(length.parse().map_err(|_| ErrorKind::InvalidData)?),
            None => Rest::Nothing,
        };
        if head.has("expect", "100-continue") {
            self.app.expected.fetch_add(1, SeqCst);
        }
        let mut exchange = Exchange {
            expects: head.has("expect", "100-continue"),
            head: &head,
            rest,
            connection: self,
        };
        let served = exchange.route().and_then(|go_on| {
            // What a handler left of the body would otherwise be read as the next head.
            if go_on {
                exchange.discard_body()?;
            }
            Ok(go_on)
        });
        let event = if served.is_ok() { "done" } else { "gone" };
        self.app
            .log(format_args!("{event} {} {}", head.method, head.target));
        Ok(served? && !head.wants_close() && !self.app.finishing.load(SeqCst))
    }

    fn is_a_tunnel_now(&self) {
        let connections = self.app.connections.lock().unwrap();
        let me = connections
            .iter()
            .find(|stream| std::ptr::eq(stream.as_ptr(), self.stream));
        self.app.tunnels.lock().unwrap().extend(me.cloned());
    }

    fn read_head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                let rest = self.buffer.split_off(end + 4);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.fill()? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Reads what there is into the buffer.
    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 64 * 1024];
        let read = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(read)
    }

    fn fill_or_fail(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = self.buffer.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(|_| ErrorKind::InvalidData.into());
            }
            self.fill_or_fail()?;
        }
    }
}

/// One request and the way to answer it.
struct Exchange<'a, 'b, 'c> {
    head: &'a Head,
    rest: Rest,
    /// A `100 Continue` is due before the body is read.
    expects: bool,
    connection: &'b mut Connection<'c>,
}

impl Exchange<'_, '_, '_> {
    fn route(&mut self) -> io::Result<bool> {
        match self.head.path.as_str() {
            "/hello" | "/" => self.answer(200, "", format!("hello from {}\n", process::id())),
            "/bytes" => self.answer(200, "", pattern(self.head.number("n", 0))),
            "/own" => {
                let own = format!(
                    "{} {}\n",
                    self.head.field("host").unwrap_or(""),
                    self.head.target
                );
                let length = usize::try_from(self.head.number("n", 0)).unwrap_or(0);
                let body: Vec<u8> = own.bytes().cycle().take(length).collect();
                self.answer(200, "cache-control: public, max-age=600\r\n", body)
            }
            "/chunked" => self.pieces(
                "application/octet-stream",
                self.head.number("n", 3),
                |exchange, _| String::from_utf8(pattern(exchange.head.number("size", 10))).unwrap(),
            ),
            "/stream" => self.pieces("text/plain", self.head.number("n", 3), |_, number| {
                format!("piece {number}\n")
            }),
            "/sse" => self.sse(),
            "/slow" => {
                self.pause(self.head.millis("ms"))?;
                let Head { method, target, .. } = &self.head;
                let app = &self.connection.app;
                app.log(format_args!("answering {method} {target}"));
                self.answer(200, "", "slow\n")
            }
            "/gated-body" => self.gated_body(),
            "/echo" => self.echo(),
            "/upload" => self.upload(),
            "/headers" => self.answer(200, "", &self.head.raw),
            "/process" => self.answer(200, "", self.connection.app.status.clone()),
            "/early" => self.early(),
            "/status" => self.status(),
            "/named" => self.named(),
            "/early-hints" => {
                let links = "link: </a.css>; rel=preload; as=style\r\nlink: </b.js>; rel=preload; as=script\r\n";
                self.write(format!("HTTP/1.1 103 Early Hints\r\n{links}\r\n"))?;
                self.answer(200, links, "hinted\n")
            }
            "/trailers" => self.trailers(),
            "/continue-count" => {
                let app = self.connection.app;
                let (expected, sent) = (app.expected.load(SeqCst), app.continued.load(SeqCst));
                self.answer(200, "", format!("expected={expected} sent={sent}\n"))
            }
            "/upgrade" => self.upgrade(),
            "/abort" => {
                let body = String::from_utf8(pattern(self.head.number("after", 0))).unwrap();
                self.write(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n{body}"
                ))?;
                Ok(false)
            }
            "/reset" => {
                // On a unix socket the unread byte of nobody makes no reset; the peer sees an end there.
                let _ = SockRef::from(self.connection.stream).set_linger(Some(Duration::ZERO));
                Ok(false)
            }
            "/close-without-answer" => Ok(false),
            "/hang" => self.wait_until(|| false).map(|()| false),
            "/keepalive-close" => self.answer(200, "", "and gone\n").map(|_| false),
            "/exit" => process::exit(i32::try_from(self.head.number("code", 0)).unwrap_or(1)),
            "/crash" => {
                let _ = nix::sys::signal::raise(nix::sys::signal::SIGKILL);
                Ok(false)
            }
            "/close-port" => {
                self.connection.app.port(PortCommand::Close);
                self.answer(200, "", "closed\n")
            }
            "/open-port" => {
                self.connection.app.port(PortCommand::Open);
                self.answer(200, "", "open\n")
            }
            "/probe-front" => {
                let port = u16::try_from(self.head.number("port", 0)).unwrap_or(0);
                self.connection.app.front.store(port, SeqCst);
                self.answer(200, "", "will probe\n")
            }
            "/notify" => self.notify(),
            "/wait-gate" => {
                self.wait_for_gate("name")?;
                self.answer(200, "", "the gate is open\n")
            }
            "/open-gate" => {
                let gates = &self.connection.app.options.gates;
                fs::create_dir_all(gates)?;
                File::create(gates.join(self.name("name")))?;
                self.answer(200, "", "opened\n")
            }
            _ => self.answer(404, "", "no such path\n"),
        }
    }

    /// A whole response; `fields` are complete lines.
    fn answer(&mut self, status: u16, fields: &str, body: impl AsRef<[u8]>) -> io::Result<bool> {
        let (body, close) = (body.as_ref(), self.close_line());
        let length = body.len();
        let kind = if fields.contains("content-type") {
            ""
        } else {
            "content-type: text/plain\r\n"
        };
        let head = format!(
            "HTTP/1.1 {status} {}\r\n{kind}{fields}{close}content-length: {length}\r\n\r\n",
            reason(status)
        );
        let body = if self.head.method == "HEAD" {
            b""
        } else {
            body
        };
        self.write([head.as_bytes(), body].concat())?;
        Ok(true)
    }

    fn close_line(&self) -> &'static str {
        let finishing = self.connection.app.finishing.load(SeqCst);
        if finishing || self.head.wants_close() {
            "connection: close\r\n"
        } else {
            ""
        }
    }

    fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.connection.stream.write_all(bytes.as_ref())
    }

    fn name(&self, key: &str) -> String {
        self.head
            .query
            .get(key)
            .cloned()
            .unwrap_or_else(|| "gate".into())
    }

    fn wait_for_gate(&mut self, key: &str) -> io::Result<()> {
        let (app, name) = (self.connection.app, self.name(key));
        app.log(format_args!("waiting {name}"));
        self.wait_until(|| app.gate_is_open(&name))
    }

    /// Waits for `met`, or fails when the peer goes away.
    fn wait_until(&mut self, met: impl Fn() -> bool) -> io::Result<()> {
        while !met() {
            if self.connection.stream.peer_is_gone() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    fn pause(&mut self, pause: Duration) -> io::Result<()> {
        let end = monotonic() + pause;
        self.wait_until(|| monotonic() >= end)
    }

    fn chunked_head(&mut self, kind: &str, fields: &str) -> io::Result<()> {
        let close = self.close_line();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{fields}{close}transfer-encoding: chunked\r\n\r\n"
        );
        self.write(head)
    }

    /// One chunk in one write, as most servers do; none for an empty piece, which would end the body.
    fn chunk(&mut self, piece: impl AsRef<[u8]>) -> io::Result<()> {
        let piece = piece.as_ref();
        if piece.is_empty() {
            return Ok(());
        }
        self.write([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
    }

    fn pieces(
        &mut self,
        kind: &str,
        count: u64,
        piece: impl Fn(&Self, u64) -> String,
    ) -> io::Result<bool> {
        self.chunked_head(kind, "")?;
        if self.head.method == "HEAD" {
            return Ok(true);
        }
        for number in 0..count {
            if number > 0 {
                self.pause(self.head.millis("delay_ms"))?;
            }
            self.chunk(piece(self, number))?;
        }
        self.write("0\r\n\r\n")?;
        Ok(true)
    }

    fn sse(&mut self) -> io::Result<bool> {
        self.chunked_head("text/event-stream", "cache-control: no-cache\r\n")?;
        let count = self.head.number("count", 0);
        let mut number = 0;
        while count == 0 || number < count {
            self.chunk(format!("data: {number}\n\n"))?;
            number += 1;
            self.pause(Duration::from_millis(self.head.number("every_ms", 100)))?;
        }
        self.write("0\r\n\r\n")?;
        Ok(true)
    }

    fn gated_body(&mut self) -> io::Result<bool> {
        let (first, second) = ("before the gate\n", "behind the gate\n");
        if self
            .head
            .query
            .get("framing")
            .is_some_and(|framing| framing == "chunked")
        {
            self.chunked_head("text/plain", "")?;
            self.chunk(first)?;
            self.wait_for_gate("name")?;
            self.chunk(second)?;
            self.write("0\r\n\r\n")?;
        } else {
            let (length, close) = (first.len() + second.len(), self.close_line());
            self.write(format!(
                "HTTP/1.1 200 OK\r\n{close}content-length: {length}\r\n\r\n{first}"
            ))?;
            self.wait_for_gate("name")?;
            self.write(second)?;
        }
        Ok(true)
    }

    /// Asks for the body, where the client waits to be asked.
    fn continue_if_expected(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.expects) {
            self.connection.app.continued.fetch_add(1, SeqCst);
            self.write("HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        Ok(())
    }

    /// The next piece of the request's body; empty at its end.
    fn body_piece(&mut self) -> io::Result<Vec<u8>> {
        self.continue_if_expected()?;
        let left = match self.rest {
            Rest::Nothing | Rest::Bytes(0) => return Ok(Vec::new()),
            Rest::Bytes(left) => left,
            Rest::Chunks(0) => {
                let line = self.connection.read_line()?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(|_| ErrorKind::InvalidData)?;
                if size == 0 {
                    while !self.connection.read_line()?.is_empty() {}
                    self.rest = Rest::Nothing;
                    return Ok(Vec::new());
                }
                self.rest = Rest::Chunks(size);
                size
            }
            Rest::Chunks(left) => left,
        };
        if self.connection.buffer.is_empty() {
            self.connection.fill_or_fail()?;
        }
        let available = self.connection.buffer.len();
        let length = usize::try_from(left).map_or(available, |left| left.min(available));
        let piece: Vec<u8> = self.connection.buffer.drain(..length).collect();
        let left = left - piece.len() as u64;
        self.rest = match self.rest {
            Rest::Chunks(_) => {
                if left == 0 {
                    self.connection.read_line()?;
                }
                Rest::Chunks(left)
            }
            _ => Rest::Bytes(left),
        };
        Ok(piece)
    }

    /// A body that the client was never asked for (Expect) does not come; the connection cannot go on.
    fn discard_body(&mut self) -> io::Result<()> {
        if self.expects {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        while !self.body_piece()?.is_empty() {}
        Ok(())
    }

    fn echo(&mut self) -> io::Result<bool> {
        self.continue_if_expected()?;
        let kind = self
            .head
            .field("content-type")
            .unwrap_or("application/octet-stream")
            .to_owned();
        if let Rest::Bytes(length) = self.rest {
            let close = self.close_line();
            self.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{close}content-length: {length}\r\n\r\n"
            ))?;
            loop {
                let piece = self.body_piece()?;
                if piece.is_empty() {
                    return Ok(true);
                }
                self.write(piece)?;
            }
        }
        self.chunked_head(&kind, "")?;
        loop {
            let piece = self.body_piece()?;
            if piece.is_empty() {
                self.write("0\r\n\r\n")?;
                return Ok(true);
            }
            self.chunk(piece)?;
        }
    }

    fn upload(&mut self) -> io::Result<bool> {
        if self.head.query.contains_key("gate") {
            // Its body may be waiting in the buffer, but a peer that left shows all the same.
            self.wait_for_gate("gate")?;
        }
        let (mut length, mut crc) = (0, !0);
        loop {
            let piece = self.body_piece()?;
            if piece.is_empty() {
                return self.answer(200, "", format!("{length} {:08x}", !crc));
            }
            length += piece.len();
            crc = crc32(crc, &piece);
        }
    }

    fn early(&mut self) -> io::Result<bool> {
        let close = self.head.query.contains_key("close");
        self.answer(
            403,
            if close { "connection: close\r\n" } else { "" },
            "not for you\n",
        )?;
        self.expects = false;
        Ok(!close)
    }

    fn status(&mut self) -> io::Result<bool> {
        let status = u16::try_from(self.head.number("code", 200)).unwrap_or(500);
        if matches!(status, 204 | 304) {
            let close = self.close_line();
            self.write(format!(
                "HTTP/1.1 {status} {}\r\n{close}\r\n",
                reason(status)
            ))?;
            return Ok(true);
        }
        self.answer(status, "", "")
    }

    fn notify(&mut self) -> io::Result<bool> {
        if self.head.query.contains_key("gate") {
            self.wait_for_gate("gate")?;
        }
        let times = self.head.number("times", 1);
        let said = self.head.query.get("say").cloned().unwrap_or_default();
        let said = said.replace("%20", " ");
        let told = env::var_os("NOTIFY_SOCKET").is_some_and(|path| {
            let socket = std::os::unix::net::UnixDatagram::unbound();
            let say = |socket: &std::os::unix::net::UnixDatagram| {
                (0..times).all(|_| socket.send_to(said.as_bytes(), &path).is_ok())
            };
            socket.is_ok_and(|socket| say(&socket))
        });
        self.answer(if told { 200 } else { 500 }, "", "")
    }

    fn named(&mut self) -> io::Result<bool> {
        if self.head.query.contains_key("gate") {
            self.wait_for_gate("gate")?;
        }
        let asked = self.head.field("answer").unwrap_or_default();
        let lines = asked.split(" | ").filter(|line| !line.is_empty());
        let fields: String = lines.map(|line| format!("{line}\r\n")).collect();
        let status = u16::try_from(self.head.number("status", 200)).unwrap_or(500);
        let close = self.close_line();
        let body = pattern(self.head.number("beside", 0));
        let length = match status {
            204 | 304 => String::new(),
            _ => format!("content-length: {}\r\n", body.len()),
        };
        self.write(format!(
            "HTTP/1.1 {status} {}\r\n{fields}{close}{length}\r\n",
            reason(status)
        ))?;
        if self.head.method != "HEAD" {
            self.write(body)?;
        }
        Ok(true)
    }

    fn trailers(&mut self) -> io::Result<bool> {
        self.chunked_head("text/plain", "trailer: x-count, x-checksum\r\n")?;
        self.chunk("one\n")?;
        self.chunk("two\n")?;
        self.write("0\r\nx-count: 2\r\nx-checksum: abc\r\n\r\n")?;
        Ok(true)
    }

    fn upgrade(&mut self) -> io::Result<bool> {
        let Some(token) = self.head.field("upgrade") else {
            return self.answer(426, "upgrade: websocket\r\n", "upgrade\n");
        };
        if self.head.query.contains_key("gate") {
            self.wait_for_gate("gate")?;
        }
        let accept = self.head.field("sec-websocket-key").map(|key| {
            let digest = sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
            format!("sec-websocket-accept: {}\r\n", base64(&digest))
        });
        let accept = accept.unwrap_or_default();
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {token}\r\n{accept}\r\n"
        );
        self.write(format!("{head}welcome\n"))?;
        self.connection.is_a_tunnel_now();
        loop {
            let piece = std::mem::take(&mut self.connection.buffer);
            self.write(piece)?;
            if self.connection.fill()? == 0 {
                return Ok(false);
            }
        }
    }
}

/// `length` bytes of text that a cut or a repeated piece would break.
fn pattern(length: u64) -> Vec<u8> {
    const LINE: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789\n";
    let length = usize::try_from(length).expect("it has to fit into memory");
    let mut lines = LINE.repeat(length.div_ceil(LINE.len()));
    lines.truncate(length);
    lines
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        403 => "Forbidden",
        404 => "Not Found",
        426 => "Upgrade Required",
        _ => "As Asked",
    }
}

/// CRC-32 as zlib has it, so that the Puma app can answer the same: start with `!0`, invert the end.
fn crc32(start: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut place = 0;
        while place < 256 {
            let mut value = place as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 {
                    0xedb8_8320 ^ value >> 1
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[place] = value;
            place += 1;
        }
        table
    };
    bytes.iter().fold(start, |crc, byte| {
        TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8
    })
}

/// SHA-1 (RFC 3174), which the WebSocket handshake asks for and nothing else here does.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    // Zeros up to eight bytes short of a block: the length goes there.
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    let mut state = [
        0x6745_2301_u32,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes(bytes.try_into().unwrap());
        }
        for place in 16..80 {
            words[place] =
                (words[place - 3] ^ words[place - 8] ^ words[place - 14] ^ words[place - 16])
                    .rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (round, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match round {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (total, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *total = total.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

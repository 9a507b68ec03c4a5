//! The app's end of the wire, played by the test itself, byte by byte.
//!
//! `examples/upstream.rs` is the app where it can be; this one is for what no server does of its own accord: half a head,
//! an answer before its time, a close between two bytes that the test chooses.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    path::Path,
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{End, PATIENCE, QUIET, ReservedPort};

/// Listens where Thrust looks for the app.
#[derive(Debug)]
pub(crate) struct PlayedApp(Socket);

impl PlayedApp {
    pub(super) fn on_socket(path: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let address = SockAddr::unix(path).expect("a short path");
        socket.bind(&address).expect("the directory is ours");
        Self::listen(socket)
    }

    pub(super) fn on_port(port: &ReservedPort) -> Self {
        Self::listen(port.socket())
    }

    fn listen(socket: Socket) -> Self {
        socket.listen(128).expect("nobody else listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        PlayedApp(socket)
    }

    /// The next connection that brings something. Thrust also looks whether we accept, and those bring nothing.
    #[track_caller]
    pub(crate) fn accept(&self) -> AppConnection {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let (socket, _) = self.0.accept().expect("Thrust connects");
            let mut connection = AppConnection::new(socket);
            if connection.fill().is_ok() {
                return connection;
            }
        }
        panic!("no request on a connection of its own within {PATIENCE:?}");
    }

    /// The next connection and the head of its first request.
    pub(crate) fn request(&self) -> (AppConnection, AppRequest) {
        let mut connection = self.accept();
        let request = connection.request();
        (connection, request)
    }

    /// Watches that no connection brings a request.
    pub(crate) fn assert_no_request(&self) {
        self.0.set_read_timeout(Some(QUIET)).expect("not zero");
        let end = Instant::now() + QUIET;
        while let Ok((socket, _)) = self.0.accept()
            && Instant::now() < end
        {
            let mut connection = AppConnection::new(socket);
            if connection.fill().is_ok() {
                panic!("a new connection brought {:?}", connection.request());
            }
        }
        self.0.set_read_timeout(Some(PATIENCE)).expect("not zero");
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.0
    }
}

/// A request's head as the app got it.
#[derive(Debug, Clone)]
pub(crate) struct AppRequest {
    /// `GET /path HTTP/1.1`
    pub(crate) line: String,
    /// Byte for byte, up to and with the empty line.
    pub(crate) raw: Vec<u8>,
    fields: Vec<(String, String)>,
}

impl AppRequest {
    fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n").take_while(|line| !line.is_empty());
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(": ").expect("name: value");
            (name.to_owned(), value.to_owned())
        });
        AppRequest {
            line,
            fields: fields.collect(),
            raw,
        }
    }

    /// Each value of a field, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The value of a field that comes at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name}: {values:?}");
        values.first().copied()
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// One connection of Thrust's to the app.
#[derive(Debug)]
pub(crate) struct AppConnection {
    socket: Socket,
    /// Read and not yet used.
    buffer: Vec<u8>,
}

impl AppConnection {
    fn new(socket: Socket) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        socket.set_write_timeout(Some(PATIENCE)).expect("not zero");
        AppConnection {
            socket,
            buffer: Vec::new(),
        }
    }

    /// The head of the next request.
    #[track_caller]
    pub(crate) fn request(&mut self) -> AppRequest {
        AppRequest::parse(self.read_until("\r\n\r\n"))
    }

    /// Reads on until `needle` has come, and returns everything up to its end.
    #[track_caller]
    pub(crate) fn read_until(&mut self, needle: &str) -> Vec<u8> {
        loop {
            let place = self
                .buffer
                .windows(needle.len())
                .position(|window| window == needle.as_bytes());
            if let Some(place) = place {
                return self.buffer.drain(..place + needle.len()).collect();
            }
            if let Err(end) = self.fill() {
                let had = String::from_utf8_lossy(&self.buffer);
                panic!("{end:?} before {needle:?}, after {had:?}");
            }
        }
    }

    /// The next `length` bytes.
    #[track_caller]
    pub(crate) fn read(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            self.fill()
                .unwrap_or_else(|end| panic!("{end:?} before {length} bytes"));
        }
        self.buffer.drain(..length).collect()
    }

    /// Takes what comes up to the end of `needle`, and throws it away.
    #[track_caller]
    pub(crate) fn discard_until(&mut self, needle: &str) {
        while !self
            .buffer
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
        {
            let keep = self.buffer.len().saturating_sub(needle.len());
            self.buffer.drain(..keep);
            self.fill()
                .unwrap_or_else(|end| panic!("{end:?} before {needle:?}"));
        }
        self.read_until(needle);
    }

    /// Takes the next `length` bytes and throws them away.
    #[track_caller]
    pub(crate) fn discard(&mut self, mut length: usize) {
        while length > 0 {
            length -= self.read(length.min(64 * 1024)).len();
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket
            .write_all(bytes.as_ref())
            .expect("Thrust still reads");
    }

    /// How much of it Thrust took; none once it took nothing for as long as we wait.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> Option<usize> {
        self.socket.write(bytes).ok()
    }

    pub(crate) fn write_patience(&self, patience: Duration) {
        self.socket
            .set_write_timeout(Some(patience))
            .expect("not zero");
    }

    /// 200 with this body.
    #[track_caller]
    pub(crate) fn answer(&mut self, body: &str) {
        let length = body.len();
        self.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
    }

    /// How Thrust ends the connection; what still comes is left out.
    pub(crate) fn end(&mut self) -> End {
        loop {
            if let Err(end) = self.fill() {
                return end;
            }
        }
    }

    /// Whether nothing more comes for a while, once what has come is thrown away.
    pub(crate) fn end_of_what_came(&mut self) -> bool {
        self.patience(QUIET);
        let end = self.end();
        self.patience(PATIENCE);
        end == End::Timeout
    }

    /// Whether it is still open, with nothing to read, after a while.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.patience(QUIET);
        let quiet = self.buffer.is_empty() && self.fill() == Err(End::Timeout);
        self.patience(PATIENCE);
        quiet
    }

    pub(crate) fn patience(&self, patience: Duration) {
        self.socket
            .set_read_timeout(Some(patience))
            .expect("not zero");
    }

    /// Closes our writing half.
    pub(crate) fn finish_sending(&self) {
        self.socket.shutdown(Shutdown::Write).expect("connected");
    }

    /// Closes with a reset; TCP only.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).expect("TCP");
    }

    fn fill(&mut self) -> Result<(), End> {
        let mut piece = [0; 64 * 1024];
        loop {
            return match self.socket.read(&mut piece) {
                Ok(0) => Err(End::Eof),
                Ok(read) => {
                    self.buffer.extend_from_slice(&piece[..read]);
                    Ok(())
                }
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Err(End::Reset),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(End::Timeout),
                    ErrorKind::Interrupted => continue,
                    other => panic!("reading: {other}"),
                },
            };
        }
    }
}

//! A client that shows what is on the wire: statuses, fields, framing, and how a connection ends.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::PATIENCE;

/// How a connection ended, or did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer closed with a FIN.
    Eof,
    /// The peer, or its kernel, closed with a RST.
    Reset,
    /// Nothing came for as long as the client waits.
    Timeout,
    /// What came is not HTTP.
    Malformed,
}

/// Why there is no (whole) response.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) end: End,
    /// What had come of the response, as it was on the wire.
    pub(crate) received: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The 1xx heads that came before.
    pub(crate) interim: Vec<Response>,
}

impl Response {
    /// The value of a field; several are joined with a comma.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let found = self
            .fields
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let values: Vec<_> = found.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether `Connection` names this option.
    pub(crate) fn connection(&self, option: &str) -> bool {
        let value = self.field("connection").unwrap_or_default();
        value
            .split(',')
            .any(|found| found.trim().eq_ignore_ascii_case(option))
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// Read and not yet used.
    buffer: Vec<u8>,
    /// Everything since the last response ended.
    received: Vec<u8>,
    /// Whether the next response is to HEAD, and so has no body.
    to_head: bool,
}

impl Client {
    /// Connects to 127.0.0.1.
    pub(crate) fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap_or_else(|error| panic!("connecting to port {port}: {error}"))
    }

    pub(crate) fn try_connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        Self::from_stream(stream)
    }

    /// Connects from another address of the loopback, such as 127.0.0.2.
    pub(crate) fn connect_from(source: [u8; 4], port: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address = |ip: [u8; 4], port| SockAddr::from(SocketAddr::from((ip, port)));
        socket.bind(&address(source, 0)).expect("the loopback");
        let connected = socket.connect(&address([127, 0, 0, 1], port));
        connected.unwrap_or_else(|error| panic!("connecting to port {port}: {error}"));
        Self::from_stream(socket.into()).expect("TCP")
    }

    pub(crate) fn from_stream(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client {
            stream,
            buffer: Vec::new(),
            received: Vec::new(),
            to_head: false,
        })
    }

    /// How long reads wait before they say [`End::Timeout`].
    pub(crate) fn patience(self, patience: Duration) -> Self {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("not zero");
        self
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the peer still reads");
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Writes a request's head: `fields` are complete lines.
    pub(crate) fn send_head(&mut self, method: &str, target: &str, fields: &str) {
        self.send_bare_head(method, target, &format!("host: test.example\r\n{fields}"));
    }

    /// The same, but a Host must be among the fields.
    pub(crate) fn send_bare_head(&mut self, method: &str, target: &str, fields: &str) {
        self.to_head = method == "HEAD";
        self.send(format!("{method} {target} HTTP/1.1\r\n{fields}\r\n"));
    }

    pub(crate) fn send_get(&mut self, target: &str) {
        self.send_head("GET", target, "");
    }

    pub(crate) fn send_post(&mut self, target: &str, body: &[u8]) {
        self.send_head(
            "POST",
            target,
            &format!("content-length: {}\r\n", body.len()),
        );
        self.send(body);
    }

    /// A request and its response, which must come whole.
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.send_get(target);
        self.response()
    }

    pub(crate) fn post(&mut self, target: &str, body: &[u8]) -> Response {
        self.send_post(target, body);
        self.response()
    }

    /// The next final response, which must come whole.
    pub(crate) fn response(&mut self) -> Response {
        self.try_response()
            .unwrap_or_else(|Failure { end, received }| {
                panic!(
                    "no whole response but {end:?} after {:?}",
                    String::from_utf8_lossy(&received)
                )
            })
    }

    /// The next final response with its body and the 1xx before it.
    pub(crate) fn try_response(&mut self) -> Result<Response, Failure> {
        let mut interim = Vec::new();
        let mut response = self.try_head()?;
        while matches!(response.status, 100 | 102..=199) {
            interim.push(response);
            response = self.try_head()?;
        }
        response.interim = interim;
        self.try_body(&mut response)?;
        Ok(response)
    }

    /// The next head, also a 1xx; the body is left on the wire.
    pub(crate) fn head(&mut self) -> Response {
        self.try_head()
            .unwrap_or_else(|failure| panic!("no head: {failure:?}"))
    }

    pub(crate) fn try_head(&mut self) -> Result<Response, Failure> {
        self.received = self.buffer.clone();
        let status_line = self.line()?;
        let mut words = status_line.splitn(3, ' ');
        let (Some("HTTP/1.1" | "HTTP/1.0"), Some(Ok(status))) =
            (words.next(), words.next().map(str::parse))
        else {
            return Err(self.failure(End::Malformed));
        };
        Ok(Response {
            status,
            fields: self.fields()?,
            ..Response::default()
        })
    }

    /// The body that `response`'s head announced.
    pub(crate) fn try_body(&mut self, response: &mut Response) -> Result<(), Failure> {
        let bodiless =
            std::mem::take(&mut self.to_head) || matches!(response.status, 101 | 204 | 304);
        if bodiless {
            return Ok(());
        }
        if response
            .field("transfer-encoding")
            .is_some_and(|coding| coding.contains("chunked"))
        {
            while let Some(chunk) = self.chunk()? {
                response.body.extend(chunk);
            }
            response.trailers = self.fields()?;
            return Ok(());
        }
        match response.field("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| self.failure(End::Malformed))?;
                response.body = self.exactly(length)?;
            }
            None => match self.rest() {
                (body, End::Eof) => response.body = body,
                (_, end) => return Err(self.failure(end)),
            },
        }
        Ok(())
    }

    /// The next chunk of a body in chunks; none behind the last.
    pub(crate) fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| self.failure(End::Malformed))?;
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.exactly(size)?;
        match self.line()?.as_str() {
            "" => Ok(Some(chunk)),
            _ => Err(self.failure(End::Malformed)),
        }
    }

    /// Reads on until `needle` has come, and returns everything up to its end: for events and tunnels.
    pub(crate) fn read_until(&mut self, needle: &str) -> String {
        let found = self.until(needle.as_bytes());
        let found = found.unwrap_or_else(|failure| panic!("no {needle:?}: {failure:?}"));
        String::from_utf8_lossy(&found).into_owned() + needle
    }

    /// A line with its end, or how the connection ended before it.
    pub(crate) fn try_line(&mut self) -> Result<String, End> {
        let line = self.until(b"\n").map_err(|failure| failure.end)?;
        Ok(String::from_utf8_lossy(&line).into_owned() + "\n")
    }

    /// Everything that still comes, and how it ends.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill() {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// How the connection ends; nothing more may come before.
    pub(crate) fn end(&mut self) -> End {
        let (rest, end) = self.rest();
        assert!(
            rest.is_empty(),
            "{end:?} only after {:?}",
            String::from_utf8_lossy(&rest)
        );
        end
    }

    /// Closes our writing half.
    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("connected");
    }

    fn failure(&self, end: End) -> Failure {
        Failure {
            end,
            received: self.received.clone(),
        }
    }

    fn fill(&mut self) -> Result<(), End> {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(End::Eof),
            Ok(read) => {
                self.buffer.extend_from_slice(&piece[..read]);
                self.received.extend_from_slice(&piece[..read]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Err(End::Reset),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(End::Timeout),
                ErrorKind::Interrupted => Ok(()),
                other => panic!("reading: {other}"),
            },
        }
    }

    fn until(&mut self, needle: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut searched = 0;
        loop {
            let place = self.buffer[searched..]
                .windows(needle.len())
                .position(|window| window == needle);
            if let Some(place) = place {
                let found = self.buffer.drain(..searched + place).collect();
                self.buffer.drain(..needle.len());
                return Ok(found);
            }
            searched = (self.buffer.len() + 1).saturating_sub(needle.len());
            self.fill().map_err(|end| self.failure(end))?;
        }
    }

    fn line(&mut self) -> Result<String, Failure> {
        let line = self.until(b"\r\n")?;
        String::from_utf8(line).map_err(|_| self.failure(End::Malformed))
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, Failure> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| self.failure(End::Malformed))?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        while self.buffer.len() < length {
            self.fill().map_err(|end| self.failure(end))?;
        }
        Ok(self.buffer.drain(..length).collect())
    }
}

/// Whether a connection to the port is refused. One that is not is closed again, and the server will have seen it.
pub(crate) fn is_refused(port: u16) -> bool {
    match TcpStream::connect(("127.0.0.1", port)) {
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => true,
        Err(error) => panic!("connecting to port {port}: {error}"),
    }
}

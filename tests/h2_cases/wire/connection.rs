//! A client that says what it is told, and hears everything.

use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{CONTINUATION, Event, Frame, HEADERS, decoder::Decoder, ping, settings};

/// What every client says first (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// SETTINGS_HEADER_TABLE_SIZE.
const HEADER_TABLE_SIZE: u16 = 0x1;

/// How long a server may take for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection ended, or did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With a FIN.
    Eof,
    /// With a RST.
    Reset,
    /// Not at all, for as long as we waited.
    Timeout,
    /// With what is not HTTP/2.
    Malformed,
}

/// What it runs on: TCP, or TLS over TCP. Reads wait no longer than the socket's timeout.
pub(crate) trait Stream: Read + Write + Send {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// One connection, with a log of what was heard on it.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    decoder: Decoder,
    /// A block of fields that has begun: its stream, whether that ends with it, and what came of it.
    block: Option<(u32, bool, Vec<u8>)>,
    /// Everything, in order; frames of one kind that come in multitudes are left out.
    pub(crate) heard: Vec<Event>,
    /// How it ended.
    end: Option<End>,
    /// What the server's SETTINGS say.
    settings: Vec<(u16, u32)>,
    /// The table size in SETTINGS of ours that are not acknowledged.
    table_size: Option<u32>,
    /// Whether PING and SETTINGS are acknowledged without being told to.
    is_polite: bool,
}

impl Connection {
    /// Connects to 127.0.0.1 and says nothing.
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        Self::over(stream)
    }

    /// Over something that is connected.
    pub(crate) fn over(stream: impl Stream + 'static) -> io::Result<Self> {
        stream.socket().set_nodelay(true)?;
        stream.socket().set_write_timeout(Some(PATIENCE))?;
        Ok(Connection {
            stream: Box::new(stream),
            buffer: Vec::new(),
            decoder: Decoder::default(),
            block: None,
            heard: Vec::new(),
            end: None,
            settings: Vec::new(),
            table_size: None,
            is_polite: true,
        })
    }

    /// Both sides' SETTINGS, and both acknowledgements.
    pub(crate) fn begin(&mut self, values: &[(u16, u32)]) -> Result<(), End> {
        // An error here is seen in what is read.
        let _ = self.write(PREFACE);
        self.send(&settings(values));
        self.wait(|event| *event == Event::SettingsAck)?;
        match self.settings.is_empty() {
            true => self
                .wait(|event| matches!(event, Event::Settings(_)))
                .map(drop),
            false => Ok(()),
        }
    }

    /// Answers neither PING nor SETTINGS from now on.
    pub(crate) fn be_rude(&mut self) {
        self.is_polite = false;
    }

    /// What the server's SETTINGS say of this, if anything.
    pub(crate) fn setting(&self, wanted: u16) -> Option<u32> {
        let of_it = |(id, value): &(u16, u32)| (*id == wanted).then_some(*value);
        self.settings.iter().rev().find_map(of_it)
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// A frame as it is. A connection that is gone is noticed in reading.
    pub(crate) fn send(&mut self, frame: &Frame) {
        let _ = self.try_send(frame);
    }

    pub(crate) fn try_send(&mut self, frame: &Frame) -> io::Result<()> {
        if frame.kind == super::SETTINGS && !frame.is_ack() {
            let sizes = frame.payload.chunks_exact(6);
            let mut sizes = sizes.filter(|six| six[..2] == HEADER_TABLE_SIZE.to_be_bytes());
            self.table_size = sizes.next_back().map(|six| super::frame::u32_at(six, 2));
        }
        self.write(&frame.encode())
    }

    /// Bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next event, within our patience.
    pub(crate) fn next(&mut self) -> Result<Event, End> {
        self.next_within(PATIENCE)
    }

    pub(crate) fn next_within(&mut self, patience: Duration) -> Result<Event, End> {
        let deadline = Instant::now() + patience;
        loop {
            while let Some((frame, length)) = Frame::decode(&self.buffer) {
                self.buffer.drain(..length);
                if let Some(event) = self.event(frame)? {
                    self.note(&event);
                    return Ok(event);
                }
            }
            self.fill(deadline)?;
        }
    }

    /// Reads on up to an event that is as wanted.
    pub(crate) fn wait(&mut self, wanted: impl Fn(&Event) -> bool) -> Result<Event, End> {
        loop {
            let event = self.next()?;
            if wanted(&event) {
                return Ok(event);
            }
        }
    }

    /// Whether it has been heard; if not, reads on up to it.
    pub(crate) fn hear(&mut self, wanted: impl Fn(&Event) -> bool) -> Result<Event, End> {
        match self.heard.iter().find(|event| wanted(event)) {
            Some(event) => Ok(event.clone()),
            None => self.wait(wanted),
        }
    }

    /// Reads on up to the end.
    pub(crate) fn end(&mut self) -> End {
        loop {
            if let Err(end) = self.next() {
                return end;
            }
        }
    }

    /// Everything that comes for so long.
    pub(crate) fn listen(&mut self, time: Duration) -> Result<(), End> {
        let deadline = Instant::now() + time;
        loop {
            match self.next_within(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(End::Timeout) => return Ok(()),
                Err(end) => return Err(end),
            }
        }
    }

    /// PING and its answer: all that was sent before has been read.
    pub(crate) fn round_trip(&mut self) -> Result<(), End> {
        static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1 << 32);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.send(&ping(count.to_be_bytes()));
        self.wait(|event| *event == Event::PingAck(count.to_be_bytes()))
            .map(drop)
    }

    /// Bytes that are no frames: what an HTTP/1.1 server answers.
    pub(crate) fn raw(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill(Instant::now() + PATIENCE) {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Settings(values) => {
                self.settings.extend(values);
                if self.is_polite {
                    self.send(&settings(&[]).ack());
                }
            }
            Event::SettingsAck => {
                if let Some(size) = self.table_size.take() {
                    self.decoder.allow(usize::try_from(size).expect("32 bits"));
                }
            }
            Event::Ping(bytes) if self.is_polite => self.send(&ping(*bytes).ack()),
            _ => {}
        }
        // Floods are counted by those who make them.
        if self.heard.len() < 10_000 {
            self.heard.push(event.clone());
        }
    }

    fn event(&mut self, frame: Frame) -> Result<Option<Event>, End> {
        match frame.kind {
            HEADERS => {
                let begun = (frame.stream, frame.ends_stream(), frame.content().to_vec());
                self.block = Some(begun);
            }
            CONTINUATION => match &mut self.block {
                Some((stream, _, block)) if *stream == frame.stream => block.extend(&frame.payload),
                _ => return Err(self.ended(End::Malformed)),
            },
            _ if self.block.is_some() => return Err(self.ended(End::Malformed)),
            _ => return Ok(Some(Event::of(frame))),
        }
        let whole = frame.ends_headers().then(|| self.block.take()).flatten();
        let Some((stream, end, block)) = whole else {
            return Ok(None);
        };
        let fields = self
            .decoder
            .decode(&block)
            .map_err(|_| self.ended(End::Malformed))?;
        Ok(Some(Event::Headers {
            stream,
            fields,
            end,
        }))
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), End> {
        if let Some(end) = self.end {
            return Err(end);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        self.socket()
            .set_read_timeout(Some(left))
            .expect("not zero");
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(self.ended(End::Eof)),
            Ok(read) => {
                self.buffer.extend_from_slice(&piece[..read]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(End::Timeout),
                ErrorKind::Interrupted => Ok(()),
                // TLS without close_notify.
                ErrorKind::UnexpectedEof => Err(self.ended(End::Malformed)),
                _ => Err(self.ended(End::Reset)),
            },
        }
    }

    fn ended(&mut self, end: End) -> End {
        self.end = Some(end);
        end
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(&self.heard).finish()
    }
}

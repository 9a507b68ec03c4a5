//! A client that speaks HTTP/2 frame by frame, so that a test decides what is sent when, and sees what comes.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::{End, PATIENCE};

/// What a client begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The last stream id of a GOAWAY that refuses none.
pub(crate) const ALL_STREAMS: u32 = (1 << 31) - 1;

/// What frames go over.
pub(crate) trait Socket: Read + Write + std::fmt::Debug {
    /// How long reads wait.
    fn patience(&self, patience: Duration) -> io::Result<()>;
}

impl<S: Socket> Socket for &mut S {
    fn patience(&self, patience: Duration) -> io::Result<()> {
        (**self).patience(patience)
    }
}

impl Socket for TcpStream {
    fn patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    fn number(&self, from: usize) -> u32 {
        let bytes = self.payload[from..from + 4].try_into().expect("four");
        u32::from_be_bytes(bytes)
    }
}

/// A response, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The first octet of its head: 0x88 is `:status: 200`.
    pub(crate) status: u8,
    pub(crate) body: Vec<u8>,
    /// The error of a reset.
    pub(crate) reset: Option<u32>,
    pub(crate) trailed: bool,
}

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        self.status == 0x88 && self.reset.is_none()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[derive(Debug)]
pub(crate) struct Frames<S = TcpStream> {
    socket: S,
    /// Read, not yet a frame.
    buffer: Vec<u8>,
    /// Frames of other streams than the one that was waited for.
    kept: VecDeque<Frame>,
    answers_pings: bool,
    opens_windows: bool,
}

impl Frames {
    /// Connects to 127.0.0.1 and says nothing yet.
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_nodelay(true).expect("TCP");
        Self::over(stream)
    }

    /// Connects and introduces itself.
    pub(crate) fn h2c(port: u16) -> Self {
        let mut frames = Self::connect(port);
        frames.introduce();
        frames
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.socket
    }
}

impl<S: Socket> Frames<S> {
    pub(crate) fn over(socket: S) -> Self {
        socket.patience(PATIENCE).expect("not zero");
        Frames {
            socket,
            buffer: Vec::new(),
            kept: VecDeque::new(),
            answers_pings: true,
            opens_windows: true,
        }
    }

    /// The preface and empty settings.
    pub(crate) fn introduce(&mut self) {
        self.send(PREFACE);
        self.frame(SETTINGS, 0, 0, &[]);
    }

    pub(crate) fn ignores_pings(mut self) -> Self {
        self.answers_pings = false;
        self
    }

    pub(crate) fn opens_no_windows(mut self) -> Self {
        self.opens_windows = false;
        self
    }

    pub(crate) fn patience(&self, patience: Duration) {
        self.socket.patience(patience).expect("not zero");
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("Thrust still reads");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)?;
        self.socket.flush()
    }

    #[track_caller]
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&frame(kind, flags, stream, payload));
    }

    /// A GET, whole.
    #[track_caller]
    pub(crate) fn get(&mut self, stream: u32, path: &str) {
        self.head(stream, "GET", path, &[], true);
    }

    #[track_caller]
    pub(crate) fn head(
        &mut self,
        stream: u32,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        ends: bool,
    ) {
        self.send(&head(stream, method, path, fields, ends));
    }

    /// The next frame, whichever it is. Settings, pings and data are answered in passing.
    pub(crate) fn next(&mut self) -> Result<Frame, End> {
        match self.kept.pop_front() {
            Some(frame) => Ok(frame),
            None => self.read_frame(),
        }
    }

    fn read_frame(&mut self) -> Result<Frame, End> {
        let frame = loop {
            if let Some(frame) = self.take_frame() {
                break frame;
            }
            self.fill()?;
        };
        let length = u32::try_from(frame.payload.len()).expect("small");
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => self.answer(SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 && self.answers_pings => {
                self.answer(PING, ACK, 0, &frame.payload);
            }
            DATA if length > 0 && self.opens_windows => {
                self.answer(WINDOW_UPDATE, 0, 0, &length.to_be_bytes());
                if frame.flags & END_STREAM == 0 {
                    self.answer(WINDOW_UPDATE, 0, frame.stream, &length.to_be_bytes());
                }
            }
            _ => {}
        }
        Ok(frame)
    }

    /// That nobody hears it any more is no failure.
    fn answer(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let _ = self.try_send(&frame(kind, flags, stream, payload));
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let [a, b, c, kind, flags, s, t, u, v] = *self.buffer.first_chunk::<9>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let payload = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s & 0x7f, t, u, v]),
            payload,
        })
    }

    fn fill(&mut self) -> Result<(), End> {
        let mut piece = [0; 64 * 1024];
        match self.socket.read(&mut piece) {
            Ok(0) => Err(End::Eof),
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Err(End::Reset),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(End::Timeout),
                _ => Err(End::Malformed),
            },
        }
    }

    /// The first frame that is `wanted`; the others stay, in their order.
    pub(crate) fn find(&mut self, wanted: impl Fn(&Frame) -> bool) -> Result<Frame, End> {
        if let Some(place) = self.kept.iter().position(&wanted) {
            return Ok(self.kept.remove(place).expect("just found"));
        }
        loop {
            let frame = self.read_frame()?;
            if wanted(&frame) {
                return Ok(frame);
            }
            self.kept.push_back(frame);
        }
    }

    /// The head of the response on `stream`: its first octet.
    #[track_caller]
    pub(crate) fn status(&mut self, stream: u32) -> u8 {
        let head = self.find(|frame| frame.kind == HEADERS && frame.stream == stream);
        head.expect("a head").payload[0]
    }

    /// The whole response on `stream`, or what there is of it.
    #[track_caller]
    pub(crate) fn response(&mut self, stream: u32) -> Answer {
        let answer = self.try_response(stream);
        answer.unwrap_or_else(|end| panic!("{end:?} instead of a response on {stream}"))
    }

    pub(crate) fn try_response(&mut self, stream: u32) -> Result<Answer, End> {
        let mut answer = Answer::default();
        loop {
            let frame = self.find(|frame| frame.stream == stream)?;
            match frame.kind {
                HEADERS if answer.status == 0 => answer.status = frame.payload[0],
                HEADERS => answer.trailed = true,
                DATA => answer.body.extend_from_slice(&frame.payload),
                RST_STREAM => {
                    answer.reset = Some(frame.number(0));
                    return Ok(answer);
                }
                _ => continue,
            }
            if frame.flags & END_STREAM != 0 {
                return Ok(answer);
            }
        }
    }

    /// The next GOAWAY: the last stream it lets through, and its error.
    #[track_caller]
    pub(crate) fn goaway(&mut self) -> (u32, u32) {
        let frame = self.find(|frame| frame.kind == GOAWAY).expect("a GOAWAY");
        (frame.number(0), frame.number(4))
    }

    /// How the connection ends; what still comes is left out.
    pub(crate) fn end(&mut self) -> End {
        loop {
            if let Err(end) = self.read_frame() {
                return end;
            }
        }
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A request's HEADERS; nothing in them is indexed by us (RFC 7541 section 6.2.2).
pub(crate) fn head(
    stream: u32,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    ends: bool,
) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test.example"),
    ];
    // A test that says its own does not mean ours.
    let own = |name: &str| fields.iter().any(|(found, _)| *found == name);
    let pseudo = pseudo.iter().filter(|(name, _)| !own(name));
    let mut said: Vec<_> = pseudo.chain(fields).collect();
    said.sort_by_key(|(name, _)| !name.starts_with(':'));
    let mut block = Vec::new();
    for (name, value) in said {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend(text.as_bytes());
        }
    }
    let ends = if ends { END_STREAM } else { 0 };
    frame(HEADERS, END_HEADERS | ends, stream, &block)
}

//! The app, which follows the script.

use std::{
    collections::{HashMap, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::{
    case::{Answer, Framing},
    expected::Fields,
};

/// What a case has laid down for its host, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Still to be given.
    pub(crate) answers: VecDeque<Answer>,
    /// What we were sent, in this step.
    pub(crate) sent: Vec<Sent>,
    /// The bodies that we gave, in this case.
    pub(crate) given: Vec<Vec<u8>>,
    /// Requests that nobody announced, in this case.
    pub(crate) surprises: Vec<Sent>,
}

impl Script {
    /// Whether the app should have been asked once more.
    pub(crate) fn is_unfinished(&self) -> bool {
        match self.answers.front() {
            // Who gets no answer may ask again.
            Some(answer) if answer.framing == Framing::Closed => self.sent.is_empty(),
            next => next.is_some(),
        }
    }

    fn next(&mut self) -> Option<Answer> {
        let next = self.answers.front()?;
        if next.framing == Framing::Closed {
            return Some(next.clone());
        }
        self.answers.pop_front()
    }
}

/// A request's head.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Fields for Sent {
    fn line(&self) -> String {
        self.line.clone()
    }

    fn joined(&self, name: &str) -> Option<String> {
        let found = self
            .fields
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let values: Vec<_> = found.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// Listens where Thrust looks for the app.
#[derive(Debug)]
pub(crate) struct Origin {
    port: u16,
    listener: Mutex<Option<TcpListener>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    scripts: Mutex<HashMap<String, Script>>,
    changed: Condvar,
    connections: Mutex<Vec<TcpStream>>,
}

impl Origin {
    pub(crate) fn on(port: u16) -> Self {
        let origin = Self {
            port,
            listener: Mutex::default(),
            shared: Arc::default(),
        };
        origin.listen();
        origin
    }

    pub(crate) fn listen(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("the port is reserved");
        let shared = Arc::clone(&self.shared);
        let accepting = listener.try_clone().unwrap();
        *self.listener.lock().unwrap() = Some(listener);
        thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let shared = Arc::clone(&shared);
                shared
                    .connections
                    .lock()
                    .unwrap()
                    .push(stream.try_clone().unwrap());
                thread::spawn(move || shared.serve(&stream));
            }
        });
    }

    /// As if there were no app: connections are refused, and those that are open end.
    pub(crate) fn refuse(&self) {
        let listener = self.listener.lock().unwrap().take().expect("it listens");
        // Wakes the accept above, which else would hold the port.
        SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Lays down the answers for the next requests to this host; those left over from before are forgotten.
    pub(crate) fn script(&self, host: &str, answers: Vec<Answer>) {
        let mut scripts = self.shared.scripts();
        let script = scripts.entry(host.to_owned()).or_default();
        script.answers = answers.into();
        script.sent.clear();
    }

    /// Forgets what was sent so far; the answers stay.
    pub(crate) fn forget(&self, host: &str) {
        let mut scripts = self.shared.scripts();
        scripts.entry(host.to_owned()).or_default().sent.clear();
    }

    /// Looks at a script once it is played to its end, or `patience` is over.
    pub(crate) fn look<T>(
        &self,
        host: &str,
        patience: Duration,
        look: impl FnOnce(&Script) -> T,
    ) -> T {
        let scripts = self.shared.scripts();
        let unfinished = |scripts: &mut HashMap<String, Script>| scripts[host].is_unfinished();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(scripts, patience, unfinished);
        look(&waited.unwrap().0[host])
    }
}

impl Shared {
    fn scripts(&self) -> MutexGuard<'_, HashMap<String, Script>> {
        self.scripts.lock().unwrap()
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(sent) = request(&mut reader) {
            let is_head = sent.line.starts_with("HEAD ");
            let answer = self.answer(sent);
            let goes_on = answer.framing == Framing::Counted || answer.framing == Framing::Chunked;
            if answer.framing != Framing::Closed {
                let written = (&*stream).write_all(&wire(&answer, is_head));
                if written.is_err() {
                    return;
                }
            }
            if !goes_on {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }

    fn answer(&self, sent: Sent) -> Answer {
        let mut scripts = self.scripts();
        let host = sent.joined("host").unwrap_or_default();
        let Some(script) = scripts.get_mut(site(&host)) else {
            return surprise();
        };
        let is_head = sent.line.starts_with("HEAD ");
        let Some(mut answer) = script.next() else {
            script.surprises.push(sent);
            return surprise();
        };
        script.sent.push(sent);
        if has_body(&answer) {
            let number = script.given.len() + 1;
            let body = answer
                .body
                .get_or_insert_with(|| format!("body {number} of {host}\n").into_bytes());
            if !is_head {
                script.given.push(body.clone());
            }
        }
        drop(scripts);
        self.changed.notify_all();
        answer
    }
}

/// The case that a host belongs to: the last two labels.
fn site(host: &str) -> &str {
    let name = host.split(':').next().unwrap_or_default();
    let start = name
        .rmatch_indices('.')
        .nth(1)
        .map_or(0, |(place, _)| place + 1);
    &name[start..]
}

fn surprise() -> Answer {
    Answer {
        status: 500,
        body: Some(b"nobody announced this request\n".into()),
        ..Answer::default()
    }
}

fn has_body(answer: &Answer) -> bool {
    !matches!(answer.status, 204 | 304) && answer.framing != Framing::Closed
}

/// The next request, its body thrown away.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<Sent> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let fields = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let sent = Sent {
        fields: fields
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        line: lines.swap_remove(0),
    };
    let length = sent
        .joined("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(sent)
}

fn wire(answer: &Answer, is_head: bool) -> Vec<u8> {
    let mut wire = Vec::new();
    for interim in &answer.interim {
        head(&mut wire, interim);
        wire.extend_from_slice(b"\r\n");
    }
    let body = answer.body.as_deref().unwrap_or_default();
    head(&mut wire, answer);
    if has_body(answer) {
        frame(&mut wire, answer, body);
    }
    wire.extend_from_slice(b"\r\n");
    if is_head || !has_body(answer) {
        return wire;
    }
    let half = body.len() / 2;
    match answer.framing {
        Framing::Chunked => {
            chunk(&mut wire, &body[..half]);
            chunk(&mut wire, &body[half..]);
            wire.extend_from_slice(b"0\r\n\r\n");
        }
        Framing::ChunkedCut => chunk(&mut wire, &body[..half]),
        Framing::Cut => wire.extend_from_slice(&body[..half]),
        _ => wire.extend_from_slice(body),
    }
    wire
}

fn head(wire: &mut Vec<u8>, answer: &Answer) {
    let status = answer.status;
    wire.extend_from_slice(format!("HTTP/1.1 {status} Scripted\r\n").as_bytes());
    for (name, value) in &answer.fields {
        wire.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
}

fn frame(wire: &mut Vec<u8>, answer: &Answer, body: &[u8]) {
    let field = match answer.framing {
        Framing::Chunked | Framing::ChunkedCut => "Transfer-Encoding: chunked\r\n".to_owned(),
        Framing::UntilClose => "Connection: close\r\n".to_owned(),
        _ if answer.has("content-length") => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    wire.extend_from_slice(field.as_bytes());
}

fn chunk(wire: &mut Vec<u8>, piece: &[u8]) {
    if !piece.is_empty() {
        wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
}

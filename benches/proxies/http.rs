//! As much of an HTTP/1.1 client as it takes to know that a proxy answers rightly, and to hold idle connections.

use crate::Result;
use crate::port::local;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// A whole 200.
#[derive(Debug)]
pub(crate) struct Answer {
    head: String,
    /// As sent, but for the framing of chunks.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of the first such field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// How long the head is, its end included.
    pub(crate) fn head_len(&self) -> usize {
        self.head.len()
    }
}

pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(local(port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request, and its answer if that is a 200.
pub(crate) fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<Answer> {
    stream.write_all(request)?;
    let mut input = Input {
        stream,
        bytes: Vec::new(),
    };
    let head = String::from_utf8(input.through(b"\r\n\r\n")?)?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(format!("answered {}", head.lines().next().unwrap_or_default()).into());
    }
    let body = match field(&head, "content-length") {
        Some(length) => input.exactly(length.parse()?)?,
        None => chunks(&head, &mut input)?,
    };
    match input.bytes.len() {
        0 => Ok(Answer { head, body }),
        more => Err(format!("{more} bytes after the end of an answer").into()),
    }
}

fn chunks(head: &str, input: &mut Input<'_>) -> Result<Vec<u8>> {
    if field(head, "transfer-encoding") != Some("chunked") {
        return Err("an answer of unknown length".into());
    }
    let mut body = Vec::new();
    loop {
        let line = String::from_utf8(input.through(b"\r\n")?)?;
        let size = usize::from_str_radix(line.trim_end(), 16)?;
        let chunk = input.exactly(size + 2)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// What has come of an answer and was not yet looked at.
struct Input<'a> {
    stream: &'a mut TcpStream,
    bytes: Vec<u8>,
}

impl Input<'_> {
    /// Everything up to `end` and with it.
    fn through(&mut self, end: &[u8]) -> Result<Vec<u8>> {
        loop {
            let found = self.bytes.windows(end.len()).position(|some| some == end);
            if let Some(at) = found {
                return self.exactly(at + end.len());
            }
            self.read()?;
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.bytes.len() < length {
            self.read()?;
        }
        let rest = self.bytes.split_off(length);
        Ok(std::mem::replace(&mut self.bytes, rest))
    }

    fn read(&mut self) -> Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer)? {
            0 => Err(format!("closed after {} bytes of an answer", self.bytes.len()).into()),
            n => {
                self.bytes.extend_from_slice(&buffer[..n]);
                Ok(())
            }
        }
    }
}

//! As much of an HTTP/1.1 client as it takes to know that a proxy answers rightly, and to hold idle connections.

use crate::Result;
use crate::port::local;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Bodies of the two files, letters that can be told apart from an error page.
pub(crate) const ONE_KIB: usize = 1024;
/// See [`ONE_KIB`].
pub(crate) const HUNDRED_KIB: usize = 100 * 1024;

const PATIENCE: Duration = Duration::from_secs(5);

/// The contents of a file of `size` bytes.
pub(crate) fn contents(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

/// Every answer the load rows will ask for, compared byte by byte; an error says what came instead.
pub(crate) fn verify(port: u16) -> Result<()> {
    let mut stream = connect(port)?;
    for size in [ONE_KIB, HUNDRED_KIB, ONE_KIB] {
        let path = if size == ONE_KIB { "/1k" } else { "/100k" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        expect(
            &exchange(&mut stream, request.as_bytes())?,
            &contents(size),
            path,
        )?;
    }
    let post = [
        b"POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n".as_slice(),
        &contents(ONE_KIB),
    ];
    expect(&exchange(&mut stream, &post.concat())?, b"ok\n", "/post")?;

    let mut stream = connect(port)?;
    let last = b"GET /1k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    expect(
        &exchange(&mut stream, last)?,
        &contents(ONE_KIB),
        "/1k, closing",
    )?;
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        other => Err(format!("asked to close, and did not: {other:?}").into()),
    }
}

fn expect(answer: &[u8], body: &[u8], what: &str) -> Result<()> {
    if answer == body {
        return Ok(());
    }
    Err(format!(
        "{what}: {} bytes that are not the {} expected",
        answer.len(),
        body.len()
    )
    .into())
}

pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(local(port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request; the body of its 200.
pub(crate) fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let (head, length) = loop {
        if let Some(head) = head(&answer)? {
            break head;
        }
        read_more(stream, &mut buffer, &mut answer)?;
    };
    while answer.len() < head + length {
        read_more(stream, &mut buffer, &mut answer)?;
    }
    Ok(answer.split_off(head))
}

fn read_more(stream: &mut TcpStream, buffer: &mut [u8], answer: &mut Vec<u8>) -> Result<()> {
    match stream.read(buffer)? {
        0 => Err(format!("closed after {} bytes of an answer", answer.len()).into()),
        n => {
            answer.extend_from_slice(&buffer[..n]);
            Ok(())
        }
    }
}

/// Length of the head and Content-Length, once the head is whole; an error unless it is a 200.
fn head(answer: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    if !head.starts_with("HTTP/1.1 200") {
        return Err(format!("answered {}", head.lines().next().unwrap_or_default()).into());
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or("an answer without Content-Length")?;
    Ok(Some((end + 4, length)))
}

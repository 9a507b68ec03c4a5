//! The app behind it: a thread for each connection, and answers like those of a small Rails app.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
};

use crate::Result;

/// What the app names instead of sending it.
const DOWNLOAD: &str = "download.bin";

/// The fields that Rails puts in each of its answers.
const FIELDS: &str = "X-Frame-Options: SAMEORIGIN\r\nX-Content-Type-Options: nosniff\r\n\
     Referrer-Policy: strict-origin-when-cross-origin\r\nX-Runtime: 0.012345\r\n";

/// The bytes of each answer's body, by its path; see [`answer`].
pub(crate) const NOTE: usize = 900;
pub(crate) const JSON: usize = 1024;
pub(crate) const PAGE: usize = 30 * 1024;
pub(crate) const ASSET: usize = 20 * 1024;
pub(crate) const IMAGE: usize = 100 * 1024;
pub(crate) const VIDEO: usize = 1024 * 1024;
pub(crate) const EVENTS: usize = 10 * EVENT.len();

const EVENT: &str = "data: {\"identifier\":\"messages\",\"message\":\"one more\"}\n\n";

/// Serves on `PORT` until it is told to stop; what it names lies in `files`.
pub(crate) fn serve(files: &Path) -> Result<()> {
    let port: u16 = env::var("PORT")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    for stream in listener.incoming() {
        let (stream, files) = (stream?, files.to_owned());
        // One that fails is the peer's affair: its requests are looked at there.
        thread::spawn(move || talk(&stream, &files).map_err(|error| error.to_string()));
    }
    Ok(())
}

/// Writes what [`serve`] names.
pub(crate) fn write_files(directory: &Path) -> Result<()> {
    Ok(fs::write(directory.join(DOWNLOAD), vec![7; IMAGE])?)
}

fn talk(stream: &TcpStream, files: &Path) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some((path, length)) = head(&mut reader)? {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if path == "/socket" {
            return echo(stream, reader);
        }
        answer(stream, &path, files)?;
    }
    Ok(())
}

/// The next request's path, and the length of its body.
fn head(reader: &mut impl BufRead) -> Result<Option<(String, usize)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            return Ok(Some((path, length)));
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
    }
}

fn answer(stream: &TcpStream, path: &str, files: &Path) -> Result<()> {
    const PRIVATE: &str = "Vary: Accept\r\nCache-Control: max-age=0, private, must-revalidate\r\nETag: W/\"6d0ee32a1f5a2a2c5bd2a1f1a3c6a9e4\"\r\n\
         Set-Cookie: _app_session=Zm9vYmFyYmF6cXV4; path=/; HttpOnly; SameSite=Lax\r\n";
    const PUBLIC: &str = "Cache-Control: public, max-age=31536000\r\nETag: \"5f2a\"\r\nLast-Modified: Mon, 07 Sep 2026 10:00:00 GMT\r\n";
    let (kind, more, body) = match path {
        "/note" => ("text/html; charset=utf-8", PRIVATE.to_owned(), text(NOTE)),
        "/page" => ("text/html; charset=utf-8", PRIVATE.to_owned(), text(PAGE)),
        "/json" => ("application/json", PRIVATE.to_owned(), text(JSON)),
        "/asset.css" => ("text/css", PUBLIC.to_owned(), text(ASSET)),
        "/image" => ("image/png", String::new(), text(IMAGE)),
        "/video" => ("video/mp4", String::new(), text(VIDEO)),
        "/download" => ("video/webm", named(files), Vec::new()),
        "/form" => return see_other(stream),
        "/events" => return events(stream),
        _ => return missing(stream),
    };
    let length = body.len();
    let mut all = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{FIELDS}{more}Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    all.extend_from_slice(&body);
    Ok((&*stream).write_all(&all)?)
}

fn named(files: &Path) -> String {
    let file: PathBuf = files.join(DOWNLOAD);
    format!(
        "X-Sendfile: {}\r\nContent-Disposition: attachment\r\n",
        file.display()
    )
}

fn see_other(mut stream: &TcpStream) -> Result<()> {
    let head = format!("HTTP/1.1 303 See Other\r\nLocation: /note\r\n{FIELDS}");
    Ok(stream.write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes())?)
}

fn missing(mut stream: &TcpStream) -> Result<()> {
    let head = format!("HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n{FIELDS}");
    Ok(stream.write_all(format!("{head}Content-Length: 10\r\n\r\nNot here.\n").as_bytes())?)
}

/// One chunk each, as they happen.
fn events(mut stream: &TcpStream) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n";
    stream.write_all(format!("{head}{FIELDS}Transfer-Encoding: chunked\r\n\r\n").as_bytes())?;
    for _ in 0..EVENTS / EVENT.len() {
        stream.write_all(format!("{:x}\r\n{EVENT}\r\n", EVENT.len()).as_bytes())?;
    }
    Ok(stream.write_all(b"0\r\n\r\n")?)
}

/// Another protocol: whatever comes goes back.
fn echo(mut stream: &TcpStream, mut from: impl Read) -> Result<()> {
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    let mut piece = [0; 4096];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            read => stream.write_all(&piece[..read])?,
        }
    }
}

/// So many bytes that compress as pages do.
fn text(length: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = [
        "<li class=\"row\">",
        "<a href=\"/posts/",
        "</a></li>\n",
        "the ",
        "drain ",
        "listener ",
        "and ",
        "request ",
    ];
    let mut text = Vec::with_capacity(length + 32);
    let mut seed = 1_u32;
    while text.len() < length {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(WORDS[(seed >> 29) as usize].as_bytes());
        text.extend_from_slice((seed >> 16).to_string().as_bytes());
    }
    text.truncate(length);
    text
}

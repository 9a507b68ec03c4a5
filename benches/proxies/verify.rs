//! Whether a proxy answers rightly: every kind of answer is looked at before it is measured.

use crate::ask::{Ask, Kind};
use crate::http::{Answer, connect, exchange};
use crate::row::Load;
use crate::{Result, body};
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

/// Where nobody may look for a file's name: the proxy was told it, the client is not.
const SECRETS: [&str; 2] = ["x-sendfile", "x-accel-redirect"];

/// A right answer, as it went over the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verified {
    pub(crate) head: usize,
    /// In the coding it was sent in.
    pub(crate) body: usize,
    pub(crate) coding: Option<&'static str>,
}

/// The answers of the proxy as such, all of which the app gives by itself too.
pub(crate) fn proxy(port: u16) -> Result<()> {
    for load in [
        Load::OneKib,
        Load::HundredKib,
        Load::NewConnection,
        Load::Post,
    ] {
        self::load(port, load)?;
    }
    Ok(())
}

/// The answer to what a load row asks, compared byte by byte; an error says what came instead.
pub(crate) fn load(port: u16, load: Load) -> Result<Verified> {
    let ask = load.ask();
    check(port, &ask).map_err(|error| format!("{}: {error}", ask.path).into())
}

fn check(port: u16, ask: &Ask) -> Result<Verified> {
    let mut stream = connect(port)?;
    let verified = if ask.is_hit {
        until_hit(&mut stream, ask)?
    } else {
        look_at(&exchange(&mut stream, &ask.request())?, ask)?
    };
    if ask.kind == Kind::Close {
        return has_closed(&mut stream).map(|()| verified);
    }
    let next = exchange(&mut stream, &Load::OneKib.ask().request())?;
    match next.body == body::letters(body::ONE_KIB) {
        true => Ok(verified),
        false => Err("the next answer on its connection is a wrong one".into()),
    }
}

/// Each of the first answers must be right, and soon one must come from the cache.
fn until_hit(stream: &mut TcpStream, ask: &Ask) -> Result<Verified> {
    for _ in 0..50 {
        let answer = exchange(stream, &ask.request())?;
        let verified = look_at(&answer, ask)?;
        if is_hit(&answer) {
            return Ok(verified);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err("is never a hit".into())
}

/// Everybody's own sign: X-Cache of Thrust and as the configurations here set it, else Age.
pub(crate) fn is_hit(answer: &Answer) -> bool {
    match answer.field("x-cache") {
        Some(value) => value.eq_ignore_ascii_case("hit"),
        None => answer.field("age").is_some(),
    }
}

fn look_at(answer: &Answer, ask: &Ask) -> Result<Verified> {
    if let Some(secret) = SECRETS.iter().find(|name| answer.field(name).is_some()) {
        return Err(format!("{secret} was let through").into());
    }
    let coding = coding(answer, ask)?;
    let (decoded, expected) = (decode(&answer.body, coding)?, ask.body());
    if decoded != expected {
        let (came, wanted) = (decoded.len(), expected.len());
        return Err(format!("{came} bytes that are not the {wanted} expected").into());
    }
    Ok(Verified {
        head: answer.head_len(),
        body: answer.body.len(),
        coding,
    })
}

fn coding(answer: &Answer, ask: &Ask) -> Result<Option<&'static str>> {
    match answer.field("content-encoding") {
        None if ask.codings.is_empty() => Ok(None),
        None => Err(format!("came in none of {}", ask.codings.join(", ")).into()),
        Some(name) => match ask.codings.iter().find(|known| **known == name) {
            Some(known) => Ok(Some(known)),
            None => Err(format!("came in {name}").into()),
        },
    }
}

fn decode(body: &[u8], coding: Option<&str>) -> Result<Vec<u8>> {
    let mut decoded = Vec::new();
    match coding {
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut decoded)?,
        Some("zstd") => zstd::Decoder::new(body)?.read_to_end(&mut decoded)?,
        _ => return Ok(body.to_vec()),
    };
    Ok(decoded)
}

fn has_closed(stream: &mut TcpStream) -> Result<()> {
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        other => Err(format!("asked to close, and did not: {other:?}").into()),
    }
}

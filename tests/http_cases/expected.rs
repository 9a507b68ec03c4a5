//! What the client must get, held against what it got.

use std::ops::RangeInclusive;

use crate::{support::Response, variables::Variables};

/// One possible answer to the client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    /// What X-Cache may say; anything where empty.
    pub(crate) cache: Vec<String>,
    pub(crate) checks: Vec<Check>,
    pub(crate) body: Option<Body>,
    /// In a table: the answer is the app's.
    pub(crate) asks: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// These bytes, once decoded.
    Is(Vec<u8>),
    /// The app's, the first being 1.
    Nth(usize),
    /// Ranges of the app's first, in a multipart body.
    Parts(Vec<RangeInclusive<usize>>),
}

/// Something about the fields of a head.
#[derive(Clone, Debug)]
pub(crate) enum Check {
    Is(String, String),
    Contains(String, String),
    Within(String, RangeInclusive<u64>),
    Present(String),
    Absent(String),
    /// The method, or the beginning of the request line.
    Line(String),
}

/// A head of either direction.
pub(crate) trait Fields {
    fn line(&self) -> String;
    /// All values of a field, joined.
    fn joined(&self, name: &str) -> Option<String>;
}

impl Fields for Response {
    fn line(&self) -> String {
        self.status.to_string()
    }

    fn joined(&self, name: &str) -> Option<String> {
        self.field(name)
    }
}

impl Check {
    /// What is wrong with `head`, if anything.
    pub(crate) fn verdict(&self, head: &impl Fields, variables: &Variables) -> Result<(), String> {
        let (name, good) = match self {
            Check::Is(name, value) => (
                name,
                head.joined(name).as_deref() == Some(&variables.expand(value)),
            ),
            Check::Contains(name, part) => {
                let part = variables.expand(part).to_ascii_lowercase();
                let value = head.joined(name).map(|value| value.to_ascii_lowercase());
                (name, value.is_some_and(|value| value.contains(&part)))
            }
            Check::Within(name, range) => {
                let number = head.joined(name).and_then(|value| value.parse().ok());
                (name, number.is_some_and(|number| range.contains(&number)))
            }
            Check::Present(name) => (name, head.joined(name).is_some()),
            Check::Absent(name) => (name, head.joined(name).is_none()),
            Check::Line(line) => {
                let begins = head.line().starts_with(&variables.expand(line));
                return begins
                    .then_some(())
                    .ok_or(format!("it begins with {:?}", head.line()));
            }
        };
        match (good, head.joined(name)) {
            (true, _) => Ok(()),
            (false, None) => Err(format!("{self:?}: there is no {name}")),
            (false, Some(value)) => Err(format!("{self:?}: {name} is {value:?}")),
        }
    }
}

impl Expected {
    /// What is wrong with `response`, whose decoded body is `body`; `given` are the bodies of the app.
    pub(crate) fn verdict(
        &self,
        response: &Response,
        body: &[u8],
        given: &[Vec<u8>],
        variables: &Variables,
    ) -> Result<(), String> {
        if response.status != self.status {
            return Err(format!(
                "the status is {}, not {}",
                response.status, self.status
            ));
        }
        let cache = response.field("x-cache");
        if !self.cache.is_empty()
            && !cache
                .as_ref()
                .is_some_and(|cache| self.cache.contains(cache))
        {
            return Err(format!("X-Cache is {cache:?}, not {:?}", self.cache));
        }
        for check in &self.checks {
            check.verdict(response, variables)?;
        }
        match &self.body {
            None => Ok(()),
            Some(Body::Is(wanted)) => same(body, wanted),
            Some(Body::Nth(number)) => {
                same(body, given.get(number - 1).map_or(b"(none)", |body| body))
            }
            Some(Body::Parts(ranges)) => parts(response, body, ranges, &given[0]),
        }
    }
}

fn same(body: &[u8], wanted: &[u8]) -> Result<(), String> {
    let shown = |body: &[u8]| {
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        format!("{start:?} ({} bytes)", body.len())
    };
    (body == wanted)
        .then_some(())
        .ok_or_else(|| format!("the body is {}, not {}", shown(body), shown(wanted)))
}

/// Holds a multipart/byteranges body (RFC 9110 section 14.6) against the whole.
fn parts(
    response: &Response,
    body: &[u8],
    ranges: &[RangeInclusive<usize>],
    whole: &[u8],
) -> Result<(), String> {
    let kind = response.field("content-type").unwrap_or_default();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .ok_or(format!("it is no multipart but {kind:?}"))?;
    let body = String::from_utf8_lossy(body);
    let delimiter = format!("\r\n--{}", boundary.trim_matches('"'));
    let text = format!("\r\n{body}");
    let mut pieces = text.split(&*delimiter).skip(1);
    for range in ranges {
        let piece = pieces.next().unwrap_or_default();
        let (head, content) = piece.split_once("\r\n\r\n").ok_or("a part is missing")?;
        let (first, last) = (range.start(), range.end());
        let wanted = format!("content-range: bytes {first}-{last}/{}", whole.len());
        if !head.to_ascii_lowercase().contains(&wanted) {
            return Err(format!("{head:?} has no {wanted:?}"));
        }
        same(content.as_bytes(), &whole[range.clone()])?;
    }
    match pieces.next() {
        Some(end) if end.trim_end() == "--" => Ok(()),
        other => Err(format!("behind the parts comes {other:?}")),
    }
}

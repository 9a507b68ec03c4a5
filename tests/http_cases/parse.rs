//! From text to cases; the language is described in `main.rs`.

use std::ops::RangeInclusive;

use crate::{
    case::{Answer, Asking, Case, File, Framing, Request, Step},
    expected::{Body, Check, Expected},
    table,
};

/// A line, its continuations joined to it, and its number.
type Line = (usize, String);

pub(crate) fn file(text: &str) -> File {
    let mut file = File::default();
    let mut heading: Option<String> = None;
    let mut block = Vec::new();
    for (number, line) in lines(text) {
        if let Some(name) = line.strip_prefix("## ") {
            file.cases.extend(cases(heading.as_deref(), &block));
            heading = Some(name.to_owned());
            block.clear();
        } else if heading.is_some() {
            block.push((number, line));
        } else {
            told(&mut file, &line);
        }
    }
    file.cases.extend(cases(heading.as_deref(), &block));
    file
}

/// Without comments and empty lines; what is indented belongs to the line above.
fn lines(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let is_comment = line.starts_with('#') && !line.starts_with("## ");
        if line.trim().is_empty() || is_comment {
            continue;
        }
        match lines.last_mut() {
            Some((_, above)) if line.starts_with("  ") => {
                above.push_str(" | ");
                above.push_str(line.trim().trim_start_matches("| "));
            }
            _ => lines.push((index + 1, line.trim_end().to_owned())),
        }
    }
    lines
}

/// `alone`, `env NAME=value` or `file PATH "contents" MODIFIED`.
fn told(file: &mut File, line: &str) {
    if line == "alone" {
        file.alone = true;
        return;
    }
    if let Some((name, value)) = line
        .strip_prefix("env ")
        .and_then(|rest| rest.split_once('='))
    {
        file.env.push((name.to_owned(), value.to_owned()));
        return;
    }
    let rest = line
        .strip_prefix("file ")
        .and_then(|rest| rest.split_once(' '));
    let (path, rest) = rest.unwrap_or_else(|| panic!("before the first case: {line}"));
    let (contents, modified) = match rest.rsplit_once(" now") {
        Some((contents, offset)) => (contents, offset.to_owned()),
        None => (rest, "-1000".to_owned()),
    };
    let contents = text(contents).unwrap_or_else(|| panic!("no text: {line}"));
    let path = path.replace("%20", " ");
    file.files.push((path, contents, modified));
}

fn cases(heading: Option<&str>, block: &[Line]) -> Vec<Case> {
    let Some(name) = heading else {
        return Vec::new();
    };
    let has_steps = block.iter().any(|(_, line)| line.starts_with('>'));
    if !has_steps {
        return table::cases(name, block);
    }
    let mut case = Case {
        name: name.to_owned(),
        steps: Vec::new(),
    };
    let mut wait = 0.0;
    for (number, line) in block {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        if mark == "wait" {
            wait = rest.parse().expect("seconds");
        } else if mark == ">" {
            case.steps.push(Step {
                line: *number,
                wait: std::mem::take(&mut wait),
                request: request(rest),
                ..Step::default()
            });
        } else {
            let step = case.steps.last_mut();
            add(step.expect("a request comes first"), mark, rest);
        }
    }
    vec![case]
}

fn add(step: &mut Step, mark: &str, rest: &str) {
    match mark {
        "<" | "<?" | "<&" => {
            step.answers.push(answer(rest));
            step.asking = match mark {
                "<?" => Asking::Perhaps,
                "<&" => Asking::Behind,
                _ => Asking::First,
            };
        }
        "?" => step.sent.extend(items(rest).map(sent)),
        "=" | "or" => step.expected.push(expected(rest)),
        _ => panic!("{mark} {rest}"),
    }
}

pub(crate) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(" | ")
        .map(|item| item.trim().trim_start_matches("| "))
        .filter(|item| !item.is_empty())
}

pub(crate) fn request(text: &str) -> Request {
    let mut request = Request::default();
    for item in items(text) {
        if let Some(body) = self::text(item) {
            request.body = Some(body);
        } else if item == "soon" {
            request.soon = true;
        } else if let Some(field) = field(item) {
            request.fields.push(field);
        } else {
            let (method, target) = item.split_once(' ').unwrap_or((item, "/"));
            request.method = method.to_owned();
            request.target = target.to_owned();
        }
    }
    request
}

pub(crate) fn answer(text: &str) -> Answer {
    let mut answer = Answer {
        status: 200,
        ..Answer::default()
    };
    for item in items(text) {
        if let Some(body) = self::text(item) {
            answer.body = Some(body);
        } else if let Some(field) = item.strip_prefix("> ").and_then(field) {
            answer.request.push(field);
        } else if let Ok(status) = item.parse() {
            answer.status = status;
        } else if let Some(framing) = framing(item, answer.framing) {
            answer.framing = framing;
        } else {
            let field = field(item).unwrap_or_else(|| panic!("no field of an answer: {item}"));
            answer.fields.push(field);
        }
    }
    answer
}

fn framing(item: &str, before: Framing) -> Option<Framing> {
    Some(match item {
        "chunked" => Framing::Chunked,
        "until close" => Framing::UntilClose,
        "cut" if before == Framing::Chunked => Framing::ChunkedCut,
        "cut" => Framing::Cut,
        "closed" => Framing::Closed,
        "refused" => Framing::Refused,
        _ => return None,
    })
}

pub(crate) fn expected(text: &str) -> Expected {
    let mut expected = Expected {
        status: 200,
        ..Expected::default()
    };
    for (place, item) in items(text).enumerate() {
        if place == 0 && item.split(' ').all(|word| summary(word, &mut expected)) {
            continue;
        }
        match body(item) {
            Some(body) => expected.body = Some(body),
            None => expected.checks.push(check(item)),
        }
    }
    expected
}

/// A status, the words of X-Cache, or what else may stand in front.
fn summary(word: &str, expected: &mut Expected) -> bool {
    const CACHE: [&str; 5] = ["hit", "miss", "bypass", "stale", "revalidated"];
    if let Ok(status) = word.parse() {
        expected.status = status;
    } else if word.split('/').all(|word| CACHE.contains(&word)) {
        expected.cache = word.split('/').map(str::to_owned).collect();
    } else if word == "broken" {
        expected.status = 0;
    } else if word == "asks" {
        expected.asks = true;
    } else {
        return false;
    }
    true
}

fn body(item: &str) -> Option<Body> {
    if let Some(number) = item.strip_prefix("body ") {
        return number.parse().ok().map(Body::Nth);
    }
    if let Some(ranges) = item.strip_prefix("parts ") {
        return Some(Body::Parts(ranges.split(',').map(span).collect()));
    }
    text(item).map(Body::Is)
}

fn span(text: &str) -> RangeInclusive<usize> {
    let (first, last) = text.split_once('-').expect("first-last");
    first.parse().expect("a number")..=last.parse().expect("a number")
}

fn check(item: &str) -> Check {
    if let Some(name) = item.strip_prefix('!') {
        return Check::Absent(name.to_owned());
    }
    if let Some((name, value)) = field(item) {
        return Check::Is(name, value);
    }
    if let Some((name, part)) = item.split_once(" ~ ") {
        return Check::Contains(name.to_owned(), part.to_owned());
    }
    if let Some((name, range)) = item.split_once(" in ") {
        let (first, last) = range.split_once("..").expect("first..last");
        let range = first.parse().expect("a number")..=last.parse().expect("a number");
        return Check::Within(name.to_owned(), range);
    }
    assert!(!item.contains(' '), "no expectation: {item}");
    Check::Present(item.to_owned())
}

fn sent(item: &str) -> Check {
    let method = item.split(' ').next().unwrap_or_default();
    if method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Check::Line(item.to_owned() + " ");
    }
    check(item)
}

/// `Name: value`.
fn field(item: &str) -> Option<(String, String)> {
    let (name, value) = item.split_once(':')?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let named = !name.is_empty() && name.bytes().all(token);
    named.then(|| (name.to_owned(), value.trim().to_owned()))
}

/// `"text"`, or `"text"*1000`.
fn text(item: &str) -> Option<Vec<u8>> {
    let (quoted, times) = match item.rsplit_once('*') {
        Some((quoted, times)) if quoted.ends_with('"') => (quoted, times.parse().ok()?),
        _ => (item, 1),
    };
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let text = inner.replace("\\n", "\n").replace("\\r", "\r");
    Some(text.repeat(times).into_bytes())
}

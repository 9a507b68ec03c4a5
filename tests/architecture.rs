//! The house rules that a compiler does not know: who may import whom, and what stands nowhere in src/.
//!
//! A room is a file or directory directly under src/; see the drawing in src/lib.rs. This test reads every path that
//! begins with `crate::` (or `thrust::` in the executables) and every `super::` that leaves its room, and fails on any that the
//! table below does not allow. A new room is a new row: write it down, and the arrows that it needs, before the code.

use std::{
    collections::BTreeSet,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

/// Who may import whom. `a::B` allows of `a` only what ends in `B`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("main", &["config", "service", "telemetry", "journal"]),
    // What is said on the control socket, and nothing of what answers there.
    (
        "bin",
        &[
            "admin::AppView",
            "admin::Command",
            "admin::LogLevel",
            "admin::OpenView",
            "admin::PumaView",
            "admin::Purge",
            "admin::Reply",
            "admin::Snapshot",
            "admin::State",
            "admin::StopView",
        ],
    ),
    // FLOOR 4: the only room that sees both sides.
    (
        "service",
        &[
            "config",
            "server",
            "proxy",
            "admin",
            "upstream",
            "cache",
            "systemd",
            "tls",
            "drain",
            "journal",
            "metrics",
            "target",
            "telemetry::Loudness",
        ],
    ),
    // FLOOR 3: what the wings want to be told, never the reverse.
    (
        "config",
        &[
            "server::Settings",
            "proxy::Settings",
            "proxy::CompressionSettings",
            "proxy::FileSettings",
            "proxy::AccessLogSettings",
            "proxy::LogFormat",
            "upstream::Settings",
            "admin::Settings",
            "admin::Variable",
            "cache::Settings",
            "tls::Settings",
            "tls::AcmeSettings",
            "tls::Domain",
            "tls::Eab",
            "tls::MinVersion",
            "tls::Secret",
            "tls::Source",
            "content::Coding",
            "target",
        ],
    ),
    // FLOOR 2: two rooms that never meet.
    (
        "server",
        &[
            "tls",
            "handler",
            "drain",
            "metrics",
            "http1::BodyError",
            "files::stand_in",
        ],
    ),
    (
        "proxy",
        &[
            "cache", "coding", "content", "files", "handler", "drain", "http1", "journal",
            "metrics", "target",
        ],
    ),
    // What it tells is brought by the Service, but for the counters and what they are called.
    (
        "admin",
        &[
            "server::Listener",
            "metrics",
            "handler::Cause",
            "content::Coding",
        ],
    ),
    // FLOOR 1
    ("cache", &["content"]),
    ("systemd", &[]),
    ("tls", &[]),
    ("upstream", &["target"]),
    ("telemetry", &["journal"]),
    // GROUND
    ("handler", &["coding", "content::Coding", "files", "http1"]),
    // A connection knows how long the app takes with what it carries.
    ("http1", &["drain", "metrics", "target"]),
    ("coding", &["content"]),
    ("content", &[]),
    ("files", &["content"]),
    ("drain", &[]),
    ("journal", &[]),
    ("metrics", &[]),
    ("target", &[]),
];

/// Crates that say what a room must not know.
const MUST_NOT_KNOW: &[(&str, &[&str])] = &[
    // The process wing knows nothing of HTTP.
    (
        "upstream",
        &["http", "http_body", "httparse", "hyper", "hyper_util"],
    ),
    (
        "drain",
        &["http", "http_body", "httparse", "hyper", "hyper_util"],
    ),
    // Requests know no pids.
    ("proxy", &["signal_hook"]),
    ("handler", &["nix", "libc", "signal_hook"]),
    // Files know bytes and ranges, but no messages.
    ("files", &["http_body", "httparse", "hyper", "hyper_util"]),
];

/// Names of modules that say nothing about what is in them.
const EMPTY_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "util", "utils",
];

#[test]
fn nobody_imports_what_the_house_does_not_allow() {
    assert_clean(Source::imports);
}

#[test]
fn a_room_is_left_by_its_full_path_only() {
    assert_clean(Source::escapes);
}

#[test]
fn rooms_do_not_know_what_is_none_of_their_business() {
    assert_clean(Source::foreign_crates);
}

#[test]
fn every_room_has_a_row_and_every_row_a_room() {
    let rooms: BTreeSet<_> = sources().iter().map(|source| source.room.clone()).collect();
    let rows: BTreeSet<_> = MAY_IMPORT
        .iter()
        .map(|(room, _)| room.to_string())
        .collect();
    assert_eq!(
        rooms, rows,
        "left: rooms in src/, right: rows of MAY_IMPORT"
    );
}

#[test]
fn modules_are_named_after_what_is_in_them() {
    for source in sources() {
        for part in source.path.with_extension("").components() {
            let name = part.as_os_str().to_string_lossy();
            assert!(!EMPTY_NAMES.contains(&&*name), "{}", source.path.display());
        }
    }
}

#[test]
fn the_hall_has_only_doors() {
    let hall = fs::read_to_string(src().join("lib.rs")).expect("src/lib.rs");
    let is_door = |line: &str| {
        let name = line
            .strip_prefix("pub mod ")
            .and_then(|rest| rest.strip_suffix(';'));
        name.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    };
    for line in hall
        .lines()
        .filter(|line| !line.starts_with("//!") && !line.is_empty())
    {
        assert!(
            is_door(line),
            "src/lib.rs is for docs and `pub mod` lines: {line}"
        );
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            for mark in ["TODO", "FIXME", "XXX"] {
                assert!(
                    !line.contains(mark),
                    "{}:{}: {line}",
                    source.path.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn outside_tests_nobody_unwraps_and_nobody_exits() {
    assert_clean(Source::sudden_ends);
}

/// The test of the test: each of these is found.
#[test]
fn a_bad_line_is_found() {
    let bad = [
        ("proxy/x.rs", "use crate::server::Settings;"),
        ("proxy/x.rs", "fn f() { crate::upstream::raise_nofile(); }"),
        (
            "server/x.rs",
            "use crate::{drain::Watch, proxy::{self, App}};",
        ),
        ("server/x.rs", "use crate::http1::{BodyError, Connection};"),
        ("upstream/x.rs", "use crate::handler as h;"),
        ("config/x.rs", "use crate::server::{self, Server};"),
        (
            "config/x.rs",
            "use crate::{server, target::Target};\nfn f() { server::cores(); }",
        ),
        ("main.rs", "use thrust::{config, upstream::Upstream};"),
        ("drain/x.rs", "use crate::*;"),
        ("telemetry.rs", "use crate::Line;"),
        ("proxy/x.rs", "use super::super::server::Settings;"),
        ("telemetry.rs", "use super::server;"),
        (
            "proxy/x.rs",
            "mod tests { use super::super::super::server; }",
        ),
        ("upstream/x.rs", "use hyper::Request;"),
        ("drain/x.rs", "fn f() { Some(1).unwrap(); }"),
        (
            "drain/x.rs",
            "#[cfg(test)]\nmod tests {} fn f() { std::process::exit(1); }",
        ),
    ];
    for (path, text) in bad {
        assert_ne!(
            Source::new(path.into(), text).all(),
            [""; 0],
            "{path}: {text}"
        );
    }
}

/// And none of these.
#[test]
fn a_good_line_is_not() {
    let good = [
        (
            "service/x.rs",
            "use crate::{server::{self, Server}, upstream::readiness::{Change, Readiness}};",
        ),
        (
            "config/x.rs",
            "use crate::{server, target::Target};\nfn f(s: server::Settings) {}",
        ),
        (
            "proxy/x.rs",
            "// crate::server\n/* crate::server /* nested */ */ const A: &str = \"crate::server\";",
        ),
        (
            "proxy/x.rs",
            "const A: &str = r#\"crate::server \" crate::server\"#; const B: char = '\"';",
        ),
        (
            "upstream/x.rs",
            "pub(in crate::upstream) fn f<'a>(a: &'a str) {}",
        ),
        (
            "proxy/x.rs",
            "use super::App; mod tests { use super::{super::App, *}; }",
        ),
        (
            "drain/x.rs",
            "#[cfg(test)]\nmod tests { fn f() { Some(1).unwrap(); } }",
        ),
        ("http1/x.rs", "struct Crate; fn f() { a.unwrap_or(1); }"),
    ];
    for (path, text) in good {
        assert_eq!(
            Source::new(path.into(), text).all(),
            [""; 0],
            "{path}: {text}"
        );
    }
}

fn assert_clean(check: fn(&Source) -> Vec<String>) {
    let found: Vec<_> = sources().iter().flat_map(check).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// A file under src/.
struct Source {
    /// Relative to src/.
    path: PathBuf,
    room: String,
    text: String,
    tokens: Vec<Token>,
    /// The tokens of its test modules.
    tests: Vec<Range<usize>>,
}

/// A word, `::`, or any other single character; comments and literals are left out.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

impl Source {
    fn new(path: PathBuf, text: &str) -> Self {
        let first = path.iter().next().expect("a path relative to src/");
        let room = Path::new(first)
            .with_extension("")
            .to_string_lossy()
            .into_owned();
        let tokens = tokens(text);
        let tests = test_modules(&tokens);
        Self {
            path,
            room,
            text: text.to_owned(),
            tokens,
            tests,
        }
    }

    fn all(&self) -> Vec<String> {
        [
            self.imports(),
            self.escapes(),
            self.foreign_crates(),
            self.sudden_ends(),
        ]
        .concat()
    }

    fn imports(&self) -> Vec<String> {
        let hall = match &*self.room {
            "main" | "bin" => "thrust",
            _ => "crate",
        };
        let mut found = Vec::new();
        for at in self.starts_of(hall) {
            for path in paths(&self.tokens[at..]) {
                for path in self.uses_of(&path[1..]) {
                    if !self.allows(&path) {
                        found.push(self.complaint(at, &format!("imports {}", path.join("::"))));
                    }
                }
            }
        }
        found
    }

    /// What is used of an imported room, when only a part of it is allowed; else what is imported.
    fn uses_of(&self, path: &[String]) -> Vec<Vec<String>> {
        let whole_room = path.len() == 1 || path.get(1).is_some_and(|second| second == "self");
        let in_part = self.allowed().iter().any(|entry| {
            entry
                .split_once("::")
                .is_some_and(|(room, _)| Some(room) == path.first().map(|s| &**s))
        });
        if !whole_room || !in_part {
            return vec![path.to_vec()];
        }
        self.starts_of(&path[0])
            .into_iter()
            .flat_map(|at| paths(&self.tokens[at..]))
            .collect()
    }

    fn allowed(&self) -> &'static [&'static str] {
        MAY_IMPORT
            .iter()
            .find(|(room, _)| *room == self.room)
            .map_or(&[], |(_, allowed)| allowed)
    }

    fn allows(&self, path: &[String]) -> bool {
        let Some(first) = path.first() else {
            return false;
        };
        *first == self.room
            || self
                .allowed()
                .iter()
                .any(|entry| match entry.split_once("::") {
                    None => entry == first,
                    Some((room, last)) => {
                        room == first && path.last().is_some_and(|name| name == last)
                    }
                })
    }

    /// `super::` chains that reach the hall: from there any room is near.
    fn escapes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for at in self.starts_of("super") {
            for path in paths(&self.tokens[at..]) {
                let up = path.iter().take_while(|part| *part == "super").count();
                if up >= self.depth_at(at) {
                    found
                        .push(self.complaint(at, &format!("leaves its room: {}", path.join("::"))));
                }
            }
        }
        found
    }

    /// How many modules lie between the hall and this token.
    fn depth_at(&self, at: usize) -> usize {
        let file = match self.path.file_stem().is_some_and(|stem| stem == "mod") {
            true => self.path.components().count() - 1,
            false => self.path.components().count(),
        };
        file + inline_modules(&self.tokens)
            .iter()
            .filter(|range| range.contains(&at))
            .count()
    }

    fn foreign_crates(&self) -> Vec<String> {
        let row = MUST_NOT_KNOW.iter().find(|(room, _)| *room == self.room);
        let unwanted = row.map_or(&[][..], |(_, crates)| crates).iter();
        let starts = unwanted.flat_map(|name| self.starts_of(name));
        starts
            .map(|at| self.complaint(at, &format!("knows {}", self.tokens[at].text)))
            .collect()
    }

    fn sudden_ends(&self) -> Vec<String> {
        let words: Vec<&str> = self.tokens.iter().map(|token| &*token.text).collect();
        let is_test =
            |at| is_test_file(&self.path) || self.tests.iter().any(|range| range.contains(&at));
        let ends = words.windows(4).enumerate().filter(|(at, four)| {
            matches!(
                four,
                [".", "unwrap", "(", ")"] | ["process", "::", "exit" | "abort", "("]
            ) && !is_test(*at)
        });
        ends.map(|(at, four)| self.complaint(at, &four.concat()))
            .collect()
    }

    /// Where paths begin with `name`.
    fn starts_of(&self, name: &str) -> Vec<usize> {
        let is_start = |at: &usize| {
            let before = at.checked_sub(1).map(|before| &*self.tokens[before].text);
            let after = self.tokens.get(at + 1).map(|after| &*after.text);
            self.tokens[*at].text == name && after == Some("::") && before != Some("::")
        };
        (0..self.tokens.len()).filter(is_start).collect()
    }

    fn complaint(&self, at: usize, what: &str) -> String {
        format!(
            "src/{}:{}: {} {what}",
            self.path.display(),
            self.tokens[at].line,
            self.room
        )
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files under src/ but the hall.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&src(), &mut files);
    files.retain(|file| *file != src().join("lib.rs"));
    assert!(files.len() > 20, "src/ is elsewhere");
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a source file");
        Source::new(
            file.strip_prefix(src()).expect("below src/").to_owned(),
            &text,
        )
    };
    files.into_iter().map(read).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Whether its module is declared for tests only.
fn is_test_file(path: &Path) -> bool {
    let Ok(parent) = fs::read_to_string(src().join(path).with_file_name("mod.rs")) else {
        return false;
    };
    let name = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let tokens = tokens(&parent);
    let is_declared =
        |three: &[Token]| three[0].text == "mod" && three[1].text == name && three[2].text == ";";
    let declared = tokens.windows(3).position(is_declared);
    declared.is_some_and(|at| is_for_tests(&tokens[..at]))
}

/// Every path of the use tree, or expression, that begins here.
fn paths(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    tree(tokens, &mut 0, &mut Vec::new(), &mut found);
    found
}

/// `a::b`, `a::{tree, tree}` or `a::*`.
fn tree(tokens: &[Token], at: &mut usize, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let length = path.len();
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    loop {
        if is(*at, "{") {
            *at += 1;
            while *at < tokens.len() && !is(*at, "}") {
                tree(tokens, at, path, found);
                if is(*at, ",") {
                    *at += 1;
                }
            }
            *at += 1;
            break;
        }
        match tokens.get(*at) {
            Some(token) => path.push(token.text.clone()),
            None => break,
        }
        *at += 1;
        if !is(*at, "::") {
            if is(*at, "as") {
                *at += 2;
            }
            found.push(path.clone());
            break;
        }
        *at += 1;
    }
    path.truncate(length);
}

/// The tokens of every `mod name { .. }`.
fn inline_modules(tokens: &[Token]) -> Vec<Range<usize>> {
    let words: Vec<&str> = tokens.iter().map(|token| &*token.text).collect();
    let starts = (2..words.len()).filter(|at| words[at - 2] == "mod" && words[*at] == "{");
    starts.map(|start| start..closing(&words, start)).collect()
}

/// Those of them that are compiled for tests only.
fn test_modules(tokens: &[Token]) -> Vec<Range<usize>> {
    let is_test = |range: &Range<usize>| is_for_tests(&tokens[..range.start]);
    let mut modules = inline_modules(tokens);
    modules.retain(is_test);
    modules
}

/// Whether the item that these tokens end with has `#[cfg(test)]` before it.
fn is_for_tests(tokens: &[Token]) -> bool {
    let is_end = |token: &Token| matches!(&*token.text, ";" | "{" | "}");
    let start = tokens.iter().rposition(is_end).map_or(0, |end| end + 1);
    let item: String = tokens[start..].iter().map(|token| &*token.text).collect();
    item.contains("#[cfg(test)]")
}

fn closing(words: &[&str], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, word) in words.iter().enumerate().skip(open) {
        match *word {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    words.len()
}

/// Enough of Rust's lexer: what is left are words, `::` and single characters.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (token, after) = rest.split_at(token_length(rest, first));
        let is_literal = token.len() > 1 && token.ends_with(['"', '\'', '#']);
        let is_word = (first.is_alphanumeric() || first == '_') && !is_literal;
        let is_sign = token.len() == 1 && first.is_ascii_punctuation();
        if is_word || is_sign || token == "::" {
            let text = token.to_owned();
            found.push(Token { text, line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    found
}

fn token_length(rest: &str, first: char) -> usize {
    let until = |end: &str, skip: usize| {
        rest[skip..]
            .find(end)
            .map_or(rest.len(), |at| skip + at + end.len())
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(hashes) = raw_string(rest) {
        let opening = rest.find('"').unwrap_or(0) + 1;
        return until(&format!("\"{}", "#".repeat(hashes)), opening);
    }
    if first == '"' || rest.starts_with("b\"") {
        return quoted(rest, '"');
    }
    if first == '\'' {
        // A lifetime has no closing quote two characters on.
        let is_char = rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'');
        return if is_char { quoted(rest, '\'') } else { 1 };
    }
    if rest.starts_with("::") {
        return 2;
    }
    let word = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    word.max(first.len_utf8())
}

/// The number of `#`, if a raw string begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let quote = after.trim_start_matches('#');
    quote.starts_with('"').then(|| after.len() - quote.len())
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    let start = rest.find(quote).unwrap_or(0) + 1;
    for (at, c) in rest[start..].char_indices() {
        if c == quote && !escaped {
            return start + at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

//! Everything that Thrust and its app printed, line by line, to be awaited.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// One line, from either stream.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) stream: &'static str,
    pub(crate) text: String,
    /// Set when it is one of Thrust's own, which have a `msg`.
    json: Option<Value>,
    at: Instant,
}

/// A structured line of Thrust's, or (without fields) a line of the app's.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    fields: Value,
    pub(crate) text: String,
    /// When the test read it.
    pub(crate) at: Instant,
    /// Its place among all lines.
    pub(crate) place: usize,
}

impl Record {
    pub(crate) fn message(&self) -> &str {
        self.fields["msg"].as_str().unwrap_or_default()
    }

    /// Whether it is a line of the app's and contains `needle`.
    pub(crate) fn is_childs(&self, needle: &str) -> bool {
        self.message().is_empty() && self.text.contains(needle)
    }

    /// Whether it is a line of Thrust's.
    pub(crate) fn is_ours(&self) -> bool {
        !self.message().is_empty()
    }

    pub(crate) fn level(&self) -> &str {
        self.fields["level"].as_str().unwrap_or_default()
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.get(field).is_some()
    }

    pub(crate) fn field(&self, field: &str) -> String {
        match &self.fields[field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// A number, also one that was logged as text or with a unit behind it.
    pub(crate) fn number(&self, field: &str) -> u64 {
        let text = self.field(field);
        let digits = text
            .find(|letter: char| !letter.is_ascii_digit())
            .map_or(&*text, |end| &text[..end]);
        digits
            .parse()
            .unwrap_or_else(|_| panic!("no number {field} in {}", self.text))
    }

    /// All numbers among the fields.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let fields = self
            .fields
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.values());
        fields.filter_map(Value::as_u64).collect()
    }
}

/// The lines so far and those to come; a handle to share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    open_streams: usize,
}

impl Lines {
    /// Reads a stream to its end, on a thread of its own.
    pub(crate) fn follow(&self, stream: &'static str, source: impl Read + Send + 'static) {
        let lines = self.clone();
        lines.lock().open_streams += 1;
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line).into_owned();
                let json = serde_json::from_str(&text)
                    .ok()
                    .filter(|value: &Value| value["msg"].is_string());
                lines.lock().lines.push(Line {
                    stream,
                    text,
                    json,
                    at: Instant::now(),
                });
                lines.0.1.notify_all();
            }
            lines.lock().open_streams -= 1;
            lines.0.1.notify_all();
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("readers do not panic")
    }

    /// The `nth` (from 0) record that `wanted` takes, or none within `patience`.
    pub(crate) fn find(
        &self,
        nth: usize,
        patience: Duration,
        wanted: impl Fn(&Record) -> bool,
    ) -> Option<Record> {
        let end = Instant::now() + patience;
        let (mut seen, mut found) = (0, 0);
        let mut state = self.lock();
        loop {
            while seen < state.lines.len() {
                let record = record(seen, &state.lines[seen]);
                seen += 1;
                if wanted(&record) {
                    if found == nth {
                        return Some(record);
                    }
                    found += 1;
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self
                .0
                .1
                .wait_timeout(state, left)
                .expect("readers do not panic")
                .0;
        }
    }

    /// Waits until all writers have left, so that nothing is still on its way.
    pub(crate) fn wait_for_the_end(&self, patience: Duration) {
        let waiting = |state: &mut State| state.open_streams > 0;
        drop(
            self.0
                .1
                .wait_timeout_while(self.lock(), patience, waiting)
                .expect("readers do not panic"),
        );
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.lock()
            .lines
            .iter()
            .enumerate()
            .map(|(place, line)| record(place, line))
            .collect()
    }

    /// All of it as text, for people.
    pub(crate) fn text(&self) -> String {
        self.lock()
            .lines
            .iter()
            .fold(String::new(), |mut text, line| {
                let _ = writeln!(text, "{} | {}", line.stream, line.text);
                text
            })
    }
}

fn record(place: usize, line: &Line) -> Record {
    Record {
        fields: line.json.clone().unwrap_or(Value::Null),
        text: line.text.clone(),
        at: line.at,
        place,
    }
}

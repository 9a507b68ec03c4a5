//! One line, of JSON or of logfmt, written straight into a buffer.

use std::fmt::{self, Write};

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// `{"time":"...","level":"INFO","msg":"listening","addr":"[::]:80"}`
    #[default]
    Json,
    /// `time=... level=INFO msg=listening addr=[::]:80`
    Logfmt,
}

/// A line under way; [`end`](Line::end) closes it.
#[derive(Debug)]
pub struct Line<'a> {
    buffer: &'a mut Vec<u8>,
    shape: Shape,
}

impl<'a> Line<'a> {
    /// Begins a line with the fields that every line has. `time` is written as it is.
    pub fn begin(
        buffer: &'a mut Vec<u8>,
        shape: Shape,
        time: &[u8],
        level: &str,
        message: &str,
    ) -> Self {
        let (before_time, before_level): (&[u8], &[u8]) = match shape {
            Shape::Json => (b"{\"time\":\"", b"\",\"level\":\""),
            Shape::Logfmt => (b"time=", b" level="),
        };
        buffer.extend_from_slice(before_time);
        buffer.extend_from_slice(time);
        buffer.extend_from_slice(before_level);
        buffer.extend_from_slice(level.as_bytes());
        if shape == Shape::Json {
            buffer.push(b'"');
        }
        let mut line = Self { buffer, shape };
        line.text("msg", message.as_bytes());
        line
    }

    /// Goes on with a line whose beginning stands in `buffer`.
    pub fn resume(buffer: &'a mut Vec<u8>, shape: Shape) -> Self {
        Self { buffer, shape }
    }

    /// Adds a text; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&mut self, key: &'static str, value: &[u8]) {
        self.key(key);
        if self.shape == Shape::Logfmt && is_bare(value) {
            return self.buffer.extend_from_slice(value);
        }
        self.buffer.push(b'"');
        escape(self.buffer, value);
        self.buffer.push(b'"');
    }

    /// Adds what displays as text that needs no escaping: an address.
    pub fn quoted(&mut self, key: &'static str, value: impl fmt::Display) {
        self.key(key);
        // Writing to a vector cannot fail.
        let _ = match self.shape {
            Shape::Json => write!(Sink(self.buffer), "\"{value}\""),
            Shape::Logfmt => write!(Sink(self.buffer), "{value}"),
        };
    }

    /// Adds a number, or `true` and `false`.
    pub fn plain(&mut self, key: &'static str, value: impl fmt::Display) {
        self.key(key);
        let _ = write!(Sink(self.buffer), "{value}");
    }

    /// Adds an integer, without the formatting machinery.
    pub fn integer(&mut self, key: &'static str, value: u64) {
        self.key(key);
        digits(self.buffer, value);
    }

    /// Adds fields that were written in this shape already, each with what stands in front of it.
    pub fn raw(&mut self, fields: &[u8]) {
        self.buffer.extend_from_slice(fields);
    }

    /// Ends the line.
    pub fn end(self) {
        let end: &[u8] = match self.shape {
            Shape::Json => b"}\n",
            Shape::Logfmt => b"\n",
        };
        self.buffer.extend_from_slice(end);
    }

    fn key(&mut self, key: &'static str) {
        let (before, after): (&[u8], &[u8]) = match self.shape {
            Shape::Json => (b",\"", b"\":"),
            Shape::Logfmt => (b" ", b"="),
        };
        self.buffer.extend_from_slice(before);
        self.buffer.extend_from_slice(key.as_bytes());
        self.buffer.extend_from_slice(after);
    }
}

/// Whether a value of logfmt needs no quotes.
fn is_bare(value: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    !value.is_empty() && value.iter().all(plain)
}

struct Sink<'a>(&'a mut Vec<u8>);

impl Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn digits(buffer: &mut Vec<u8>, mut value: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        // A digit fits a byte.
        text[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&text[at..]);
}

/// Writes `text` as the inside of a JSON string (RFC 8259 section 7).
pub fn escape(buffer: &mut Vec<u8>, text: &[u8]) {
    if text
        .iter()
        .all(|byte| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\'))
    {
        return buffer.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            escape_letter(buffer, letter);
        }
        if !chunk.invalid().is_empty() {
            escape_letter(buffer, char::REPLACEMENT_CHARACTER);
        }
    }
}

fn escape_letter(buffer: &mut Vec<u8>, letter: char) {
    match letter {
        '"' => buffer.extend_from_slice(b"\\\""),
        '\\' => buffer.extend_from_slice(b"\\\\"),
        '\n' => buffer.extend_from_slice(b"\\n"),
        '\r' => buffer.extend_from_slice(b"\\r"),
        '\t' => buffer.extend_from_slice(b"\\t"),
        // DEL and the C1 controls may steer a terminal; JSON itself would let them pass.
        letter if letter.is_control() => {
            let _ = write!(Sink(buffer), "\\u{:04x}", u32::from(letter));
        }
        letter => buffer.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_one_json_object() {
        let mut buffer = Vec::new();
        let mut line = Line::begin(
            &mut buffer,
            Shape::Json,
            b"2026-01-02T03:04:05Z",
            "INFO",
            "hello",
        );
        line.text("path", b"/a\"b\\c\n\x1b\xff");
        line.integer("status", 200);
        line.integer("zero", 0);
        line.integer("most", u64::MAX);
        line.plain("ok", true);
        line.end();
        let text = String::from_utf8(buffer).unwrap();
        assert!(text.ends_with("}\n"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["path"], "/a\"b\\c\n\u{1b}\u{fffd}");
        assert_eq!(value["status"], 200);
        assert_eq!(value["most"], u64::MAX);
        assert_eq!(value["ok"], true);
    }

    #[test]
    fn logfmt_quotes_only_what_needs_it() {
        let mut buffer = Vec::new();
        let mut line = Line::begin(
            &mut buffer,
            Shape::Logfmt,
            b"2026-01-02T03:04:05Z",
            "INFO",
            "signal received",
        );
        line.text("path", b"/a?b");
        line.text("query", b"a=1");
        line.text("agent", b"a \"b\"\n\xff");
        line.text("none", b"");
        line.quoted("addr", "[::]:80");
        line.integer("status", 200);
        line.end();
        assert_eq!(
            String::from_utf8(buffer).unwrap(),
            "time=2026-01-02T03:04:05Z level=INFO msg=\"signal received\" path=/a?b query=\"a=1\" \
             agent=\"a \\\"b\\\"\\n\u{fffd}\" none=\"\" addr=[::]:80 status=200\n"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_logged_stays_one_line_of_json(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut buffer = Vec::new();
            let mut line = Line::begin(&mut buffer, Shape::Json, b"", "INFO", "x");
            line.text("value", &bytes);
            line.end();
            let text = String::from_utf8(buffer).unwrap();
            prop_assert_eq!(text.matches('\n').count(), 1);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value["value"].as_str().unwrap(), String::from_utf8_lossy(&bytes));
        }
    }
}

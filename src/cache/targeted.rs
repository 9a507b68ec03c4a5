//! `CDN-Cache-Control`: what the app says to us and not to the client's cache (RFC 9213), a dictionary of structured fields
//! (RFC 8941 section 3.2).

use http::{HeaderMap, HeaderName};

/// The field that we obey before any other.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The most members that are read.
const MOST: usize = 64;

/// What a directive says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// An integer or a boolean.
    Integer(i64),
    Boolean(bool),
    /// A string, its escapes left in.
    Text(&'a str),
    /// Of a kind that no directive has.
    Other,
}

/// The directives in the targeted field, by name, of duplicates the last; none where there is no such field or it is empty or
/// malformed, in which case Cache-Control counts.
pub(super) fn directives(headers: &HeaderMap) -> Option<Vec<(&str, Value<'_>)>> {
    let mut members: Vec<(&str, Value<'_>)> = Vec::new();
    for value in headers.get_all(CDN_CACHE_CONTROL) {
        let mut text = Text(value.to_str().ok()?);
        text.skip_spaces();
        while !text.0.is_empty() {
            let (name, value) = text.member()?;
            members.retain(|(known, _)| *known != name);
            members.push((name, value));
            text.comma()?;
            if members.len() > MOST {
                return None;
            }
        }
    }
    (!members.is_empty()).then_some(members)
}

/// What is left to be read; a method takes something off its front, or finds that it is not there.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn eat(&mut self, byte: char) -> bool {
        let rest = self.0.strip_prefix(byte);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|byte| !wanted(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    /// Between members: a comma with something behind it, or the end.
    fn comma(&mut self) -> Option<()> {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        if self.0.is_empty() {
            return Some(());
        }
        let comma = self.eat(',');
        self.0 = self.0.trim_start_matches([' ', '\t']);
        (comma && !self.0.is_empty()).then_some(())
    }

    fn member(&mut self) -> Option<(&'a str, Value<'a>)> {
        let name = self.key()?;
        let value = if self.eat('=') {
            self.value()?
        } else {
            Value::Boolean(true)
        };
        self.parameters()?;
        Some((name, value))
    }

    fn key(&mut self) -> Option<&'a str> {
        let begins = self
            .0
            .starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
        begins.then(|| {
            self.take(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c))
        })
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(';') {
            self.skip_spaces();
            self.key()?;
            if self.eat('=') {
                self.item()?;
            }
        }
        Some(())
    }

    fn value(&mut self) -> Option<Value<'a>> {
        if !self.eat('(') {
            return self.item();
        }
        loop {
            self.skip_spaces();
            if self.eat(')') {
                return Some(Value::Other);
            }
            self.item()?;
            self.parameters()?;
            if !self.0.starts_with([' ', ')']) {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<Value<'a>> {
        match self.0.chars().next()? {
            '0'..='9' | '-' => self.number(),
            '"' => self.string(),
            '?' => self.boolean(),
            ':' => {
                self.eat(':');
                self.take(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
                self.eat(':').then_some(Value::Other)
            }
            'a'..='z' | 'A'..='Z' | '*' => {
                self.take(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c));
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value<'a>> {
        let negative = self.eat('-');
        let whole = self.take(|c| c.is_ascii_digit());
        if self.eat('.') {
            let part = self.take(|c| c.is_ascii_digit());
            let decimal = (1..=12).contains(&whole.len()) && (1..=3).contains(&part.len());
            return decimal.then_some(Value::Other);
        }
        if whole.len() > 15 {
            return None;
        }
        let number: i64 = whole.parse().ok()?;
        Some(Value::Integer(if negative { -number } else { number }))
    }

    fn string(&mut self) -> Option<Value<'a>> {
        let text = self.0.strip_prefix('"')?;
        let mut escaped = false;
        for (at, byte) in text.char_indices() {
            match byte {
                '"' | '\\' if escaped => escaped = false,
                _ if escaped => return None,
                '\\' => escaped = true,
                '"' => {
                    self.0 = &text[at + 1..];
                    return Some(Value::Text(&text[..at]));
                }
                ' '..='~' => {}
                _ => return None,
            }
        }
        None
    }

    fn boolean(&mut self) -> Option<Value<'a>> {
        self.eat('?');
        match self.0.chars().next()? {
            digit @ ('0' | '1') => {
                self.0 = &self.0[1..];
                Some(Value::Boolean(digit == '1'))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CDN_CACHE_CONTROL, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_dictionary_is_read_and_nothing_else() {
        use Value::{Boolean, Integer, Other, Text};
        for (value, expected) in [
            ("max-age=60", Some(vec![("max-age", Integer(60))])),
            (
                "max-age=60, no-store",
                Some(vec![("max-age", Integer(60)), ("no-store", Boolean(true))]),
            ),
            ("max-age=1,max-age=2", Some(vec![("max-age", Integer(2))])),
            ("no-store=?0", Some(vec![("no-store", Boolean(false))])),
            ("max-age=60;x=1;y", Some(vec![("max-age", Integer(60))])),
            ("max-age=-1", Some(vec![("max-age", Integer(-1))])),
            ("max-age=1.5", Some(vec![("max-age", Other)])),
            ("max-age=\"60\"", Some(vec![("max-age", Text("60"))])),
            ("private=\"a, b\"", Some(vec![("private", Text("a, b"))])),
            (
                "a=(1 \"x\";q=1), b=tok, c=:aGk=:",
                Some(vec![("a", Other), ("b", Other), ("c", Other)]),
            ),
            ("", None),
            ("max-age=60,", None),
            ("max-age=60 no-store", None),
            ("Max-Age=60", None),
            ("max-age=", None),
            ("max-age = 60", None),
            ("a=\"b", None),
            ("a=\"\\x\"", None),
            ("a=(1", None),
            ("a=1234567890123456", None),
            ("a=?2", None),
        ] {
            assert_eq!(directives(&headers(value)), expected, "{value:?}");
        }
        assert_eq!(directives(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(value in "[ -~]{0,60}|([a-z*-]{1,8}(=[0-9a-z.:?\"(); -]{0,8})?(, )?){0,5}") {
            let _ = directives(&headers(&value));
        }
    }
}

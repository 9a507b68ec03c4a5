//! What `Cache-Control` says to who would change the content.

use http::HeaderValue;

/// The directives that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// The content is to be left as it is (RFC 9111 section 5.2.2.6).
    pub(super) no_transform: bool,
    /// With or without names of fields.
    pub(super) private: bool,
    pub(super) no_store: bool,
    /// A quote does not end.
    pub(super) malformed: bool,
}

impl Directives {
    /// What one line says.
    pub(super) fn of(line: &HeaderValue) -> Self {
        let mut directives = Self::default();
        directives.read(line.as_bytes());
        directives
    }

    /// What both say.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            no_transform: self.no_transform | other.no_transform,
            private: self.private | other.private,
            no_store: self.no_store | other.no_store,
            malformed: self.malformed | other.malformed,
        }
    }

    fn read(&mut self, line: &[u8]) {
        let (mut start, mut quoted, mut escaped) = (0, false, false);
        for (place, byte) in line.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => {
                    self.note(&line[start..place]);
                    start = place + 1;
                }
                _ => {}
            }
        }
        self.note(&line[start..]);
        self.malformed |= quoted;
    }

    fn note(&mut self, directive: &[u8]) {
        let name = directive.split(|byte| *byte == b'=').next();
        let name = name.unwrap_or_default().trim_ascii();
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        self.no_transform |= is(b"no-transform");
        self.private |= is(b"private");
        self.no_store |= is(b"no-store");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_whole_in_any_case_and_not_inside_of_quotes() {
        let none = Directives::default();
        let no_transform = Directives {
            no_transform: true,
            ..none
        };
        let private = Directives {
            private: true,
            ..none
        };
        let malformed = Directives {
            malformed: true,
            ..none
        };
        for (lines, expected) in [
            (&[][..], none),
            (&["public, max-age=60"], none),
            (&["public", "No-Transform"], no_transform),
            (&["no-transform=1"], no_transform),
            (&["max-age=1,no-transform ,a"], no_transform),
            (&["PRIVATE"], private),
            (&["public, private=\"Set-Cookie\""], private),
            (&["private = x"], private),
            (&["my-private-setting=value, x-no-store"], none),
            (&["ext=\"a, private, no-store\""], none),
            (&["ext=\"a\\\", private\""], none),
            (&["public, ext=\"unterminated, private"], malformed),
            (&["\""], malformed),
            (&["\"\\"], malformed),
        ] {
            let lines = lines.iter().map(|line| HeaderValue::from_static(line));
            let said = lines.fold(none, |said, line| said.and(Directives::of(&line)));
            assert_eq!(said, expected);
        }
    }
}

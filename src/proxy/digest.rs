//! Names that say which content they stand for, as asset pipelines give them: they are good for ever.

use std::{os::unix::ffi::OsStrExt, path::Path};

/// Whether the last part of `path` has a digest in it: `app-3f2a91bc.css`, `app.3f2a91bc0d.js.map` (Sprockets, Propshaft,
/// webpack), or below a directory `assets` also `index-BX3jA1_q.js` (Vite).
pub(super) fn is_in(path: &Path) -> bool {
    let Some(name) = path.file_name() else {
        return false;
    };
    let name = name.as_bytes();
    let below_assets = || path.iter().any(|part| part == "assets");
    parts(name).any(|part| is_hexadecimal(part) || (is_base64url(part) && below_assets()))
}

/// What stands between a hyphen or a point and a point.
fn parts(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = name
        .iter()
        .enumerate()
        .filter(|(_, byte)| matches!(byte, b'-' | b'.'));
    starts.filter_map(|(at, _)| {
        let rest = &name[at + 1..];
        let end = rest.iter().position(|byte| *byte == b'.')?;
        Some(&rest[..end])
    })
}

/// 8 to 64 hexadecimal digits, not all of them letters: `defaced` and its like are words.
fn is_hexadecimal(part: &[u8]) -> bool {
    let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (8..=64).contains(&part.len())
        && part.iter().all(digit)
        && part.iter().any(u8::is_ascii_digit)
        // A date is no digest.
        && (part.len() > 8 || part.iter().any(u8::is_ascii_alphabetic))
}

/// 8 letters and digits as no word has them: with a letter behind a digit, or a capital letter inside.
fn is_base64url(part: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    part.len() == 8
        && part.iter().all(plain)
        && (letter_behind_digit(part) || part[1..].iter().any(u8::is_ascii_uppercase))
}

fn letter_behind_digit(part: &[u8]) -> bool {
    let mut from_digit = part.iter().skip_while(|byte| !byte.is_ascii_digit());
    from_digit.any(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_told_from_words() {
        for name in [
            "app-3f2a91bc.css",
            "assets/application-0b3a5f1c9d2e4f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd.js",
            "app.3f2a91bc0d.js.map",
            "assets/index-BX3jA1_q.js",
            "vite/assets/index-DiwrgTda.js",
        ] {
            assert!(is_in(Path::new(name)), "{name}");
        }
        for name in [
            "app.css",
            "my-document.pdf",
            "report-20260101.pdf",
            "a-defaced.html",
            "a-3f2a91b.css",
            "index-DiwrgTda.js",
            "assets/jquery-migrated.js",
            "assets/photo-iphone12.jpg",
            "3f2a91bc",
            "3f2a91bc.css",
            "app-3f2a91bc",
            "",
        ] {
            assert!(!is_in(Path::new(name)), "{name}");
        }
    }
}

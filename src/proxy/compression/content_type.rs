//! Which media types become smaller: Thruster's list, and the image and font formats that are compressed in themselves.

use http::HeaderValue;

/// Most of what is worth it, decided at once.
const TEXT: [&[u8]; 3] = [b"text/", b"application/json", b"application/javascript"];

const COMPRESSED: [&[u8]; 13] = [
    b"video/",
    b"audio/",
    b"image/jp",
    b"image/png",
    b"image/gif",
    b"image/webp",
    b"image/avif",
    b"image/hei",
    b"font/woff",
    b"application/font-woff",
    b"application/vnd.rar",
    b"application/x-rar",
    b"application/vnd.openxmlformats",
];

/// Words in the names of archives and of codings.
const ARCHIVES: [&[u8]; 8] = [
    b"compress",
    b"zip",
    b"snappy",
    b"lzma",
    b"xz",
    b"zstd",
    b"brotli",
    b"stuffit",
];

/// Whether content of this type becomes smaller, but for `except`: beginnings of types, in lower case.
///
/// One that is empty tells nobody what it is.
pub(super) fn is_compressible(content_type: &HeaderValue, except: &[String]) -> bool {
    let content_type = content_type.as_bytes().trim_ascii();
    let excepted = except
        .iter()
        .any(|beginning| begins(content_type, beginning.as_bytes()));
    !excepted && !content_type.is_empty() && becomes_smaller(content_type)
}

fn becomes_smaller(content_type: &[u8]) -> bool {
    let begins = |beginning: &&[u8]| begins(content_type, beginning);
    TEXT.iter().any(begins) || !COMPRESSED.iter().any(begins) && !names_archive(content_type)
}

/// Whether one of the words is in it. Only where one might begin are they tried: this is asked of each response.
fn names_archive(mut text: &[u8]) -> bool {
    while let Some((first, rest)) = text.split_first() {
        let archive = |word: &&[u8]| word[0] == first.to_ascii_lowercase() && begins(text, word);
        let begins_one = matches!(first | 0x20, b'b' | b'c' | b'l' | b's' | b'x' | b'z');
        if begins_one && ARCHIVES.iter().any(archive) {
            return true;
        }
        text = rest;
    }
    false
}

fn begins(text: &[u8], beginning: &[u8]) -> bool {
    let start = text.get(..beginning.len());
    // The first letter tells most of them apart.
    let first = |text: &[u8]| text.first().map(u8::to_ascii_lowercase);
    start.is_some_and(|start| {
        first(start) == first(beginning) && start.eq_ignore_ascii_case(beginning)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressible(content_type: &'static str, except: &[String]) -> bool {
        is_compressible(&HeaderValue::from_static(content_type), except)
    }

    #[test]
    fn what_is_compressed_already_is_left_alone() {
        for (content_type, expected) in [
            ("text/html; charset=utf-8", true),
            ("Text/HTML", true),
            ("application/json", true),
            ("application/vnd.api+json", true),
            ("application/javascript", true),
            ("application/wasm", true),
            ("application/xml", true),
            ("application/octet-stream", true),
            ("application/pdf", true),
            ("image/svg+xml", true),
            ("image/bmp", true),
            ("image/x-icon", true),
            ("font/ttf", true),
            ("text/event-stream", true),
            ("text/vnd.turbo-stream.html", true),
            ("image/jpeg", false),
            ("IMAGE/JPEG", false),
            ("image/jp2", false),
            ("image/png", false),
            ("image/webp", false),
            ("image/heic", false),
            ("video/mp4", false),
            ("audio/ogg", false),
            ("font/woff2", false),
            ("application/zip", false),
            ("application/x-Gzip", false),
            ("application/x-7z-compressed", false),
            ("application/x-xz", false),
            ("application/zstd", false),
            ("application/epub+zip", false),
            ("application/x-bz", true),
            ("application/x-Compress", false),
            ("application/x-snappy-framed", false),
            ("application/x-lzma", false),
            ("application/x-brotli", false),
            ("application/x-stuffit", false),
            ("", false),
        ] {
            let found = compressible(content_type, &[]);
            assert_eq!(found, expected, "{content_type}");
        }
    }

    #[test]
    fn exceptions_are_beginnings() {
        let except = ["text/event-stream".to_owned(), "image/".to_owned()];
        for (content_type, expected) in [
            ("text/event-stream", false),
            (" Text/Event-Stream; charset=utf-8", false),
            ("image/svg+xml", false),
            ("text/html", true),
            ("text/", true),
        ] {
            let found = compressible(content_type, &except);
            assert_eq!(found, expected, "{content_type}");
        }
    }
}

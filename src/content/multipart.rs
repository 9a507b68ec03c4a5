//! Several ranges in one body: multipart/byteranges (RFC 9110 section 14.6).

use std::{
    fmt::Write as _,
    hash::{BuildHasher, Hasher, RandomState},
    ops::Range,
};

use bytes::Bytes;
use http::HeaderValue;

/// A body made of several ranges of the same content.
#[derive(Clone, Debug)]
pub struct Multipart {
    /// Each range, and what stands before its bytes.
    pub parts: Vec<(Bytes, Range<u64>)>,
    /// What stands behind the last.
    pub end: Bytes,
    /// The whole body's length in bytes.
    pub length: u64,
    /// The whole's `Content-Type`.
    pub content_type: HeaderValue,
}

impl Multipart {
    /// The body for `ranges`, none of them empty, of content of `length` bytes and type `content_type`.
    pub fn new(ranges: &[Range<u64>], length: u64, content_type: Option<&HeaderValue>) -> Self {
        let boundary = boundary();
        let part = |(index, range): (usize, &Range<u64>)| {
            let before = if index == 0 { "" } else { "\r\n" };
            let mut head = format!("{before}--{boundary}\r\n").into_bytes();
            if let Some(kind) = content_type {
                head.extend_from_slice(b"Content-Type: ");
                head.extend_from_slice(kind.as_bytes());
                head.extend_from_slice(b"\r\n");
            }
            let (first, last) = (range.start, range.end - 1);
            head.extend_from_slice(
                format!("Content-Range: bytes {first}-{last}/{length}\r\n\r\n").as_bytes(),
            );
            (Bytes::from(head), range.clone())
        };
        let parts: Vec<_> = ranges.iter().enumerate().map(part).collect();
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let part_length =
            |(head, range): &(Bytes, Range<u64>)| head.len() as u64 + (range.end - range.start);
        let length = parts.iter().map(part_length).sum::<u64>() + end.len() as u64;
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        Self {
            parts,
            end,
            length,
            content_type: HeaderValue::from_maybe_shared(Bytes::from(content_type))
                .expect("letters and digits make a value"),
        }
    }
}

/// Text that content can hold only by accident: 96 bits of the standard library's only source of randomness.
fn boundary() -> String {
    let mut text = String::from("part-");
    for _ in 0..3 {
        let random = RandomState::new().build_hasher().finish();
        // Writing to a string cannot fail.
        let _ = write!(text, "{:08x}", random >> 32);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_what_is_sent() {
        let content = b"0123456789";
        let kind = HeaderValue::from_static("text/plain");
        let multipart = Multipart::new(&[0..2, 7..10], 10, Some(&kind));
        let mut body = Vec::new();
        for (head, range) in &multipart.parts {
            body.extend_from_slice(head);
            body.extend_from_slice(&content[range.start as usize..range.end as usize]);
        }
        body.extend_from_slice(&multipart.end);
        assert_eq!(body.len() as u64, multipart.length);
        let text = String::from_utf8(body).unwrap();
        let boundary = multipart
            .content_type
            .to_str()
            .unwrap()
            .split_once("boundary=")
            .unwrap()
            .1;
        let expected = format!(
            "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--{boundary}\r\n\
             Content-Type: text/plain\r\nContent-Range: bytes 7-9/10\r\n\r\n789\r\n--{boundary}--\r\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn boundaries_differ() {
        assert_ne!(boundary(), boundary());
    }
}

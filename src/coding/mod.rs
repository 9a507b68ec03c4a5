//! Content codings made: zstd, brotli and gzip behind one encoder (RFC 9659, RFC 7932, RFC 1952).
//!
//! Knows no HTTP: bytes go in, pieces come out, and what went in can be told from them after each flush. What an encoder
//! needs is taken from what the thread keeps for the next one, since to begin anew costs more than to encode a page.

mod brotli;
mod encoder;
mod gzip;
mod jitter;
mod spare;
mod zstd;

pub use encoder::{Encoder, Purpose};

use crate::content::Coding;

/// All of `content`, encoded to be kept and sent many times: slower and smaller than what is encoded on its way.
///
/// Takes a millisecond for 30 KB: a core leaves more than 64 KiB to another thread.
pub fn encode_whole(coding: Coding, content: &[u8], jitter: u16) -> Vec<u8> {
    let mut encoded = Encoder::new(coding, Purpose::Kept, jitter).whole(content);
    encoded.shrink_to_fit();
    encoded
}

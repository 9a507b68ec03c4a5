//! The body of the app's answer, taken out of its framing.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::head::Framing;

/// The longest line of a chunk's size, extensions included, and the longest trailer section, in bytes.
const MAX_LINE: usize = 16 * 1024;

/// What stands next in the buffer.
#[derive(Debug, PartialEq)]
pub(super) enum Decoded {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// Nothing whole yet.
    More,
}

/// The framing is broken, or the connection ended inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadFraming;

/// Takes bodies out of their framing.
#[derive(Debug)]
pub(super) enum Decoder {
    Done,
    Length(u64),
    UntilClose,
    Chunk(Chunk),
}

/// Where in a chunked body we are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

impl Decoder {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Empty => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunk(Chunk::Size),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// How many bytes are left, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(left) => Some(*left),
            Self::UntilClose | Self::Chunk(_) => None,
        }
    }

    /// How many bytes of data are sure to come next: how much room a read is worth.
    pub(super) fn expected(&self) -> u64 {
        match self {
            Self::Length(left) | Self::Chunk(Chunk::Data(left)) => *left,
            Self::Done | Self::UntilClose | Self::Chunk(_) => 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// The next piece of `buffer`; `ended` says that nothing will follow what is in it.
    pub(super) fn decode(
        &mut self,
        buffer: &mut BytesMut,
        ended: bool,
    ) -> Result<Decoded, BadFraming> {
        match self {
            Self::Done => Ok(Decoded::End),
            Self::Length(left) => {
                let Some((data, rest)) = take(buffer, *left) else {
                    return more(ended);
                };
                *self = if rest == 0 {
                    Self::Done
                } else {
                    Self::Length(rest)
                };
                Ok(Decoded::Data(data))
            }
            Self::UntilClose if buffer.is_empty() && ended => {
                *self = Self::Done;
                Ok(Decoded::End)
            }
            Self::UntilClose if buffer.is_empty() => Ok(Decoded::More),
            Self::UntilClose => Ok(Decoded::Data(buffer.split().freeze())),
            Self::Chunk(_) => self.decode_chunks(buffer, ended),
        }
    }

    fn decode_chunks(&mut self, buffer: &mut BytesMut, ended: bool) -> Result<Decoded, BadFraming> {
        while let Self::Chunk(chunk) = self {
            match *chunk {
                Chunk::Size => match size_line(buffer)? {
                    None => return more(ended),
                    Some(0) => *chunk = Chunk::Trailers,
                    Some(size) => *chunk = Chunk::Data(size),
                },
                Chunk::Data(left) => {
                    let Some((data, rest)) = take(buffer, left) else {
                        return more(ended);
                    };
                    *chunk = if rest == 0 {
                        Chunk::DataEnd
                    } else {
                        Chunk::Data(rest)
                    };
                    return Ok(Decoded::Data(data));
                }
                Chunk::DataEnd if buffer.len() < 2 => return more(ended),
                Chunk::DataEnd if buffer.starts_with(b"\r\n") => {
                    buffer.advance(2);
                    *chunk = Chunk::Size;
                }
                Chunk::DataEnd => return Err(BadFraming),
                Chunk::Trailers => {
                    let Some(trailers) = trailers(buffer)? else {
                        return more(ended);
                    };
                    *self = Self::Done;
                    return Ok(if trailers.is_empty() {
                        Decoded::End
                    } else {
                        Decoded::Trailers(trailers)
                    });
                }
            }
        }
        Ok(Decoded::End)
    }
}

fn more(ended: bool) -> Result<Decoded, BadFraming> {
    if ended {
        Err(BadFraming)
    } else {
        Ok(Decoded::More)
    }
}

/// As many of `left` bytes as are there, and how many are left then; none if none is there.
fn take(buffer: &mut BytesMut, left: u64) -> Option<(Bytes, u64)> {
    if buffer.is_empty() {
        return None;
    }
    let here = usize::try_from(left)
        .unwrap_or(usize::MAX)
        .min(buffer.len());
    Some((buffer.split_to(here).freeze(), left - here as u64))
}

/// `1a2b[;extensions]\r\n` (RFC 9112 section 7.1.1); extensions are passed over.
fn size_line(buffer: &mut BytesMut) -> Result<Option<u64>, BadFraming> {
    match httparse::parse_chunk_size(buffer) {
        Ok(httparse::Status::Complete((length, size))) => {
            buffer.advance(length);
            Ok(Some(size))
        }
        Ok(httparse::Status::Partial) if buffer.len() <= MAX_LINE => Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => Err(BadFraming),
    }
}

/// Trailer fields up to the empty line (RFC 9112 section 7.1.2).
fn trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, BadFraming> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let (length, map) = match httparse::parse_headers(buffer, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) => (length, collect(fields)?),
        Ok(httparse::Status::Partial) if buffer.len() <= MAX_LINE => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(BadFraming),
    };
    buffer.advance(length);
    Ok(Some(map))
}

fn collect(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, BadFraming> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadFraming)?;
        map.append(
            name,
            HeaderValue::from_bytes(field.value).map_err(|_| BadFraming)?,
        );
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `wire`, which arrives in pieces of `step` bytes.
    fn decode(
        framing: Framing,
        wire: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, Option<HeaderMap>, usize), BadFraming> {
        let mut decoder = Decoder::new(framing);
        let (mut buffer, mut body, mut trailers) = (BytesMut::new(), Vec::new(), None);
        let mut rest = wire;
        loop {
            match decoder.decode(&mut buffer, rest.is_empty())? {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::Trailers(map) => trailers = Some(map),
                Decoded::End => return Ok((body, trailers, buffer.len() + rest.len())),
                Decoded::More => {
                    let (piece, later) = rest.split_at(step.min(rest.len()));
                    buffer.extend_from_slice(piece);
                    rest = later;
                }
            }
        }
    }

    #[test]
    fn a_body_ends_where_its_length_says_and_leaves_the_rest() {
        assert_eq!(
            decode(Framing::Length(3), b"abcdef", 2).unwrap(),
            (b"abc".to_vec(), None, 3)
        );
        assert_eq!(
            decode(Framing::Empty, b"abc", 2).unwrap(),
            (vec![], None, 3)
        );
        assert_eq!(
            decode(Framing::UntilClose, b"abc", 2).unwrap(),
            (b"abc".to_vec(), None, 0)
        );
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        for (framing, wire) in [
            (Framing::Length(4), &b"abc"[..]),
            (Framing::Chunked, b"4\r\nabc"),
            (Framing::Chunked, b"3\r\nabc"),
            (Framing::Chunked, b"3\r\nabc\r\n"),
            (Framing::Chunked, b"3\r\nabc\r\n0\r\n"),
            (Framing::Chunked, b""),
        ] {
            assert_eq!(
                decode(framing, wire, 1),
                Err(BadFraming),
                "{framing:?} {wire:?}"
            );
        }
    }

    #[test]
    fn broken_chunks_are_errors() {
        for wire in [
            "x\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "-1\r\n",
            "11111111111111111\r\n",
            "\r\n",
            "0\r\nbad name: x\r\n\r\n",
        ] {
            assert_eq!(
                decode(Framing::Chunked, wire.as_bytes(), 64),
                Err(BadFraming),
                "{wire:?}"
            );
        }
    }

    #[test]
    fn a_size_line_or_trailer_without_end_is_an_error() {
        let line = format!("1;{}", "x".repeat(2 * MAX_LINE));
        assert!(decode(Framing::Chunked, line.as_bytes(), 4096).is_err());
        let trailer = format!("0\r\nx: {}", "x".repeat(2 * MAX_LINE));
        assert!(decode(Framing::Chunked, trailer.as_bytes(), 4096).is_err());
    }

    #[test]
    fn trailers_follow_the_last_chunk() {
        let (body, trailers, rest) = decode(
            Framing::Chunked,
            b"2;a=b\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\nnext",
            1,
        )
        .unwrap();
        assert_eq!((body.as_slice(), rest), (&b"hi"[..], 4));
        assert_eq!(trailers.unwrap()["x-sum"], "7");
    }

    proptest! {
        #[test]
        fn chunks_come_back_whole_however_they_arrive(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8), step in 1usize..40) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decode(Framing::Chunked, &wire, step).unwrap(), (chunks.concat(), None, 0));
        }

        #[test]
        fn nothing_that_arrives_makes_the_decoder_panic(wire in prop::collection::vec(any::<u8>(), 0..200), step in 1usize..40) {
            let _ = decode(Framing::Chunked, &wire, step);
        }
    }
}

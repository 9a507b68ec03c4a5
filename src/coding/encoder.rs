//! One encoder for all codings.

use bytes::Bytes;

use super::{brotli::Brotli, gzip::Gzip, jitter::Jitter, zstd::Zstd};
use crate::content::Coding;

/// As much is put together before it is handed on, in bytes, unless it is flushed.
const PIECE: usize = 16 * 1024;

/// As much of the content decides on a padding that comes before it, in bytes, unless it is flushed.
const DECIDES: u64 = 64 * 1024;

/// What something is encoded for: how much time and memory it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be sent now.
    Passing {
        /// How long the content is, where that is known.
        length: Option<u64>,
    },
    /// To be sent bit by bit, for hours maybe.
    Endless,
    /// To be kept and sent many times.
    Kept,
}

/// Encodes one content, in pieces.
#[derive(Debug)]
pub struct Encoder {
    state: State,
    jitter: Option<Jitter>,
    /// What is encoded and not yet taken; at first behind room for a head.
    out: Vec<u8>,
    /// Room for a head that is still to be written, at the beginning of `out`.
    room: usize,
    step: Step,
}

#[derive(Debug)]
enum State {
    Zstd(Zstd),
    Br(Brotli),
    Gzip(Gzip),
}

/// What was asked last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Pushed,
    /// Everything that was pushed can be decoded.
    Flushed,
    Finished,
}

impl Encoder {
    /// An encoder that adds up to `jitter` bytes to the length; 0 adds none.
    pub fn new(coding: Coding, purpose: Purpose, jitter: u16) -> Self {
        let jitter = Jitter::new(jitter);
        let state = match coding {
            Coding::Zstd => State::Zstd(Zstd::new(purpose)),
            Coding::Br => State::Br(Brotli::new(purpose)),
            Coding::Gzip => State::Gzip(Gzip::new(purpose)),
        };
        let room = match coding {
            Coding::Gzip => Gzip::room(jitter.as_ref().map_or(0, Jitter::most)),
            Coding::Zstd | Coding::Br => 0,
        };
        Self {
            state,
            jitter,
            out: vec![0; room],
            room,
            step: Step::Flushed,
        }
    }

    /// All of `content`, at once.
    pub fn whole(mut self, content: &[u8]) -> Vec<u8> {
        self.push(content);
        self.finish();
        let start = self.head();
        let mut whole = std::mem::take(&mut self.out);
        whole.drain(..start);
        whole
    }

    /// Encodes more of the content.
    pub fn push(&mut self, content: &[u8]) {
        if content.is_empty() || self.step == Step::Finished {
            return;
        }
        if let Some(jitter) = &mut self.jitter {
            jitter.update(content);
        }
        match &mut self.state {
            State::Zstd(zstd) => zstd.push(content, &mut self.out),
            State::Br(brotli) => brotli.push(content, &mut self.out),
            State::Gzip(gzip) => gzip.push(content, &mut self.out),
        }
        self.step = Step::Pushed;
    }

    /// Whether some of what was pushed could not be decoded from what was taken.
    pub fn holds_back(&self) -> bool {
        self.step == Step::Pushed
    }

    /// Lets everything that was pushed be decoded.
    pub fn flush(&mut self) {
        if self.step != Step::Pushed {
            return;
        }
        match &mut self.state {
            State::Zstd(zstd) => zstd.flush(&mut self.out),
            State::Br(brotli) => brotli.flush(&mut self.out),
            State::Gzip(gzip) => gzip.flush(&mut self.out),
        }
        self.step = Step::Flushed;
    }

    /// Ends the content.
    pub fn finish(&mut self) {
        if self.step == Step::Finished {
            return;
        }
        let padding = self.padding();
        match &mut self.state {
            State::Zstd(zstd) => zstd.finish(&mut self.out, padding),
            State::Br(brotli) => brotli.finish(&mut self.out, padding),
            State::Gzip(gzip) => gzip.finish(&mut self.out),
        }
        self.step = Step::Finished;
    }

    /// What is encoded, if it is worth handing on: much, or flushed, or the end.
    pub fn piece(&mut self) -> Option<Bytes> {
        let encoded = self.out.len() - self.room;
        let is_due = match self.step {
            Step::Pushed => encoded >= PIECE && self.may_begin(),
            Step::Flushed | Step::Finished => encoded > 0,
        };
        is_due.then(|| {
            let start = self.head();
            Bytes::from(std::mem::take(&mut self.out)).split_off(start)
        })
    }

    /// Whether everything was taken, to the end.
    pub fn is_done(&self) -> bool {
        self.step == Step::Finished && self.out.is_empty()
    }

    /// Whether the head can be written: enough is known for a padding in it.
    fn may_begin(&self) -> bool {
        self.room == 0
            || self
                .jitter
                .as_ref()
                .is_none_or(|jitter| jitter.seen() >= DECIDES)
    }

    /// Writes the head if it is not yet; says where `out` begins.
    fn head(&mut self) -> usize {
        let room = std::mem::take(&mut self.room);
        if room == 0 {
            return 0;
        }
        let padding = self.padding();
        Gzip::head(&mut self.out[..room], padding)
    }

    /// None where there is nothing to hide.
    fn padding(&self) -> Option<usize> {
        let jitter = self.jitter.as_ref().filter(|jitter| jitter.seen() > 0);
        jitter.map(Jitter::padding)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::Read};

    use proptest::prelude::*;

    use super::*;

    const PURPOSES: [Purpose; 4] = [
        Purpose::Passing { length: None },
        Purpose::Passing { length: Some(1) },
        Purpose::Endless,
        Purpose::Kept,
    ];

    /// As much of the content as can be told from `encoded`, and whether that is all of it.
    fn decoded(coding: Coding, encoded: &[u8]) -> (Vec<u8>, bool) {
        let mut content = Vec::new();
        let ended = match coding {
            Coding::Zstd => zstd::stream::read::Decoder::with_buffer(encoded)
                .unwrap()
                .read_to_end(&mut content),
            Coding::Br => brotli::Decompressor::new(encoded, 4096).read_to_end(&mut content),
            Coding::Gzip => flate2::bufread::GzDecoder::new(encoded).read_to_end(&mut content),
        };
        (content, ended.is_ok())
    }

    fn take(encoder: &mut Encoder, taken: &mut Vec<u8>) {
        while let Some(piece) = encoder.piece() {
            assert!(!piece.is_empty());
            taken.extend(piece);
        }
    }

    fn page(length: usize) -> Vec<u8> {
        let words =
            (0..).flat_map(|number: u64| format!("<p>{}</p>\n", number * number).into_bytes());
        words.take(length).collect()
    }

    #[test]
    fn what_is_encoded_at_once_is_decoded() {
        for coding in Coding::ALL {
            for purpose in PURPOSES {
                for jitter in [0, 1, 32, 300, u16::MAX] {
                    for length in [0, 1, 1_024, 100_000] {
                        let content = page(length);
                        let encoded = Encoder::new(coding, purpose, jitter).whole(&content);
                        let case = format!("{coding:?} {purpose:?} {jitter} {length}");
                        assert!(decoded(coding, &encoded) == (content, true), "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_given_up_leaves_nothing_to_the_next() {
        for coding in Coding::ALL {
            for purpose in PURPOSES {
                let first = Encoder::new(coding, purpose, 0).whole(b"the next");
                let mut given_up = Encoder::new(coding, purpose, 0);
                given_up.push(&page(300_000));
                given_up.piece();
                drop(given_up);
                assert_eq!(Encoder::new(coding, purpose, 0).whole(b"the next"), first);
            }
        }
    }

    #[test]
    fn the_jitter_changes_the_length_alone_and_never_for_the_same_content() {
        for coding in Coding::ALL {
            let lengths = |jitter| -> BTreeSet<_> {
                let content = |number: u32| format!("{:x}", 0x1000_0000 + number).into_bytes();
                let encode = |content: &[u8]| {
                    Encoder::new(coding, Purpose::Passing { length: None }, jitter).whole(content)
                };
                let length = |number| {
                    let content = content(number);
                    let encoded = encode(&content);
                    assert_eq!(encode(&content).len(), encoded.len());
                    encoded.len()
                };
                (0..200).map(length).collect()
            };
            let (plain, padded) = (lengths(0), lengths(32));
            assert!(padded.len() >= 28, "{coding:?}: {padded:?} for {plain:?}");
        }
    }

    #[test]
    fn the_padding_stands_where_decoders_pass_it_over() {
        let encode = |coding| Encoder::new(coding, Purpose::Kept, 1).whole(b"content");
        let gzip = encode(Coding::Gzip);
        assert_eq!(
            gzip[..12],
            [0x1f, 0x8b, 8, 0x10, 0, 0, 0, 0, 0, 255, b'-', 0]
        );
        let zstd = encode(Coding::Zstd);
        assert!(
            zstd.ends_with(&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0]),
            "{zstd:x?}"
        );
        let brotli = encode(Coding::Br);
        assert!(brotli.ends_with(&[0x16, 0, 0, 3]), "{brotli:x?}");
    }

    #[test]
    fn a_long_content_comes_in_large_pieces_and_at_once_when_flushed() {
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding, Purpose::Passing { length: None }, 32);
            encoder.push(b"<!DOCTYPE html>");
            assert_eq!(encoder.piece(), None, "{coding:?}");
            assert!(encoder.holds_back());
            encoder.flush();
            assert!(encoder.piece().is_some(), "{coding:?}");
            assert!(!encoder.holds_back());
            encoder.flush();
            assert_eq!(encoder.piece(), None, "{coding:?}");
            let pieces = page(4_000_000).chunks(10_000).fold(0, |pieces, chunk| {
                encoder.push(chunk);
                let piece = encoder.piece();
                assert!(piece.as_ref().is_none_or(|piece| piece.len() >= PIECE));
                pieces + usize::from(piece.is_some())
            });
            assert!(pieces >= 5, "{coding:?}: {pieces}");
        }
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..2_000),
            proptest::collection::vec(b'a'..=b'd', 0..40_000),
            (0usize..200_000).prop_map(page),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn after_a_flush_all_that_was_pushed_can_be_told(
            pieces in proptest::collection::vec((content(), any::<bool>()), 0..6),
            coding in proptest::sample::select(&Coding::ALL),
            purpose in proptest::sample::select(&PURPOSES),
            jitter in prop_oneof![Just(0), 1u16..100, any::<u16>()],
        ) {
            let mut encoder = Encoder::new(coding, purpose, jitter);
            let (mut pushed, mut taken) = (Vec::new(), Vec::new());
            for (content, flushed) in pieces {
                encoder.push(&content);
                pushed.extend(content);
                take(&mut encoder, &mut taken);
                if flushed {
                    encoder.flush();
                    take(&mut encoder, &mut taken);
                    if !pushed.is_empty() {
                        prop_assert!(decoded(coding, &taken).0 == pushed);
                    }
                }
            }
            encoder.finish();
            take(&mut encoder, &mut taken);
            prop_assert!(encoder.is_done());
            prop_assert!(decoded(coding, &taken) == (pushed, true));
        }
    }
}

//! Padding against BREACH: a length that tells nothing about what was repeated inside.
//!
//! How much is derived from the content, so that asking again and again averages nothing out, and from a key that lives as
//! long as the process, so that nobody can work out the padding of a content that they know, or make up two contents with
//! the same one (with a checksum they could).

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

/// How much is hashed in one step: two lanes of two words.
const BLOCK: usize = 32;

static KEYS: LazyLock<[u64; 4]> = LazyLock::new(|| {
    let random = RandomState::new();
    std::array::from_fn(|number| random.hash_one(number))
});

/// Says how much padding belongs to a content.
#[derive(Debug)]
pub(super) struct Jitter {
    /// The most that is added, in bytes; not 0.
    most: u16,
    lanes: [u64; 2],
    length: u64,
    /// What was not enough for a block.
    rest: [u8; BLOCK],
}

impl Jitter {
    /// Up to `most` bytes; none is no padding at all.
    pub(super) fn new(most: u16) -> Option<Self> {
        (most > 0).then(|| Self {
            most,
            lanes: [KEYS[0], KEYS[1]],
            length: 0,
            rest: [0; BLOCK],
        })
    }

    /// The most that is ever added, in bytes.
    pub(super) fn most(&self) -> usize {
        usize::from(self.most)
    }

    /// How many bytes of the content it has seen.
    pub(super) fn seen(&self) -> u64 {
        self.length
    }

    /// More of the content; how it is cut makes no difference.
    pub(super) fn update(&mut self, mut content: &[u8]) {
        let held = self.held();
        self.length += content.len() as u64;
        if held > 0 {
            let missing = (BLOCK - held).min(content.len());
            self.rest[held..held + missing].copy_from_slice(&content[..missing]);
            if held + missing < BLOCK {
                return;
            }
            content = &content[missing..];
            self.lanes = mixed(self.lanes, &self.rest);
        }
        let (blocks, rest) = content.as_chunks::<BLOCK>();
        self.lanes = blocks.iter().fold(self.lanes, mixed);
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// The padding of what was seen: from 1 to the most.
    pub(super) fn padding(&self) -> usize {
        let mut rest = self.rest;
        rest[self.held()..].fill(0);
        let lanes = mixed(self.lanes, &rest);
        let hash = folded(lanes[0] ^ self.length, lanes[1] ^ KEYS[2]);
        let hash = folded(hash ^ KEYS[3], KEYS[0]);
        1 + usize::try_from(((hash >> 48) * u64::from(self.most)) >> 16).unwrap_or(0)
    }

    fn held(&self) -> usize {
        // Less than a block.
        (self.length % BLOCK as u64) as usize
    }
}

fn mixed(lanes: [u64; 2], block: &[u8; BLOCK]) -> [u64; 2] {
    let (words, _) = block.as_chunks::<8>();
    let word = |number: usize| u64::from_le_bytes(words[number]);
    [
        folded(word(0) ^ KEYS[2], word(1) ^ lanes[0]),
        folded(word(2) ^ KEYS[3], word(3) ^ lanes[1]),
    ]
}

/// Both halves of a product, one over the other.
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn padding(content: &[u8], most: u16) -> usize {
        let mut jitter = Jitter::new(most).unwrap();
        jitter.update(content);
        jitter.padding()
    }

    #[test]
    fn nothing_is_added_to_nothing() {
        assert!(Jitter::new(0).is_none());
    }

    #[test]
    fn every_length_up_to_the_most_comes_up_about_as_often() {
        let mut counts = [0; 33];
        for number in 0..32_000 {
            counts[padding(format!("guess {number}").as_bytes(), 32)] += 1;
        }
        assert_eq!(counts[0], 0);
        assert!(
            counts[1..].iter().all(|count| (800..1_200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_byte_anywhere_makes_a_difference() {
        for place in [0, 1, 15, 16, 31, 32, 63, 64, 65_535] {
            let mut content = vec![b'x'; 65_536];
            let paddings: BTreeSet<_> = (0..=u8::MAX)
                .map(|byte| {
                    content[place] = byte;
                    padding(&content, u16::MAX)
                })
                .collect();
            assert!(paddings.len() > 200, "{place}: {}", paddings.len());
        }
    }

    proptest! {
        #[test]
        fn how_the_content_is_cut_makes_none(
            content in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in proptest::collection::vec(0usize..80, 0..8),
            most in 1u16..,
        ) {
            let mut jitter = Jitter::new(most).unwrap();
            let mut rest = &content[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                jitter.update(piece);
                rest = after;
            }
            jitter.update(rest);
            prop_assert_eq!(jitter.padding(), padding(&content, most));
            prop_assert!((1..=usize::from(most)).contains(&jitter.padding()));
        }
    }
}

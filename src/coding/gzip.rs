//! gzip (RFC 1952): a head that takes the padding as its comment, deflated data, a checksum.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::{encoder::Purpose, spare::Kept};

/// The head without a comment.
const HEAD: usize = 10;

/// The flag that says that a comment follows the head.
const FCOMMENT: u8 = 1 << 4;

/// The system is unknown.
const OS: u8 = 255;

/// What fills a comment: Latin-1, and no zero.
const PADDING: u8 = b'-';

/// Room that is made for output at a time, in bytes.
const ROOM: usize = 8 * 1024;

/// A gzip stream that is being written.
#[derive(Debug)]
pub(super) struct Gzip {
    /// None once it was handed back.
    deflate: Option<Compress>,
    checksum: Crc,
    kept: bool,
}

impl Gzip {
    pub(super) fn new(purpose: Purpose) -> Self {
        let fresh =
            |level, window| Compress::new_with_window_bits(Compression::new(level), false, window);
        let deflate = match purpose {
            // As small as zlib's level 4, at two thirds of its cost.
            Purpose::Passing { .. } => Compress::take().unwrap_or_else(|| fresh(3, 15)),
            Purpose::Endless => fresh(3, 12),
            Purpose::Kept => fresh(6, 15),
        };
        Self {
            deflate: Some(deflate),
            checksum: Crc::new(),
            kept: matches!(purpose, Purpose::Passing { .. }),
        }
    }

    /// The most that a head takes with a comment of `padding` bytes.
    pub(super) fn room(padding: usize) -> usize {
        HEAD + padding + 1
    }

    /// Writes a head at the end of `room`; says where it begins.
    pub(super) fn head(room: &mut [u8], padding: Option<usize>) -> usize {
        let length = HEAD + padding.map_or(0, |padding| padding + 1);
        let start = room.len() - length;
        let (head, comment) = room[start..].split_at_mut(HEAD);
        let flags = if padding.is_some() { FCOMMENT } else { 0 };
        head.copy_from_slice(&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, OS]);
        if let Some((zero, text)) = comment.split_last_mut() {
            text.fill(PADDING);
            *zero = 0;
        }
        start
    }

    pub(super) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.checksum.update(input);
        self.run(input, FlushCompress::None, out);
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        self.run(&[], FlushCompress::Sync, out);
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(&[], FlushCompress::Finish, out);
        out.extend(self.checksum.sum().to_le_bytes());
        out.extend(self.checksum.amount().to_le_bytes());
    }

    fn run(&mut self, mut input: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        let Some(deflate) = &mut self.deflate else {
            return;
        };
        loop {
            out.reserve(ROOM);
            let before = deflate.total_in();
            let status = deflate
                .compress_vec(input, out, flush)
                .expect("a stream that is neither finished nor used by two");
            let taken = deflate.total_in() - before;
            input = &input[usize::try_from(taken).unwrap_or(input.len())..];
            let is_room_left = out.len() < out.capacity();
            if status == Status::StreamEnd || (input.is_empty() && is_room_left) {
                return;
            }
        }
    }
}

impl Drop for Gzip {
    fn drop(&mut self) {
        if let Some(mut deflate) = self.deflate.take().filter(|_| self.kept) {
            deflate.reset();
            deflate.keep();
        }
    }
}

//! A file, or parts of it, piece by piece.

use std::{
    future::Future,
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    vec,
};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{open::OpenFile, read, stand_in};
use crate::content::multipart::Multipart;

/// How much is read at once, in bytes.
const READ: u64 = 64 * 1024;

/// What is shorter, in bytes, is read: copying it costs less than the second system call.
const SHORT: u64 = 16 * 1024;

/// How the bytes of a file get to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They are read, and are there to be looked at.
    Read,
    /// Something stands in for them: the connection leaves them to sendfile(2).
    Sendfile,
}

/// What is left of a file to be given out.
#[derive(Debug)]
pub struct Pieces {
    file: Arc<OpenFile>,
    way: Way,
    /// Of the part that it is at.
    range: Range<u64>,
    /// Those that follow, and what stands before each of them.
    parts: vec::IntoIter<(Bytes, Range<u64>)>,
    /// What stands behind the last.
    end: Bytes,
    /// Bytes of all of that together.
    left: u64,
    /// A read that has to wait.
    waiting: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Pieces {
    /// The bytes of `range`.
    pub fn of(file: Arc<OpenFile>, range: Range<u64>, way: Way) -> Self {
        Self {
            file,
            way,
            left: range.end - range.start,
            range,
            parts: Vec::new().into_iter(),
            end: Bytes::new(),
            waiting: None,
        }
    }

    /// Several ranges, as the body of `multipart`.
    pub fn multipart(file: Arc<OpenFile>, multipart: Multipart, way: Way) -> Self {
        Self {
            left: multipart.length,
            parts: multipart.parts.into_iter(),
            end: multipart.end,
            ..Self::of(file, 0..0, way)
        }
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// From here on, the bytes are there to be looked at.
    pub fn read_through(&mut self) {
        self.way = Way::Read;
    }

    /// Whether the file has become shorter or unreadable, so that what is left of it can no longer come.
    pub fn has_failed(&self) -> bool {
        self.file.has_failed()
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// When the file has become shorter than it was, or cannot be read.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let piece = if self.left == 0 {
            return Poll::Ready(None);
        } else if self.range.is_empty() && self.waiting.is_none() {
            self.between()
        } else {
            match ready!(self.poll_range(cx)) {
                Ok(piece) => {
                    self.range.start += piece.len() as u64;
                    piece
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        };
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(piece)))
    }

    /// What stands between two parts, or behind the last.
    fn between(&mut self) -> Bytes {
        match self.parts.next() {
            Some((before, range)) => {
                self.range = range;
                before
            }
            None => std::mem::take(&mut self.end),
        }
    }

    fn poll_range(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if let Some(waiting) = &mut self.waiting {
            let read = ready!(Pin::new(waiting).poll(cx));
            self.waiting = None;
            return Poll::Ready(read.map_err(io::Error::other).flatten());
        }
        if self.range.end - self.range.start >= SHORT
            && self.way == Way::Sendfile
            && let Some(piece) = stand_in::lend(&self.file, &self.first(stand_in::LONGEST))
        {
            return Poll::Ready(Ok(piece));
        }
        let range = self.first(READ);
        match read::at_once(&self.file, &range)? {
            Some(piece) => Poll::Ready(Ok(piece)),
            None => {
                let file = self.file.clone();
                // Another thread does what may take long.
                self.waiting = Some(spawn_blocking(move || read::in_time(&file, &range)));
                self.poll_range(cx)
            }
        }
    }

    fn first(&self, most: u64) -> Range<u64> {
        self.range.start..self.range.end.min(self.range.start + most)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, future::poll_fn, path::PathBuf};

    use super::*;

    const LENGTH: u64 = 2_300_000;

    fn contents() -> Vec<u8> {
        (0..LENGTH).map(|at| (at * at / 7) as u8).collect()
    }

    fn file(name: &str) -> (Arc<OpenFile>, PathBuf) {
        let path = std::env::temp_dir().join(format!("pieces-{}-{name}", std::process::id()));
        fs::write(&path, contents()).unwrap();
        (Arc::new(OpenFile::open(&path).unwrap()), path)
    }

    async fn all(mut pieces: Pieces) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = poll_fn(|cx| pieces.poll_piece(cx)).await {
            let piece = piece?;
            assert!(!piece.is_empty());
            all.extend_from_slice(&piece);
        }
        assert_eq!(pieces.left(), 0);
        Ok(all)
    }

    #[tokio::test]
    async fn what_is_read_is_what_is_in_the_file() {
        for range in [0..LENGTH, 0..1, 65_535..131_073, LENGTH - 1..LENGTH, 5..5] {
            let (file, path) = file("range");
            let expected = &contents()[range.start as usize..range.end as usize];
            let read = all(Pieces::of(file, range, Way::Read)).await.unwrap();
            assert!(read == expected);
            fs::remove_file(path).unwrap();
        }
    }

    #[tokio::test]
    async fn parts_come_with_what_stands_between_them() {
        let (file, path) = file("parts");
        let multipart = Multipart::new(&[5..100_000, 0..1], LENGTH, None);
        let mut expected = Vec::new();
        for (before, range) in &multipart.parts {
            expected.extend_from_slice(before);
            expected.extend_from_slice(&contents()[range.start as usize..range.end as usize]);
        }
        expected.extend_from_slice(&multipart.end);
        let read = all(Pieces::multipart(file, multipart, Way::Read)).await;
        assert!(read.unwrap() == expected);
        fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn only_what_is_long_is_stood_in_for_and_not_once_it_is_to_be_read() {
        let (file, path) = file("ways");
        let longer = vec![7; stand_in::LONGEST as usize + 100_000];
        fs::write(&path, &longer).unwrap();
        let mut pieces = Pieces::of(file, 0..longer.len() as u64, Way::Sendfile);
        let first = poll_fn(|cx| pieces.poll_piece(cx)).await.unwrap().unwrap();
        assert!(stand_in::is_one(&first) && first.len() as u64 == stand_in::LONGEST);
        pieces.read_through();
        let rest = all(pieces).await.unwrap();
        assert!(rest == longer[first.len()..]);
        let (short, _) = self::file("ways");
        let mut pieces = Pieces::of(short, 0..SHORT - 1, Way::Sendfile);
        let piece = poll_fn(|cx| pieces.poll_piece(cx)).await.unwrap().unwrap();
        assert!(!stand_in::is_one(&piece));
        fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_cut_off_is_an_error_and_one_that_is_replaced_is_not() {
        let (file, path) = file("cut");
        let pieces = Pieces::of(file, 0..LENGTH, Way::Read);
        fs::write(&path, "short").unwrap();
        assert!(all(pieces).await.is_err());
        fs::remove_file(&path).unwrap();
        let (file, path) = self::file("replaced");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        let read = all(Pieces::of(file, 0..LENGTH, Way::Read)).await.unwrap();
        assert!(read == contents());
        fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn what_is_not_at_hand_is_read_elsewhere() {
        let (file, path) = file("cold");
        file.file.sync_all().unwrap();
        let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        nix::fcntl::posix_fadvise(&file.file, 0, 0, advice).unwrap();
        let read = all(Pieces::of(file, 0..LENGTH, Way::Read)).await.unwrap();
        assert!(read == contents());
        fs::remove_file(path).unwrap();
    }
}

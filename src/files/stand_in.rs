//! What stands in for a piece of a file on its way through hyper, which knows bytes only.
//!
//! A core reserves a span of addresses that costs no memory, and lends pieces of it: as bytes they are zeros that nobody
//! reads, by their address the connection knows which piece of which file is meant, and leaves it to sendfile(2) as soon as
//! that need not wait for a disk.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    num::NonZeroUsize,
    ops::Range,
    os::{fd::BorrowedFd, unix::fs::FileExt},
    pin::Pin,
    slice,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use nix::{
    errno::Errno,
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous},
        sendfile::sendfile,
    },
};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{open::OpenFile, read};

/// The longest piece, in bytes: a call ends where its piece does, and short calls are dear.
pub(super) const LONGEST: u64 = 8 * 1024 * 1024;

/// How far ahead the kernel is asked whether it has the bytes at hand.
const AHEAD: u64 = 4 * 1024 * 1024;

/// With so much known to be at hand it is not asked.
const ENOUGH: u64 = 2 * 1024 * 1024;

/// How much is fetched from a disk at a time.
const FETCHED: u64 = 2 * 1024 * 1024;

/// How many pieces a core can have on their way at the same time; beyond that, files are read.
const SLOTS: usize = 512;

const SLOT: usize = LONGEST as usize;

/// How much is copied at a time where sendfile(2) is of no use.
const COPIED: usize = 256 * 1024;

thread_local! {
    /// Where the span of this core begins; 0 while it has none.
    static START: Cell<usize> = const { Cell::new(0) };
    static SPAN: RefCell<Span> = const { RefCell::new(Span::NONE) };
}

/// The addresses of one core, and what each slot of them stands for.
struct Span {
    /// None until they are reserved, or where that is refused.
    addresses: Option<&'static [u8]>,
    refused: bool,
    slots: Vec<Option<Meant>>,
    free: Vec<usize>,
}

/// Which piece of which file.
struct Meant {
    file: Arc<OpenFile>,
    range: Range<u64>,
    /// Up to which byte it is at hand.
    at_hand: u64,
    /// On its way from a disk, up to which byte.
    fetching: Option<(JoinHandle<io::Result<()>>, u64)>,
}

/// A slot in use.
struct Lent {
    piece: &'static [u8],
    slot: usize,
}

/// What stands in for `range` of `file`, at most [`LONGEST`] bytes; none when no slot is free.
pub(super) fn lend(file: &Arc<OpenFile>, range: &Range<u64>) -> Option<Bytes> {
    let length = usize::try_from(range.end - range.start).ok()?;
    SPAN.with_borrow_mut(|span| {
        let addresses = span.addresses()?;
        let slot = span.slot()?;
        let piece = addresses.get(slot * SLOT..)?.get(..length.min(SLOT))?;
        span.slots[slot] = Some(Meant {
            file: file.clone(),
            range: range.clone(),
            at_hand: range.start,
            fetching: None,
        });
        Some(Bytes::from_owner(Lent { piece, slot }))
    })
}

/// Whether `bytes` stand in for a piece of a file.
#[inline]
pub fn is_one(bytes: &[u8]) -> bool {
    let start = START.get();
    start != 0 && bytes.as_ptr().addr().wrapping_sub(start) < SLOTS * SLOT
}

/// How much of what `bytes` stand in for can be sent without waiting for a disk; what cannot is fetched meanwhile.
///
/// # Errors
/// When the file has become shorter than it was, or cannot be read.
pub fn poll_at_hand(bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    meant(bytes, |meant, at| {
        let asked = ready!(meant.poll_at_hand(at, cx));
        let end = asked.map_err(|error| meant.file.was_unreadable(error))?;
        let length = usize::try_from(end - at).map_err(io::Error::other)?;
        Poll::Ready(Ok(length.min(bytes.len())))
    })
    .unwrap_or_else(|| Poll::Ready(Err(io::ErrorKind::NotFound.into())))
}

/// Sends what `bytes` stand in for, or its beginning; how many bytes that was.
///
/// # Errors
/// As sendfile(2), and when the file has become shorter than it was.
pub fn send(bytes: &[u8], socket: BorrowedFd<'_>) -> io::Result<usize> {
    meant(bytes, |meant, at| {
        send_of(&meant.file, at, bytes.len(), socket)
    })
    .unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
}

/// Looks at what `bytes` stand in for, which begins at a byte of the file; none if they do not.
fn meant<T>(bytes: &[u8], look: impl FnOnce(&mut Meant, u64) -> T) -> Option<T> {
    let at = bytes.as_ptr().addr().wrapping_sub(START.get());
    SPAN.with_borrow_mut(|span| {
        let meant = span.slots.get_mut(at / SLOT)?.as_mut()?;
        let from = meant.range.start + (at % SLOT) as u64;
        Some(look(meant, from))
    })
}

impl Meant {
    /// Up to which byte what begins at byte `at` is at hand.
    fn poll_at_hand(&mut self, at: u64, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        loop {
            if let Some((fetching, end)) = &mut self.fetching {
                let fetched = ready!(Pin::new(fetching).poll(cx));
                self.at_hand = *end;
                self.fetching = None;
                fetched.map_err(io::Error::other).flatten()?;
            }
            if self.at_hand == self.range.end || self.at_hand >= at + ENOUGH {
                return Poll::Ready(Ok(self.at_hand));
            }
            let ahead = at..self.range.end.min(at + AHEAD);
            if read::is_at_hand(&self.file, &ahead)? {
                self.at_hand = ahead.end;
                return Poll::Ready(Ok(ahead.end));
            }
            if self.at_hand > at {
                return Poll::Ready(Ok(self.at_hand));
            }
            let (file, range) = (self.file.clone(), at..ahead.end.min(at + FETCHED));
            let end = range.end;
            self.fetching = Some((spawn_blocking(move || read::fetch(&file, range)), end));
        }
    }
}

fn send_of(
    file: &OpenFile,
    offset: u64,
    length: usize,
    socket: BorrowedFd<'_>,
) -> io::Result<usize> {
    let mut from = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    match sendfile(socket, &file.file, Some(&mut from), length) {
        Ok(0) => Err(file.was_cut()),
        Ok(sent) => Ok(sent),
        // The filesystem cannot, or the sandbox will not.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
            let mut bytes = vec![0; length.min(COPIED)];
            match file.file.read_at(&mut bytes, offset)? {
                0 => Err(file.was_cut()),
                read => Ok(nix::unistd::write(socket, &bytes[..read])?),
            }
        }
        Err(errno) => Err(errno.into()),
    }
}

impl Span {
    const NONE: Self = Self {
        addresses: None,
        refused: false,
        slots: Vec::new(),
        free: Vec::new(),
    };

    fn addresses(&mut self) -> Option<&'static [u8]> {
        if self.addresses.is_none() && !self.refused {
            self.addresses = reserve();
            self.refused = self.addresses.is_none();
            START.set(self.addresses.map_or(0, |span| span.as_ptr().addr()));
        }
        self.addresses
    }

    fn slot(&mut self) -> Option<usize> {
        if self.free.is_empty() && self.slots.len() < SLOTS {
            self.slots.push(None);
            return Some(self.slots.len() - 1);
        }
        self.free.pop()
    }

    fn is_mine(&self, lent: &Lent) -> bool {
        let at = self.addresses.and_then(|span| span.get(lent.slot * SLOT..));
        at.is_some_and(|at| at.as_ptr() == lent.piece.as_ptr())
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.piece
    }
}

impl Drop for Lent {
    /// Gives the slot back; on another thread than its own, or after that has ended, there is nobody to take it.
    fn drop(&mut self) {
        let _ = SPAN.try_with(|span| {
            let mut span = span.borrow_mut();
            if span.is_mine(self) {
                span.slots[self.slot] = None;
                span.free.push(self.slot);
            }
        });
    }
}

/// Addresses that read as zeros and are backed by nothing. They are never given back: what was lent of them may outlive
/// the thread.
fn reserve() -> Option<&'static [u8]> {
    let length = NonZeroUsize::new(SLOTS * SLOT)?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: the kernel chooses an address that is free.
    let start = unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ, flags) }.ok()?;
    // SAFETY: mapped for reading, never written to and never unmapped.
    Some(unsafe { slice::from_raw_parts(start.as_ptr().cast(), length.get()) })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        future::poll_fn,
        io::Read,
        os::{fd::AsFd, unix::net::UnixStream},
        task::Waker,
    };

    use super::*;

    fn file(name: &str, contents: &[u8]) -> Arc<OpenFile> {
        let path = std::env::temp_dir().join(format!("stand-in-{}-{name}", std::process::id()));
        fs::write(&path, contents).unwrap();
        let opened = OpenFile::open(&path).unwrap();
        fs::remove_file(path).unwrap();
        Arc::new(opened)
    }

    #[test]
    fn any_part_of_what_was_lent_means_the_same_part_of_its_file() {
        let contents: Vec<u8> = (0..9_000_u32).map(|at| (at % 251) as u8).collect();
        let file = file("part", &contents);
        let (one, other) = (lend(&file, &(0..9_000)), lend(&file, &(4_000..9_000)));
        let (mut one, other) = (one.unwrap(), other.unwrap());
        assert!(is_one(&one) && is_one(&other[4_999..]) && !is_one(&contents) && !is_one(&[]));
        let tail = one.split_off(8_000);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut sent = vec![0; 2_010];
        for (piece, from) in [
            (&tail[..], 8_000),
            (&other[1_000..2_000], 5_000),
            (&one[..10], 0),
        ] {
            assert_eq!(send(piece, ours.as_fd()).unwrap(), piece.len());
            theirs.read_exact(&mut sent[..piece.len()]).unwrap();
            assert_eq!(sent[..piece.len()], contents[from..from + piece.len()]);
        }
    }

    #[test]
    fn slots_come_back_and_the_file_is_let_go() {
        let file = file("slots", b"abc");
        let all: Vec<_> = std::iter::from_fn(|| lend(&file, &(0..3))).collect();
        assert_eq!(all.len(), SLOTS);
        assert_eq!(Arc::strong_count(&file), SLOTS + 1);
        drop(all);
        assert_eq!(Arc::strong_count(&file), 1);
        let again = lend(&file, &(0..3)).unwrap();
        std::thread::spawn(move || drop(again)).join().unwrap();
        assert!(lend(&file, &(0..3)).is_some());
    }

    #[test]
    fn a_piece_is_never_longer_than_its_slot() {
        let file = file("long", b"abc");
        let piece = lend(&file, &(0..LONGEST + 1)).unwrap();
        assert_eq!(piece.len() as u64, LONGEST);
    }

    #[test]
    fn a_file_that_was_cut_off_is_an_error() {
        let file = file("cut", b"abc");
        let piece = lend(&file, &(10..20)).unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(send(&piece, ours.as_fd()).is_err() && file.has_failed());
        let file = self::file("cut-ahead", b"abc");
        let piece = lend(&file, &(10..20)).unwrap();
        let asked = poll_at_hand(&piece, &mut Context::from_waker(Waker::noop()));
        assert!(matches!(asked, Poll::Ready(Err(_))) && file.has_failed());
    }

    #[tokio::test]
    async fn what_is_not_at_hand_is_fetched_elsewhere_and_then_it_is() {
        let contents: Vec<u8> = (0..6_500_000_u32).map(|at| (at % 251) as u8).collect();
        let path = std::env::temp_dir().join(format!("stand-in-{}-cold", std::process::id()));
        fs::write(&path, &contents).unwrap();
        let file = Arc::new(OpenFile::open(&path).unwrap());
        fs::remove_file(path).unwrap();
        file.file.sync_all().unwrap();
        let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        nix::fcntl::posix_fadvise(&file.file, 0, 0, advice).unwrap();
        let piece = lend(&file, &(1..6_500_000)).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (mut rest, mut at) = (&piece[..], 1);
        while !rest.is_empty() {
            let at_hand = poll_fn(|cx| poll_at_hand(rest, cx)).await.unwrap();
            assert!(at_hand > 0 && at_hand as u64 <= AHEAD);
            let sent = send(&rest[..at_hand], ours.as_fd()).unwrap();
            let mut read = vec![0; sent];
            theirs.read_exact(&mut read).unwrap();
            assert!(read == contents[at..at + sent]);
            (rest, at) = (&rest[sent..], at + sent);
        }
        assert!(meant(&piece, |meant, _| meant.at_hand == 6_500_000).unwrap());
    }
}

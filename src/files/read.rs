//! Reading at an offset: at once what the kernel has at hand, and elsewhere what it has to fetch.

use std::{
    io,
    mem::MaybeUninit,
    num::NonZeroUsize,
    ops::Range,
    os::{fd::AsRawFd, unix::fs::FileExt},
};

use bytes::Bytes;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::open::OpenFile;

/// How much of what is only to be at hand is read at once, in bytes.
const FETCH: u64 = 64 * 1024;

/// Reads up to `range`, if that need not wait for a disk; none if it must.
///
/// # Errors
/// When the file has become shorter than `range`, or cannot be read.
pub(super) fn at_once(file: &OpenFile, range: &Range<u64>) -> io::Result<Option<Bytes>> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(length);
    match read_now(file, range.start, &mut bytes.spare_capacity_mut()[..length]) {
        Ok(0) => Err(file.was_cut()),
        Ok(read) => {
            // SAFETY: the kernel has just written so many bytes from the beginning.
            unsafe { bytes.set_len(read) };
            Ok(Some(bytes.into()))
        }
        Err(error) if is_unknown(&error) && is_resident(file, range) => {
            in_time(file, range).map(Some)
        }
        Err(error) if must_wait(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads `range`, however long it takes.
///
/// # Errors
/// As [`at_once`].
pub(super) fn in_time(file: &OpenFile, range: &Range<u64>) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
    match file.file.read_exact_at(&mut bytes, range.start) {
        Ok(()) => Ok(bytes.into()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(file.was_cut()),
        Err(error) => Err(error),
    }
}

/// Makes the kernel have `range` at hand, however long it takes.
///
/// # Errors
/// As [`at_once`].
pub(super) fn fetch(file: &OpenFile, range: Range<u64>) -> io::Result<()> {
    let mut range = range;
    while !range.is_empty() {
        let end = range.end.min(range.start + FETCH);
        in_time(file, &(range.start..end))?;
        range.start = end;
    }
    Ok(())
}

/// Whether the kernel has `range` at hand, judged by its last byte: files are read from the front.
///
/// # Errors
/// As [`at_once`].
pub(super) fn is_at_hand(file: &OpenFile, range: &Range<u64>) -> io::Result<bool> {
    if file.was_at_hand(range.end) {
        return Ok(true);
    }
    match read_now(file, range.end - 1, &mut [MaybeUninit::uninit()]) {
        Ok(0) => Err(file.was_cut()),
        Ok(_) => {
            file.found_at_hand(range.end);
            Ok(true)
        }
        Err(error) if is_unknown(&error) => Ok(is_resident(file, range)),
        Err(error) if must_wait(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Some filesystems, overlays and tmpfs among them, cannot read without the readiness to wait.
fn is_unknown(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)
    )
}

fn must_wait(error: &io::Error) -> bool {
    is_unknown(error) || error.kind() == io::ErrorKind::WouldBlock
}

/// Reads what need not be waited for (RWF_NOWAIT, preadv2(2)); 0 is the end of the file.
fn read_now(file: &OpenFile, offset: u64, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    let room = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    let file = file.file.as_raw_fd();
    // SAFETY: the kernel writes at most `iov_len` bytes at `iov_base`, which is ours alone for as long as this lasts.
    let read = unsafe { libc::preadv2(file, &raw const room, 1, offset, libc::RWF_NOWAIT) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Asks the pages themselves, by mapping them, which does not touch them (mincore(2)). Of files that we may not write the
/// kernel says that they are; so would whoever sends without asking.
fn is_resident(file: &OpenFile, range: &Range<u64>) -> bool {
    let page = page_size();
    let start = range.start - range.start % page as u64;
    let length = usize::try_from(range.end - start).ok();
    let (Some(length), Ok(offset)) = (
        length.and_then(NonZeroUsize::new),
        libc::off_t::try_from(start),
    ) else {
        return false;
    };
    let (protection, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
    // SAFETY: the kernel chooses an address that is free; nothing is read through it.
    let mapped = unsafe { mmap(None, length, protection, flags, &file.file, offset) };
    let Ok(mapped) = mapped else {
        return false;
    };
    let mut pages = vec![0_u8; length.get().div_ceil(page)];
    // SAFETY: `mapped` is `length` bytes long, and there is a byte in `pages` for each of its pages.
    let asked = unsafe { libc::mincore(mapped.as_ptr(), length.get(), pages.as_mut_ptr()) };
    // SAFETY: it was mapped above with this length, and nobody else has its address.
    let unmapped = unsafe { munmap(mapped, length.get()) };
    debug_assert!(unmapped.is_ok());
    asked == 0 && pages.iter().all(|page| page & 1 == 1)
}

fn page_size() -> usize {
    // SAFETY: takes and returns integers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::Write,
        path::{Path, PathBuf},
    };

    use super::*;

    fn file(name: &str, contents: &[u8]) -> (OpenFile, PathBuf) {
        let path = std::env::temp_dir().join(format!("read-{}-{name}", std::process::id()));
        fs::write(&path, contents).unwrap();
        (OpenFile::open(&path).unwrap(), path)
    }

    #[test]
    fn both_ways_read_the_same() {
        let contents: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
        let (opened, path) = file("same", &contents);
        for range in [0..1, 0..64_000, 4_095..70_001, 99_999..100_000] {
            let expected = &contents[range.start as usize..range.end as usize];
            assert_eq!(in_time(&opened, &range).unwrap(), expected);
            // Just written: it is at hand.
            assert!(is_resident(&opened, &range) && is_at_hand(&opened, &range).unwrap());
            assert_eq!(at_once(&opened, &range).unwrap().unwrap(), expected);
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_has_been_cut_off_is_an_error() {
        let (opened, path) = file("cut", &[1; 10_000]);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(100)
            .unwrap();
        let range = 5_000..10_000;
        assert!(!opened.has_failed());
        assert!(at_once(&opened, &range).is_err() && in_time(&opened, &range).is_err());
        assert!(is_at_hand(&opened, &range).is_err() && opened.has_failed());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_memory_filesystem_is_read_at_once() {
        let path = Path::new("/dev/shm").join(format!("read-{}", std::process::id()));
        let Ok(mut written) = File::create(&path) else {
            return;
        };
        written.write_all(b"memory").unwrap();
        let opened = OpenFile::open(&path).unwrap();
        assert_eq!(at_once(&opened, &(2..6)).unwrap().unwrap(), "mory");
        assert!(is_at_hand(&opened, &(0..6)).unwrap());
        fs::remove_file(path).unwrap();
    }
}

//! Opening a file that may turn out to be anything.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::stat::{FileStat, Mode, SFlag, fstat},
};

/// A pipe without a writer, or a terminal, is opened without waiting for it and without becoming ours.
pub(super) const READING: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// For how long what was at hand is taken to be so still: should its pages have been given up by then, a core waits for one
/// read. Asking the kernel each time costs every request a system call.
const AT_HAND: Duration = Duration::from_millis(100);

/// A regular file, as it was when it was opened.
#[derive(Debug)]
pub struct OpenFile {
    pub(super) file: File,
    identity: Identity,
    /// Whether it turned out to be shorter by now, or not to be readable.
    failed: AtomicBool,
    /// Up to which byte the kernel had it at hand, and when.
    at_hand: Mutex<Option<(u64, Instant)>>,
    tag: OnceLock<HeaderValue>,
    date: OnceLock<HeaderValue>,
}

/// Which file it is, and in which state: whatever is done to it changes one of these (inode(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds since 1970, and nanoseconds.
    modified: (u64, u32),
    changed: (u64, u32),
}

impl From<&FileStat> for Identity {
    fn from(stat: &FileStat) -> Self {
        // Before 1970 there were no files.
        let time = |seconds, nanoseconds| {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            (seconds, u32::try_from(nanoseconds).unwrap_or(0))
        };
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            length: u64::try_from(stat.st_size).unwrap_or(0),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none of that name.
    #[error("there is no such file")]
    Missing,
    /// There is something, but it is not to be sent.
    #[error("{0}")]
    Refused(&'static str),
    /// The machine has its limits.
    #[error(transparent)]
    Failed(io::Error),
}

impl OpenFile {
    /// Opens a file by a trusted path, which must be absolute.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if !path.is_absolute() {
            return Err(OpenError::Refused("its path is not absolute"));
        }
        Self::of(open(path, READING, Mode::empty())?)
    }

    pub(super) fn of(descriptor: OwnedFd) -> Result<Self, OpenError> {
        let stat = fstat(&descriptor)?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(OpenError::Refused("it is not a regular file"));
        }
        Ok(Self {
            file: File::from(descriptor),
            identity: Identity::from(&stat),
            failed: AtomicBool::new(false),
            at_hand: Mutex::default(),
            tag: OnceLock::new(),
            date: OnceLock::new(),
        })
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.identity.length
    }

    /// When it was last written, in whole seconds.
    pub fn modified(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.identity.modified.0)
    }

    /// A number that changes when the file is written: nanoseconds since 1970.
    pub fn version(&self) -> u128 {
        let (seconds, nanoseconds) = self.identity.modified;
        u128::from(seconds) * 1_000_000_000 + u128::from(nanoseconds)
    }

    /// Its tag, as `make` makes it the first time.
    pub fn tag(&self, make: impl FnOnce() -> HeaderValue) -> HeaderValue {
        self.tag.get_or_init(make).clone()
    }

    /// Its date, as `make` makes it the first time.
    pub fn date(&self, make: impl FnOnce() -> HeaderValue) -> HeaderValue {
        self.date.get_or_init(make).clone()
    }

    /// Whether it was found to be at hand up to byte `end`, a moment ago.
    pub(super) fn was_at_hand(&self, end: u64) -> bool {
        let at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        at_hand.is_some_and(|(known, since)| known == end && since.elapsed() < AT_HAND)
    }

    /// It is at hand up to byte `end`.
    pub(super) fn found_at_hand(&self, end: u64) {
        let mut at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        *at_hand = Some((end, Instant::now()));
    }

    /// It has been found to be shorter than it was.
    pub(super) fn was_cut(&self) -> io::Error {
        self.failed.store(true, Ordering::Relaxed);
        io::ErrorKind::UnexpectedEof.into()
    }

    /// It could not be read.
    pub(super) fn was_unreadable(&self, error: io::Error) -> io::Error {
        self.failed.store(true, Ordering::Relaxed);
        error
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => Self::Missing,
            Errno::EINVAL => Self::Refused("its path is malformed"),
            Errno::ENAMETOOLONG => Self::Refused("its path is too long"),
            Errno::EACCES | Errno::EPERM => Self::Refused("it may not be read"),
            Errno::ELOOP => Self::Refused("too many symlinks lead to it"),
            Errno::EXDEV => Self::Refused("it is outside of its directory"),
            Errno::ENXIO | Errno::ENODEV => Self::Refused("it is not a regular file"),
            errno => Self::Failed(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    fn refused(path: impl AsRef<Path>) -> bool {
        matches!(OpenFile::open(path.as_ref()), Err(OpenError::Refused(_)))
    }

    #[test]
    fn only_regular_files_are_opened() {
        assert!(OpenFile::open(Path::new("/proc/self/exe")).is_ok());
        assert!(refused("/dev/null") && refused("/tmp") && refused("Cargo.toml"));
        assert!(refused(OsStr::from_bytes(b"/etc/\0passwd")));
        assert!(refused(format!("/{}", "a".repeat(5_000))));
        assert!(refused(format!("/{}", "a".repeat(300))));
        let missing = OpenFile::open(Path::new("/etc/passwd/or/not"));
        assert!(matches!(missing, Err(OpenError::Missing)));
    }
}

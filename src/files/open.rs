//! Opening a file that may turn out to be anything.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::stat::Mode,
};

/// A pipe without a writer, or a terminal, is opened without waiting for it and without becoming ours.
pub(super) const READING: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// A regular file, as it was when it was opened.
#[derive(Debug)]
pub struct OpenFile {
    pub(super) file: File,
    length: u64,
    modified: (u64, u32),
    /// Whether it turned out to be shorter by now.
    cut: AtomicBool,
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
        let file = File::from(descriptor);
        let metadata = file.metadata().map_err(OpenError::Failed)?;
        if !metadata.is_file() {
            return Err(OpenError::Refused("it is not a regular file"));
        }
        // Before 1970 there were no files.
        let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
        let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
        Ok(Self {
            length: metadata.len(),
            modified: (seconds, nanoseconds),
            file,
            cut: AtomicBool::new(false),
        })
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// When it was last written, in whole seconds.
    pub fn modified(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.modified.0)
    }

    /// A number that changes when the file is written: nanoseconds since 1970.
    pub fn version(&self) -> u128 {
        u128::from(self.modified.0) * 1_000_000_000 + u128::from(self.modified.1)
    }

    /// It has been found to be shorter than it was.
    pub(super) fn was_cut(&self) -> io::Error {
        self.cut.store(true, Ordering::Relaxed);
        io::ErrorKind::UnexpectedEof.into()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
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

//! STORAGE_PATH: a directory of ours alone, which other containers may share.
//!
//! A file is written whole under another name, brought to the disk and renamed, so that whoever reads sees the one before
//! or this one, whenever we end. Where nothing can be written everything goes on from memory, and that is said once.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The directory; a clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    path: PathBuf,
    has_complained: Arc<AtomicBool>,
}

/// Whether others keep their hands off.
#[derive(Debug)]
pub(super) enum Lock {
    /// They do until this is dropped, or we end.
    Held(#[expect(dead_code, reason = "the lock ends with it")] File),
    /// Somebody else has asked first.
    Busy,
    /// There are no locks here.
    Impossible,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Its owner.
    Owner,
    /// Everybody who reaches it.
    All,
}

impl Storage {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            has_complained: Arc::default(),
        }
    }

    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What is stored under `name`; that nothing is, is no fault.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        match fs::read(self.path_of(name)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = self.path_of(name);
                tracing::warn!(path = %path.display(), %error, "cannot read from STORAGE_PATH");
                None
            }
        }
    }

    /// Stores `bytes` under `name`; whether that worked.
    pub(super) fn write(&self, name: &str, bytes: &[u8], readers: Readers) -> bool {
        match self.try_write(name, bytes, readers) {
            Ok(()) => {
                self.has_complained.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                self.complain(&error);
                false
            }
        }
    }

    fn try_write(&self, name: &str, bytes: &[u8], readers: Readers) -> io::Result<()> {
        self.create()?;
        let draft = self.path_of(&format!(".{name}.tmp"));
        let written = write_through(&draft, bytes, readers)
            .and_then(|()| fs::rename(&draft, self.path_of(name)))
            .and_then(|()| File::open(&self.path)?.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }

    fn create(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
    }

    fn complain(&self, error: &io::Error) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                path = %self.path.display(),
                %error,
                "cannot write to STORAGE_PATH: certificates and failures are in memory only, and the next start asks for them anew"
            );
        }
    }

    /// Asks for what `name` stands for, over all containers that share the directory. See flock(2).
    pub(super) fn lock(&self, name: &str) -> Lock {
        let path = self.path_of(&format!(".{name}.lock"));
        let opened = self.create().and_then(|()| {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            options.open(path)
        });
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                self.complain(&error);
                return Lock::Impossible;
            }
        };
        match file.try_lock() {
            Ok(()) => Lock::Held(file),
            Err(TryLockError::WouldBlock) => Lock::Busy,
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "no locks in STORAGE_PATH");
                Lock::Impossible
            }
        }
    }
}

fn write_through(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    // Left behind by a process that ended here, maybe with other permissions.
    let _ = fs::remove_file(path);
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o644,
    };
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::fs::PermissionsExt, process};

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("thrust-storage-{}-{name}", process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_written_is_whole_and_its_owners_alone() {
        let directory = Directory::new("modes");
        let storage = Storage::new(&directory.0.join("a/b"));
        assert_eq!(storage.read("x"), None);
        assert!(storage.write("x", b"one", Readers::Owner));
        // As if a process had ended while it wrote.
        fs::write(storage.path_of(".x.tmp"), "tw").unwrap();
        assert_eq!(storage.read("x").unwrap(), b"one");
        assert!(storage.write("x", b"two", Readers::Owner));
        assert_eq!(storage.read("x").unwrap(), b"two");
        assert!(storage.write("y", b"", Readers::All));
        assert_eq!(mode(&storage.path_of("x")), 0o600);
        assert_eq!(mode(&storage.path_of("y")), 0o644);
        assert_eq!(mode(&directory.0.join("a/b")), 0o700);
        let names = fs::read_dir(directory.0.join("a/b")).unwrap();
        assert_eq!(names.count(), 2, "no draft is left");
    }

    #[test]
    fn a_lock_is_one_containers_at_a_time() {
        let directory = Directory::new("locks");
        let (one, other) = (Storage::new(&directory.0), Storage::new(&directory.0));
        let held = one.lock("x");
        assert!(matches!(held, Lock::Held(_)));
        assert!(matches!(other.lock("x"), Lock::Busy));
        assert!(matches!(other.lock("y"), Lock::Held(_)));
        drop(held);
        assert!(matches!(other.lock("x"), Lock::Held(_)));
    }

    #[test]
    fn without_a_directory_it_goes_on() {
        let directory = Directory::new("file");
        fs::write(&directory.0, "not a directory").unwrap();
        let storage = Storage::new(&directory.0);
        assert!(!storage.write("x", b"", Readers::Owner));
        assert!(matches!(storage.lock("x"), Lock::Impossible));
        fs::remove_file(&directory.0).unwrap();
        assert!(storage.write("x", b"", Readers::Owner), "once there is one");
    }
}

//! A directory that its files are opened in, and that no path leads out of.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlink},
    sys::stat::Mode,
};

use super::open::{OpenError, OpenFile, READING};

/// For how long the directory is taken to be the one of that name; then it is opened again, since a deployment may have
/// put another in its place.
const TRUSTED: Duration = Duration::from_millis(10);

const HANDLE: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// A directory, and what is below it.
#[derive(Debug)]
pub(super) struct Jail {
    path: PathBuf,
    held: RefCell<Option<(Rc<OwnedFd>, Instant)>>,
}

impl Jail {
    /// The directory at `path`, which need not be there yet.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            // It fails for an empty path only, and with that nothing is found.
            path: std::path::absolute(path).unwrap_or_default(),
            held: RefCell::default(),
        }
    }

    /// Opens what `path` names below the directory.
    ///
    /// # Errors
    /// See [`OpenError`]; what lies outside, be it by `..` or by a symlink, is refused.
    pub(super) fn open(&self, path: &Path) -> Result<OpenFile, OpenError> {
        let directory = self.directory()?;
        let how = OpenHow::new()
            .flags(READING)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(&*directory, path, how) {
            Ok(descriptor) => OpenFile::of(descriptor),
            // A symlink with an absolute target may lead back into it, and some kernels and sandboxes have no openat2.
            Err(Errno::EXDEV | Errno::ENOSYS | Errno::EPERM | Errno::EAGAIN) => {
                let handle = openat(&*directory, path, HANDLE, Mode::empty())?;
                open_inside(&directory, &handle)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens a file by its absolute path.
    ///
    /// # Errors
    /// See [`OpenError`]; what lies outside once all symlinks are followed is refused.
    pub(super) fn open_absolute(&self, path: &Path) -> Result<OpenFile, OpenError> {
        // Lost on the way to what is below.
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(OpenError::Missing);
        }
        if let Ok(below) = path.strip_prefix(&self.path) {
            return self.open(below);
        }
        if !path.is_absolute() {
            return Err(OpenError::Refused("its path is not absolute"));
        }
        // The directory may have a symlink in its own path, and the app know the file by where that leads.
        let handle = openat(AT_FDCWD, path, HANDLE, Mode::empty())?;
        open_inside(&*self.directory()?, &handle)
    }

    /// A handle of the directory.
    pub(super) fn directory(&self) -> Result<Rc<OwnedFd>, OpenError> {
        let mut held = self.held.borrow_mut();
        if let Some((directory, since)) = &*held
            && since.elapsed() < TRUSTED
        {
            return Ok(directory.clone());
        }
        *held = None;
        let flags = HANDLE.union(OFlag::O_DIRECTORY);
        let directory = Rc::new(open(&self.path, flags, Mode::empty())?);
        *held = Some((directory.clone(), Instant::now()));
        Ok(directory)
    }
}

/// Opens what is behind `handle`, if that is below `directory`: whatever way led to it, the kernel knows where it is.
fn open_inside(directory: &OwnedFd, handle: &OwnedFd) -> Result<OpenFile, OpenError> {
    let (inside, outside) = (place(handle)?, place(directory)?);
    if !inside.starts_with(&outside) {
        return Err(OpenError::Refused("it is outside of its directory"));
    }
    OpenFile::of(open(&*entry(handle), READING, Mode::empty())?)
}

/// Where the kernel says that it is.
fn place(handle: &OwnedFd) -> Result<PathBuf, OpenError> {
    match readlink(&*entry(handle)) {
        Ok(path) => Ok(path.into()),
        // Without /proc nothing can be said for it.
        Err(errno) => Err(OpenError::Failed(io::Error::from(errno))),
    }
}

fn entry(handle: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// A directory with `in/file`, and `secret` beside `in`.
    fn place() -> PathBuf {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = std::env::temp_dir().join(format!("jail-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(place.join("in/deep")).unwrap();
        fs::write(place.join("in/file"), "in").unwrap();
        fs::write(place.join("secret"), "out!").unwrap();
        place
    }

    fn length(opened: Result<OpenFile, OpenError>) -> Option<u64> {
        match opened {
            Ok(file) => Some(file.length()),
            Err(OpenError::Missing | OpenError::Refused(_)) => None,
            Err(OpenError::Failed(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_below_is_opened_and_what_is_not_is_refused() {
        let place = place();
        let jail = Jail::new(&place.join("in"));
        for (name, target) in [
            ("back", "deep/../file".into()),
            ("round", place.join("in/file")),
            ("out", "../secret".into()),
            ("far", place.join("secret")),
            ("deep/up", "../..".into()),
            ("loop", "loop".into()),
            ("self", PathBuf::from("/proc/self/root")),
        ] {
            symlink(target, place.join("in").join(name)).unwrap();
        }
        for (path, expected) in [
            ("file", Some(2)),
            ("./deep/.././file", Some(2)),
            ("back", Some(2)),
            ("round", Some(2)),
            ("out", None),
            ("far", None),
            ("../secret", None),
            ("../in/../secret", None),
            ("deep/up/secret", None),
            ("loop", None),
            ("self/etc/passwd", None),
            ("/etc/passwd", None),
            ("deep", None),
            ("", None),
            ("a\0b", None),
        ] {
            assert_eq!(length(jail.open(Path::new(path))), expected, "{path}");
            let absolute = place.join("in").join(path);
            let same = length(jail.open_absolute(&absolute));
            assert_eq!(same, expected, "{}", absolute.display());
        }
        assert_eq!(length(jail.open_absolute(Path::new("in/file"))), None);
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn a_sibling_whose_name_begins_the_same_is_outside() {
        let place = place();
        fs::create_dir(place.join("in-not")).unwrap();
        fs::write(place.join("in-not/file"), "out!").unwrap();
        let jail = Jail::new(&place.join("in"));
        assert_eq!(length(jail.open_absolute(&place.join("in-not/file"))), None);
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn a_root_behind_a_symlink_is_known_by_both_names_and_followed_when_it_moves() {
        let place = place();
        fs::create_dir(place.join("next")).unwrap();
        fs::write(place.join("next/file"), "next").unwrap();
        symlink("in", place.join("current")).unwrap();
        let jail = Jail::new(&place.join("current"));
        let by = |name: &str| length(jail.open_absolute(&place.join(name)));
        assert_eq!((by("current/file"), by("in/file")), (Some(2), Some(2)));
        assert_eq!((by("next/file"), by("secret")), (None, None));
        symlink("next", place.join("newer")).unwrap();
        fs::rename(place.join("newer"), place.join("current")).unwrap();
        std::thread::sleep(2 * TRUSTED);
        assert_eq!((by("current/file"), by("next/file")), (Some(4), Some(4)));
        assert_eq!(by("in/file"), None);
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn the_kernel_s_own_word_serves_where_there_is_no_openat2() {
        let place = place();
        let directory = open(&place.join("in"), HANDLE, Mode::empty()).unwrap();
        let at = |path: &str| openat(&directory, path, HANDLE, Mode::empty()).unwrap();
        assert_eq!(length(open_inside(&directory, &at("file"))), Some(2));
        assert_eq!(length(open_inside(&directory, &at("../secret"))), None);
        assert_eq!(length(open_inside(&directory, &at("deep"))), None);
        fs::remove_dir_all(place).unwrap();
    }
}

//! Files that stay open for a moment after they were asked for: most are asked for again.
//!
//! Never is a file taken to be what it was: each time it is looked at by its path (stat(2)), which is one system call in the
//! place of three. What is found there to be the very file that was opened, unchanged, is sent from the descriptor that is
//! there; anything else is opened anew, by the same rules as ever. So nobody gets out of a directory by exchanging a symlink:
//! only the file that was opened inside of it is ever sent without opening it.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    os::unix::ffi::OsStrExt,
    path::Path,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    sys::stat::fstatat,
};
use tokio::{task::spawn_local, time::sleep};

use super::{
    jail::Jail,
    open::{Identity, OpenError, OpenFile},
};

/// For how long they stay open at most, whoever asks for them: a file that is deleted takes up its space no longer, and what
/// was moved out of a directory, with a symlink in its place, is seen to have gone.
const SWEEP: Duration = Duration::from_secs(1);

/// How many stay open at once.
const MOST: usize = 64;

/// Files of one core that are opened by their paths.
#[derive(Debug)]
pub struct OpenFiles {
    place: Place,
    kept: Rc<Kept>,
}

/// Where they may be.
#[derive(Debug)]
enum Place {
    /// Paths are relative to the directory.
    Below(Jail),
    /// Paths are absolute, and must lead into the directory.
    Inside(Jail),
    /// Paths are absolute and trusted.
    Anywhere,
}

/// Those that are open.
#[derive(Debug, Default)]
struct Kept {
    files: RefCell<HashMap<Box<[u8]>, Arc<OpenFile>>>,
    /// Whether somebody sweeps.
    swept: Cell<bool>,
}

impl OpenFiles {
    /// Files below `directory`, which need not be there yet, by their paths from there.
    pub fn below(directory: &Path) -> Self {
        Self::at(Place::Below(Jail::new(directory)))
    }

    /// Files below `directory` by their absolute paths.
    pub fn inside(directory: &Path) -> Self {
        Self::at(Place::Inside(Jail::new(directory)))
    }

    /// Any files by their absolute paths, which are trusted.
    pub fn anywhere() -> Self {
        Self::at(Place::Anywhere)
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            kept: Rc::default(),
        }
    }

    /// Opens what `path` names, and keeps it open for a moment; to be called inside of a core's runtime.
    ///
    /// # Errors
    /// See [`OpenError`]; what lies outside, be it by `..` or by a symlink, is refused.
    pub fn open(&self, path: &Path) -> Result<Arc<OpenFile>, OpenError> {
        let name = path.as_os_str().as_bytes();
        if let Some(file) = self.kept.get(name) {
            if self.look(path) == Some(file.identity()) {
                return Ok(file);
            }
            self.kept.forget(name);
        }
        let file = Arc::new(match &self.place {
            Place::Below(jail) => jail.open(path)?,
            Place::Inside(jail) => jail.open_absolute(path)?,
            Place::Anywhere => OpenFile::open(path)?,
        });
        self.kept.keep(name, &file);
        Ok(file)
    }

    /// What there is at `path` now.
    fn look(&self, path: &Path) -> Option<Identity> {
        let stat = match &self.place {
            Place::Below(jail) => fstatat(&*jail.directory().ok()?, path, AtFlags::empty()),
            Place::Inside(_) | Place::Anywhere => fstatat(AT_FDCWD, path, AtFlags::empty()),
        };
        stat.ok().as_ref().map(Identity::from)
    }
}

impl Kept {
    fn get(&self, name: &[u8]) -> Option<Arc<OpenFile>> {
        self.files.borrow().get(name).cloned()
    }

    fn forget(&self, name: &[u8]) {
        self.files.borrow_mut().remove(name);
    }

    fn keep(self: &Rc<Self>, name: &[u8], file: &Arc<OpenFile>) {
        let mut files = self.files.borrow_mut();
        if files.len() >= MOST {
            return;
        }
        files.insert(name.into(), file.clone());
        if !self.swept.replace(true) {
            spawn_local(sweep(Rc::downgrade(self)));
        }
    }
}

/// Lets go of all of them, a while after the first was opened.
async fn sweep(kept: Weak<Kept>) {
    sleep(SWEEP).await;
    if let Some(kept) = kept.upgrade() {
        kept.swept.set(false);
        kept.files.take();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        path::PathBuf,
        sync::atomic::{AtomicUsize, Ordering},
        time::Instant,
    };

    use proptest::prelude::*;
    use tokio::{runtime::Builder, task::LocalSet};

    use super::*;
    use crate::files::read;

    /// A directory with `in/` and, beside it, `secret`; gone when dropped.
    struct Somewhere(PathBuf);

    impl Somewhere {
        fn new() -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("open-files-{}-{count}", std::process::id());
            let place = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&place);
            fs::create_dir_all(place.join("in")).unwrap();
            fs::write(place.join("secret"), "secret").unwrap();
            Self(place)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join("in").join(name)
        }
    }

    impl Drop for Somewhere {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Inside of a runtime like a core's.
    fn on_a_core<T>(work: impl Future<Output = T>) -> T {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        LocalSet::new().block_on(&runtime, work)
    }

    fn contents(file: &OpenFile) -> Vec<u8> {
        let range = 0..file.length();
        match range.is_empty() {
            true => Vec::new(),
            false => read::in_time(file, &range).unwrap().into(),
        }
    }

    #[test]
    fn who_asks_again_gets_the_same() {
        let place = Somewhere::new();
        fs::write(place.at("a"), "a").unwrap();
        on_a_core(async {
            let files = OpenFiles::below(&place.0.join("in"));
            let first = files.open(Path::new("a")).unwrap();
            let second = files.open(Path::new("a")).unwrap();
            assert!(Arc::ptr_eq(&first, &second));
            fs::write(place.at("a"), "another").unwrap();
            let third = files.open(Path::new("a")).unwrap();
            assert!(!Arc::ptr_eq(&second, &third) && contents(&third) == b"another");
        });
    }

    #[test]
    fn they_are_closed_after_a_while_and_so_it_goes_on() {
        let place = Somewhere::new();
        fs::write(place.at("a"), "a").unwrap();
        on_a_core(async {
            let files = OpenFiles::anywhere();
            for _ in 0..2 {
                let file = Arc::downgrade(&files.open(&place.at("a")).unwrap());
                let began = Instant::now();
                while file.strong_count() > 0 {
                    assert!(began.elapsed() < 20 * SWEEP);
                    sleep(SWEEP / 20).await;
                }
                assert!(!files.kept.swept.get());
            }
        });
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let place = Somewhere::new();
        on_a_core(async {
            let files = OpenFiles::inside(&place.0.join("in"));
            for number in 0..2 * MOST {
                let path = place.at(&number.to_string());
                fs::write(&path, "x").unwrap();
                files.open(&path).unwrap();
                let kept = files.kept.files.borrow().len();
                assert_eq!(kept, MOST.min(number + 1));
            }
        });
    }

    /// What may happen to the files `0` to `3`.
    #[derive(Clone, Debug)]
    enum Change {
        Write(usize, Vec<u8>),
        Append(usize, u8),
        Replace(usize, Vec<u8>),
        Rename(usize, usize),
        Delete(usize),
        Link(usize, usize),
        LinkOut(usize),
        Directory(usize),
    }

    fn change() -> impl Strategy<Value = Change> {
        let name = 0..4_usize;
        let bytes = prop::collection::vec(any::<u8>(), 0..20);
        prop_oneof![
            (name.clone(), bytes.clone()).prop_map(|(name, bytes)| Change::Write(name, bytes)),
            (name.clone(), any::<u8>()).prop_map(|(name, byte)| Change::Append(name, byte)),
            (name.clone(), bytes).prop_map(|(name, bytes)| Change::Replace(name, bytes)),
            (name.clone(), name.clone()).prop_map(|(from, to)| Change::Rename(from, to)),
            name.clone().prop_map(Change::Delete),
            (name.clone(), name.clone()).prop_map(|(name, target)| Change::Link(name, target)),
            name.clone().prop_map(Change::LinkOut),
            name.prop_map(Change::Directory),
        ]
    }

    /// Some of it may be impossible just then, which is as good a state as any.
    fn happen(place: &Somewhere, change: Change) -> std::io::Result<()> {
        let at = |name: usize| place.at(&name.to_string());
        let put = |name| fs::rename(place.at("new"), at(name));
        match change {
            Change::Write(name, bytes) => fs::write(at(name), bytes),
            Change::Append(name, byte) => {
                let mut file = fs::File::options().append(true).open(at(name))?;
                std::io::Write::write_all(&mut file, &[byte])
            }
            Change::Replace(name, bytes) => {
                fs::write(place.at("new"), bytes)?;
                put(name)
            }
            Change::Rename(from, to) => fs::rename(at(from), at(to)),
            Change::Delete(name) => fs::remove_file(at(name)),
            Change::Link(name, target) => {
                symlink(target.to_string(), place.at("new"))?;
                put(name)
            }
            Change::LinkOut(name) => {
                symlink("../secret", place.at("new"))?;
                put(name)
            }
            Change::Directory(name) => {
                fs::remove_file(at(name))?;
                fs::create_dir(at(name))
            }
        }
    }

    /// What comes of opening it: its bytes, or why not.
    fn outcome(opened: Result<Arc<OpenFile>, OpenError>) -> Result<(Identity, Vec<u8>), String> {
        let file = opened.map_err(|error| error.to_string())?;
        Ok((file.identity(), contents(&file)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn nobody_can_tell_that_files_are_kept(changes in prop::collection::vec(change(), 1..40)) {
            let place = Somewhere::new();
            let kept: [fn(&Path) -> OpenFiles; 2] = [OpenFiles::below, OpenFiles::inside];
            on_a_core(async {
                let [below, inside] = kept.map(|make| make(&place.0.join("in")));
                for change in changes {
                    let _ = happen(&place, change);
                    let _ = fs::remove_file(place.at("new"));
                    for name in (0..4).map(|name| name.to_string()) {
                        let fresh = Jail::new(&place.0.join("in")).open(Path::new(&name));
                        let expected = outcome(fresh.map(Arc::new));
                        prop_assert_eq!(&outcome(below.open(Path::new(&name))), &expected);
                        prop_assert_eq!(&outcome(inside.open(&place.at(&name))), &expected);
                    }
                }
                Ok(())
            })?;
        }
    }
}

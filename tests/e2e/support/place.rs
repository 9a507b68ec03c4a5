//! A directory that a test fills before Thrust starts.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

/// Gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, SeqCst);
        let path = env::temp_dir().join(format!("place-{}-{number}", process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        // As the kernel has it.
        Self(path.canonicalize().expect("just created"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where `name` is, as text for a header.
    pub(crate) fn at(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str().expect("names are ASCII here").to_owned()
    }

    /// Writes a file, and the directories that lead to it.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        let parent = path.parent().expect("below the place");
        fs::create_dir_all(parent).expect("the place is ours");
        fs::write(&path, contents).expect("the place is ours");
        self.at(name)
    }

    /// A file of zeros that takes no room, but for what is written to it.
    pub(crate) fn sparse(&self, name: &str, length: u64) -> (String, File) {
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(self.0.join(name))
            .expect("the place is ours");
        file.set_len(length).expect("sparse files");
        (self.at(name), file)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes of which no two pieces are alike.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

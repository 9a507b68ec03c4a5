//! Programs, and a scratch directory.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::Result;

/// The scratch directory in use, for the signal thread.
static SCRATCH: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Says what is missing.
pub(crate) fn need(programs: &[&str]) -> Result<()> {
    let missing: Vec<_> = programs
        .iter()
        .filter(|name| find(name).is_none())
        .copied()
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("please install {}", missing.join(", ")).into()),
    }
}

/// A program in PATH, or where Debian puts servers.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Configurations, certificates and the app's files; gone when dropped.
#[derive(Debug)]
pub(crate) struct ScratchDir(PathBuf);

impl ScratchDir {
    pub(crate) fn create() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("thrust-secure-{}", std::process::id()));
        fs::create_dir(&path)?;
        *SCRATCH.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.clone());
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// For the signal thread, which cannot wait for the drop.
    pub(crate) fn remove_current() {
        let current = SCRATCH
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // What is left is in the temporary directory, where someone else cleans up.
        let _ = current.map(fs::remove_dir_all);
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        Self::remove_current();
    }
}

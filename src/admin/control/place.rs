//! A name in the file system, and what stands there.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Tells one file from another that comes to the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

/// What stands at a name; a symbolic link is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Socket(Identity),
    Symlink,
    Other,
}

/// The name of a socket of ours. Dropped, it is removed, unless another has taken it meanwhile.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    identity: Identity,
}

/// What stands at `path`.
pub(super) fn look(path: &Path) -> io::Result<Found> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let kind = metadata.file_type();
    Ok(if kind.is_socket() {
        Found::Socket(Identity(metadata.dev(), metadata.ino()))
    } else if kind.is_symlink() {
        Found::Symlink
    } else {
        Found::Other
    })
}

/// Removes the socket at `path` if it is still this one.
pub(super) fn remove(path: &Path, identity: Identity) -> io::Result<()> {
    if look(path)? == Found::Socket(identity) {
        fs::remove_file(path)?;
    }
    Ok(())
}

impl Place {
    /// Of a socket that has just been bound.
    pub(super) fn new(path: PathBuf, identity: Identity) -> Self {
        Self { path, identity }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path, self.identity) {
            tracing::debug!(%error, path = %self.path.display(), "the control socket stays behind");
        }
    }
}

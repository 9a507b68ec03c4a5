//! The user's own certificate and key: read at the start, and again whenever they change.
//!
//! A change is whatever stat(2) sees behind the paths: new content, another file under the old name, or a symbolic link
//! that leads elsewhere, as Kubernetes swaps its `..data`. The last good pair is served until there is another.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    certificates::Certificates,
    pair::{Pair, PairError},
};

/// How often to look whether they have changed. Two stat(2) each time, and it works on every file system.
const LOOK: Duration = Duration::from_secs(2);

/// Two files, and what is known of them.
#[derive(Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    certificates: Certificates,
    /// What the pair that is served was read from.
    served: Option<Print>,
    /// What was found the last time it did not make a pair.
    refused: Option<Print>,
    /// What was said about that.
    said: Option<String>,
}

/// Why there is no pair of own files.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// One of them cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in them is of no use.
    #[error("{certificate} and {key} are of no use: {source}")]
    Unusable {
        /// `TLS_CERTIFICATE_PATH`.
        certificate: PathBuf,
        /// `TLS_PRIVATE_KEY_PATH`.
        key: PathBuf,
        /// Why.
        source: PairError,
    },
}

/// What stat(2) says of both files, or that there is none.
type Print = [Option<(u64, u64, u64, i64, i64, i64, i64)>; 2];

impl Files {
    /// Reads both, for the first time.
    ///
    /// # Errors
    /// When there is no pair in them: who sets them wants to know at once.
    pub(super) fn open(
        certificate: &Path,
        key: &Path,
        certificates: Certificates,
    ) -> Result<Self, FilesError> {
        let mut files = Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            certificates,
            served: None,
            refused: None,
            said: None,
        };
        let print = files.print();
        files.serve(&files.read()?, print);
        Ok(files)
    }

    /// Reads them again when they have changed, for ever.
    pub(super) async fn keep(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.look();
        }
    }

    fn look(&mut self) {
        let print = self.print();
        if self.served == Some(print) {
            self.refused = None;
            return;
        }
        match self.read() {
            Ok(pair) => self.serve(&pair, print),
            Err(error) => self.refuse(&error, print),
        }
    }

    fn serve(&mut self, pair: &Pair, print: Print) {
        let until = pair.validity.end();
        tracing::info!(path = %self.certificate.display(), %until, "certificate loaded");
        if !pair.validity.holds(std::time::SystemTime::now()) {
            tracing::warn!(path = %self.certificate.display(), %until, "the certificate has expired");
        }
        self.certificates.put(0, pair);
        self.served = Some(print);
        self.refused = None;
        self.said = None;
    }

    /// Two files are not written in one moment: only what is found twice is worth a line, and that one line.
    fn refuse(&mut self, error: &FilesError, print: Print) {
        let text = error.to_string();
        if self.refused == Some(print) && self.said.as_ref() != Some(&text) {
            tracing::error!(%error, "the certificate before is served on");
            self.said = Some(text);
        }
        self.refused = Some(print);
    }

    fn read(&self) -> Result<Pair, FilesError> {
        let chain = read(&self.certificate)?;
        let key = read(&self.key)?;
        Pair::read(&chain, &key).map_err(|source| FilesError::Unusable {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })
    }

    fn print(&self) -> Print {
        [&self.certificate, &self.key].map(|path| {
            let file = fs::metadata(path).ok()?;
            Some((
                file.dev(),
                file.ino(),
                file.len(),
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
            ))
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    fs::read(path).map_err(|source| FilesError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

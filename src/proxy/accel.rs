//! ACCEL_MAPPING: which directory stands behind which beginning of a URI, for X-Accel-Redirect.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::percent;
use crate::files::{OpenError, OpenFile, OpenFiles};

/// The directories of one core.
#[derive(Debug)]
pub(super) struct Accel {
    /// The longest beginning first, each ending in a slash.
    mapping: Vec<(Vec<u8>, OpenFiles)>,
}

impl Accel {
    pub(super) fn new(mapping: &[(String, PathBuf)]) -> Self {
        let slashed = |uri: &String| format!("{}/", uri.trim_end_matches('/')).into_bytes();
        let mut mapping: Vec<_> = mapping
            .iter()
            .map(|(uri, directory)| (slashed(uri), OpenFiles::below(directory)))
            .collect();
        mapping.sort_by_key(|(uri, _)| std::cmp::Reverse(uri.len()));
        Self { mapping }
    }

    /// Opens the file that `uri` stands for; a URI that is not mapped stands for none. `uri` is percent-encoded, and a query
    /// is no part of the name.
    pub(super) fn open(&self, uri: &[u8]) -> Result<Arc<OpenFile>, OpenError> {
        let path = percent::decoded_path(uri);
        for (beginning, directory) in &self.mapping {
            if let Some(below) = path.strip_prefix(&**beginning) {
                return directory.open(Path::new(OsStr::from_bytes(below)));
            }
        }
        Err(OpenError::Refused("its URI is not in ACCEL_MAPPING"))
    }
}

/// The fields of a request that tell the app in which way it may name a file: the line that Rack::Sendfile understands, be
/// it for X-Sendfile, or for X-Accel-Redirect and, as `directory=URI`, which file has which URI.
pub(super) fn offer(mapping: &[(String, PathBuf)]) -> Vec<u8> {
    if mapping.is_empty() {
        return b"x-sendfile-type: X-Sendfile\r\n".to_vec();
    }
    let mut pairs = Vec::new();
    for (uri, directory) in mapping {
        let directory = directory.as_os_str().as_bytes();
        let directory = directory.strip_suffix(b"/").unwrap_or(directory);
        let uri = uri.trim_end_matches('/').as_bytes();
        pairs.push([directory, b"/=", uri, b"/"].concat());
    }
    let mut pairs = pairs.join(&b","[..]);
    // A name with a line's end in it would be another field.
    pairs.retain(|byte| !byte.is_ascii_control());
    let lines: [&[u8]; 4] = [
        b"x-sendfile-type: X-Accel-Redirect\r\n",
        b"x-accel-mapping: ",
        &pairs,
        b"\r\n",
    ];
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Vec<(String, PathBuf)> {
        let of = |uri: &str, directory: &str| (uri.to_owned(), PathBuf::from(directory));
        vec![of("/a", "/proc/self/"), of("/a/deep/", "/proc/self")]
    }

    #[tokio::test(flavor = "local")]
    async fn the_longest_beginning_of_the_decoded_uri_counts() {
        let accel = Accel::new(&mapping());
        for (uri, found) in [
            ("/a/status", true),
            ("/a/deep/status", true),
            ("/a/%73tatus?x=/a", true),
            ("/a/./status", true),
            ("/a", false),
            ("/ab/status", false),
            ("/astatus", false),
            ("/proc/self/status", false),
            ("a/status", false),
            ("/a/../version", false),
            ("/a/%2e%2e/version", false),
            ("/a/..%2fversion", false),
            ("/a/status%00", false),
            ("@status", false),
            ("", false),
        ] {
            assert_eq!(accel.open(uri.as_bytes()).is_ok(), found, "{uri}");
        }
    }

    #[test]
    fn the_offer_is_what_rack_expects() {
        assert_eq!(offer(&[]), b"x-sendfile-type: X-Sendfile\r\n");
        let offered = String::from_utf8(offer(&mapping())).unwrap();
        assert_eq!(
            offered,
            "x-sendfile-type: X-Accel-Redirect\r\nx-accel-mapping: /proc/self/=/a/,/proc/self/=/a/deep/\r\n"
        );
    }
}

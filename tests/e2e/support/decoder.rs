//! Decoders that are not ours: the tools of each coding, and what a browser would show of a part.

use std::{
    env,
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
};

use super::Response;

/// All codings that Thrust speaks, by name.
pub(crate) const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// What Debian's tool makes of something that is whole; with the bytes as they are for no coding.
#[track_caller]
pub(crate) fn decoded(coding: Option<&str>, encoded: &[u8]) -> Vec<u8> {
    let tool = match coding {
        None => return encoded.to_vec(),
        Some("br") => "brotli",
        Some(coding) => coding,
    };
    let mut child = Command::new(tool)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{tool}, which `tools_are_here` found: {error}"));
    let (mut stdin, encoded) = (child.stdin.take().expect("piped"), encoded.to_vec());
    let writing = thread::spawn(move || stdin.write_all(&encoded));
    let output = child.wait_with_output().expect("our child");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool}: {error}");
    let written = writing.join().expect("no panic");
    assert!(written.is_ok(), "{tool} took no more: {written:?}");
    output.stdout
}

/// As much of the content as can be told so far, and whether that is all of it.
pub(crate) fn decoded_so_far(coding: &str, encoded: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    let ended = match coding {
        "zstd" => zstd::stream::read::Decoder::with_buffer(encoded)
            .expect("memory")
            .read_to_end(&mut content),
        "br" => brotli::Decompressor::new(encoded, 4096).read_to_end(&mut content),
        "gzip" => flate2::bufread::GzDecoder::new(encoded).read_to_end(&mut content),
        other => panic!("no coding of ours: {other}"),
    };
    (content, ended.is_ok())
}

impl Response {
    /// The body as it was before it was coded; an error is what is wrong with it.
    pub(crate) fn decoded(&self) -> Result<Vec<u8>, String> {
        match self.field("content-encoding").as_deref() {
            Some(coding) if CODINGS.contains(&coding) && !self.body.is_empty() => {
                let (content, ended) = decoded_so_far(coding, &self.body);
                let broken = || format!("the body is no {coding}");
                ended.then_some(content).ok_or_else(broken)
            }
            _ => Ok(self.body.clone()),
        }
    }
}

/// Whether the tools are here; says so where they are not. With CI set, they must be.
pub(crate) fn tools_are_here() -> bool {
    ["zstd", "brotli", "gzip"].iter().all(|tool| {
        let found = Command::new(tool)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let here = found.as_ref().is_ok_and(std::process::ExitStatus::success);
        if !here {
            assert!(env::var_os("CI").is_none(), "no {tool} here: {found:?}");
            eprintln!("skipped: no {tool} here (Debian has it as `{tool}`)");
        }
        here
    })
}

use std::{
    env, fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

/// The documents of a YAML file; none, with the reason printed, without Ruby.
pub(crate) fn yaml(path: &str) -> Option<Vec<Value>> {
    let started = Command::new("ruby")
        .args([
            "-ryaml",
            "-rjson",
            "-e",
            "puts JSON.dump(YAML.load_stream(STDIN.read))",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut ruby = match started {
        Ok(ruby) => ruby,
        Err(error) if env::var_os("CI").is_some() => panic!("ruby: {error}"),
        Err(error) => {
            eprintln!("SKIPPED: {path}: ruby: {error}");
            return None;
        }
    };
    let mut input = ruby.stdin.take().expect("piped");
    input.write_all(read(path).as_bytes()).expect("Ruby reads");
    drop(input);
    let output = ruby.wait_with_output().expect("Ruby ends");
    assert!(output.status.success(), "{path} is no YAML");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

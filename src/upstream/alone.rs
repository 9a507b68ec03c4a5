//! For tests that change what threads share: dispositions, limits, the duty to reap.

use std::{env, process::Command};

const ALONE: &str = "THRUST_TEST_ALONE";

/// Whether the calling test has a process of its own. If not, runs it again in one, and asserts that it passes there.
///
/// `if !alone(module_path!(), "name_of_the_test") { return; }`
pub(crate) fn alone(module: &str, test: &str) -> bool {
    let path = module.split_once("::").map_or("", |(_, path)| path);
    let test = format!("{path}::{test}");
    if env::var_os(ALONE).is_some_and(|name| *name == *test) {
        return true;
    }
    let ran = Command::new(env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture", "--test-threads=1"])
        .env(ALONE, &test)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(ran.status.success(), "{out}{err}");
    assert!(out.contains("1 passed"), "no such test: {test}");
    false
}

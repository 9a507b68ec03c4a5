//! The practice run of benches/pgo, with the executable under test: its answers are looked at as any.

use std::{path::Path, process::Command};

#[test]
fn every_answer_of_the_practice_is_as_it_should_be() {
    let thrust = env!("CARGO_BIN_EXE_thrust");
    let practice = Path::new(thrust).with_file_name("examples/practice");
    let output = Command::new(practice)
        .arg(thrust)
        .env("TIMES", "1")
        .output()
        .expect("the example is built with the tests");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

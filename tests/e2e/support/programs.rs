//! Programs that tests need and a machine may lack.

use std::{
    env,
    process::{Command, ExitStatus, Stdio},
};

/// Whether a program runs here with these arguments. Where not, the reason is printed; with CI set, it must.
pub(crate) fn is_here(program: &str, arguments: &[&str], package: &str) -> bool {
    let found = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let runs = found.as_ref().is_ok_and(ExitStatus::success);
    if !runs {
        assert!(env::var_os("CI").is_none(), "no {program} here: {found:?}");
        eprintln!(
            "skipped: {program} does not do here what it must (Debian has it as `{package}`)"
        );
    }
    runs
}

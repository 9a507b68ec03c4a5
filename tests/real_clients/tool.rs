//! Programs that may be missing.

use std::{
    env,
    ffi::OsStr,
    process::{Command, Output},
};

/// Whether all of them are here. Each comes with the package that has it.
pub(crate) fn are_here(programs: &[(&str, &str)]) -> bool {
    for (program, package) in programs {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).any(|directory| directory.join(program).is_file());
        if !found {
            assert!(env::var_os("CI").is_none(), "no {program} here");
            eprintln!("skipped: no {program} here (Debian has it as `{package}`)");
            return false;
        }
    }
    true
}

/// What it says on stdout, and that all went well.
#[track_caller]
pub(crate) fn output(program: &str, arguments: &[impl AsRef<OsStr>]) -> String {
    let output = run(program, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program}: {}\n{said}\n{complaint}",
        output.status
    );
    said
}

/// However it ends; it hears nothing on stdin.
pub(crate) fn run(program: &str, arguments: &[impl AsRef<OsStr>]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(std::process::Stdio::null());
    command.output().expect("it is here")
}

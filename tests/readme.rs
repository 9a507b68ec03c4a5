//! What the README says about variables, held against the executable.

use std::{collections::BTreeMap, fs, process::Command};

/// Name and default, as in `thrust --print-config`.
type Variables = BTreeMap<String, String>;

#[test]
fn names_every_variable_with_its_default_and_no_other() {
    assert_eq!(
        documented(),
        known(),
        "left: the README's table, right: thrust --print-config"
    );
}

#[test]
fn speaks_of_no_variable_that_is_not_in_the_table() {
    let known = known();
    let readme = readme();
    let words = readme.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = ["THRUSTER_", "HTTP_", "UPSTREAM_", "TARGET_"];
    for word in words.filter(|word| {
        ours.iter()
            .any(|start| word.starts_with(start) && word != start)
    }) {
        assert!(known.contains_key(word), "{word}");
    }
}

fn documented() -> Variables {
    let cells = |line: &str| {
        line.split('|')
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let readme = readme();
    let rows = readme.lines().map(cells).filter(|cells| cells.len() == 5);
    let variables = rows.filter_map(|cells| {
        let name = cells[1].strip_prefix('`')?.strip_suffix('`')?;
        let is_name = name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let default = if cells[2] == "–" { "" } else { &cells[2] };
        is_name.then(|| (name.to_owned(), default.to_owned()))
    });
    variables.collect()
}

fn known() -> Variables {
    let output = Command::new(env!("CARGO_BIN_EXE_thrust"))
        .arg("--print-config")
        .env_clear()
        .output();
    let printed = String::from_utf8(output.expect("thrust runs").stdout).expect("text");
    let settings = printed
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.split_once('='));
    settings
        .map(|(name, default)| (name.to_owned(), default.to_owned()))
        .collect()
}

fn readme() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md")
}

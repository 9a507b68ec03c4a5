//! What we say about ourselves: `--help`, `--version` and `--print-config`.

use super::{
    args::USAGE,
    given::{Given, Source},
    variables::{GROUPS, Group, PREFIX, rows},
};
use crate::admin::Variable;

/// The longest setting that others are aligned to, in columns.
const WIDEST: usize = 60;

/// The longest name that the help of others is aligned to, in columns.
const WIDEST_NAME: usize = 38;

/// The answer to `--version`.
pub(super) fn version() -> String {
    format!("thrust {}\n", env!("CARGO_PKG_VERSION"))
}

/// The answer to `--help`, made from the table of variables.
pub(super) fn help() -> String {
    // A long name juts out; it does not push all the others' help off the screen.
    let widths = rows().map(|row| row.label().len());
    let width = widths
        .filter(|width| *width <= WIDEST_NAME)
        .max()
        .unwrap_or_default();
    let groups: String = GROUPS.iter().map(|group| help_on(group, width)).collect();
    format!(
        "\
Thrust is a container's ENTRYPOINT: it starts your app, fronts it with an HTTP proxy, and
on a stop signal drains the requests in flight before the app hears of it.

{USAGE}

Variables, with their defaults in brackets. A name without {PREFIX} is read with it too,
and {PREFIX} wins. An empty value counts as unset.
{groups}
Signals:
  TERM, INT, QUIT      close the listener, drain, relay the signal, wait for the app
  INT or QUIT again    relay at once; one more INT kills the app
  HUP, USR1, USR2, ... forwarded to the app

Exit codes:
  the app's own, or 128+n when signal n ended it, or us before the app was started
  64 bad usage or configuration, 1 could not start, 126 not executable, 127 not found
"
    )
}

fn help_on(group: &Group, width: usize) -> String {
    let mut text = format!("\n{}:\n", group.title);
    for row in group.rows {
        text += &format!("  {:width$}  {}", row.label(), row.help);
        if !row.default.is_empty() {
            text += &format!(" [{}]", row.default);
        }
        text.push('\n');
    }
    text
}

/// The answer to `--print-config`: a line for each variable, in the order of `--help`, then the warnings.
pub(super) fn config(given: &[Given], warnings: &[String]) -> String {
    let lines: Vec<_> = variables(given)
        .into_iter()
        .map(|one| (format!("{}={}", one.name, one.value), one.origin))
        .collect();
    // A long path juts out; it does not push all the others off the screen.
    let widths = lines.iter().map(|(setting, _)| setting.chars().count());
    let width = widths
        .filter(|width| *width <= WIDEST)
        .max()
        .unwrap_or_default();
    let lines = lines
        .iter()
        .map(|(setting, origin)| format!("{setting:width$}  ({origin})\n"));
    let warnings = warnings
        .iter()
        .map(|warning| format!("warning: {warning}\n"));
    lines.chain(warnings).collect()
}

/// What may be shown of each variable, in the order of `--help`.
pub(super) fn variables(given: &[Given]) -> Vec<Variable> {
    let variable = |one: &Given| Variable {
        name: one.row.label(),
        value: value(one),
        origin: origin(one),
    };
    given.iter().map(variable).collect()
}

fn value(one: &Given) -> String {
    if one.row.secret && one.source != Source::Default {
        return "(hidden)".to_owned();
    }
    // One line each, whatever a path may hold.
    match one.value.chars().any(char::is_control) {
        true => format!("{:?}", one.value),
        false => one.value.clone(),
    }
}

fn origin(one: &Given) -> String {
    match one.source {
        Source::Default => "default".to_owned(),
        Source::Bare | Source::Prefixed => format!("from {}", one.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_100_columns_and_names_every_variable_once() {
        let help = help();
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        for row in rows() {
            let start = format!("  {} ", row.label());
            assert_eq!(
                help.lines().filter(|line| line.starts_with(&start)).count(),
                1,
                "{start}"
            );
        }
    }

    #[test]
    fn version_is_the_crates() {
        assert_eq!(version(), "thrust 0.1.0\n");
    }
}

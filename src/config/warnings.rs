//! What is odd in the environment but no reason to refuse it: names with our prefix that we do not read.

use super::{
    given::Vars,
    variables::{LATER, PREFIX, rows},
};

/// A name is taken for a slip of another when no more edits than this lie between them.
const SLIP: usize = 3;

/// One line for each, in the order of their names.
pub(super) fn all(vars: &Vars) -> Vec<String> {
    let set = vars.iter().filter(|(_, value)| !value.is_empty());
    set.filter_map(|(name, _)| warning(&name.to_string_lossy()))
        .collect()
}

fn warning(name: &str) -> Option<String> {
    let ours = name.strip_prefix(PREFIX)?;
    if rows().any(|row| row.name == ours) {
        return None;
    }
    if LATER.contains(&ours) {
        return Some(format!("{name} is not supported by this version yet"));
    }
    let guess = nearest(ours).map(|guess| format!("; did you mean {PREFIX}{guess}?"));
    // Whoever chose this name may have put anything into it.
    let name = name.escape_debug();
    Some(format!(
        "{name} is not a variable of ours{}",
        guess.unwrap_or_default()
    ))
}

/// The known name that was most likely meant.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_uppercase();
    let known = rows().map(|row| row.name).chain(LATER.iter().copied());
    // The length alone tells most apart, and bounds the work for a name of any length.
    let near = known.filter(|known| known.len().abs_diff(name.len()) <= SLIP);
    let (edits, guess) = near.map(|known| (distance(known, &name), known)).min()?;
    (edits <= SLIP && edits * 2 < guess.len()).then_some(guess)
}

/// Levenshtein's: how many letters to insert, delete or replace.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn warnings(names: &[&str]) -> Vec<String> {
        all(&names
            .iter()
            .map(|name| (OsString::from(name), OsString::from("1")))
            .collect())
    }

    #[test]
    fn counts_edits() {
        for (from, to, edits) in [
            ("", "", 0),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
            assert_eq!(distance(to, from), edits, "{to} {from}");
        }
    }

    #[test]
    fn guesses_what_was_meant() {
        for (name, guess) in [
            ("THRUSTER_HTP_PORT", "THRUSTER_HTTP_PORT"),
            ("THRUSTER_http_port", "THRUSTER_HTTP_PORT"),
            (
                "THRUSTER_UPSTREAM_STOP_TIMEOUTS",
                "THRUSTER_UPSTREAM_STOP_TIMEOUT",
            ),
            ("THRUSTER_DEBUGG", "THRUSTER_DEBUG"),
            ("THRUSTER_STATUS_PROT", "THRUSTER_STATUS_PORT"),
        ] {
            let expected = format!("{name} is not a variable of ours; did you mean {guess}?");
            assert_eq!(warnings(&[name]), [expected]);
        }
    }

    #[test]
    fn does_not_guess_wildly() {
        for name in [
            "THRUSTER_",
            "THRUSTER_X",
            "THRUSTER_BANANA",
            "THRUSTER_THRUSTER_HTTP_PORT",
        ] {
            assert_eq!(
                warnings(&[name]),
                [format!("{name} is not a variable of ours")]
            );
        }
    }

    #[test]
    fn says_what_this_version_cannot_do() {
        assert_eq!(
            warnings(&["THRUSTER_PROXY_PROTOCOL", "THRUSTER_RATE_LIMIT"]),
            [
                "THRUSTER_PROXY_PROTOCOL is not supported by this version yet",
                "THRUSTER_RATE_LIMIT is not supported by this version yet",
            ]
        );
    }

    #[test]
    fn is_silent_about_what_may_be_the_apps() {
        let bare = [
            "CACHE_SIZE",
            "STATUS_PORT",
            "LOG_FORMAT",
            "HTP_PORT",
            "PATH",
            "THRUSTER",
        ];
        assert!(warnings(&bare).is_empty());
        let empty = [(OsString::from("THRUSTER_NONSENSE"), OsString::new())];
        assert!(all(&empty.into_iter().collect()).is_empty());
    }

    #[test]
    fn writes_an_odd_name_on_one_line() {
        assert_eq!(
            warnings(&["THRUSTER_\n\u{1b}"]),
            ["THRUSTER_\\n\\u{1b} is not a variable of ours"]
        );
    }
}

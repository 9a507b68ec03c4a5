//! The command line: the app's command, or one of three questions about ourselves.

use std::ffi::OsString;

/// How we are called.
pub(super) const USAGE: &str = "\
Usage: thrust <command> [args...]    start the command and front it
       thrust --print-config         print the configuration and where each value came from
       thrust --help | --version";

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To run this command, which is not empty.
    Run(Vec<OsString>),
    Help,
    Version,
    PrintConfig,
}

/// A command line that asks for nothing we do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// Nothing to run.
    #[error("thrust: there is no command to run\n\n{USAGE}")]
    NoCommand,
    /// An option of somebody else's.
    #[error(
        "thrust: {0:?} is not an option of ours; a command that starts with - goes after --\n\n{USAGE}"
    )]
    UnknownOption(OsString),
}

/// Reads the arguments after our own name. Only the first can be ours: all that follows belongs to the command.
pub(super) fn read(args: impl Iterator<Item = OsString>) -> Result<Asked, UsageError> {
    let mut args = args.peekable();
    let first = args.peek().ok_or(UsageError::NoCommand)?;
    match first.as_encoded_bytes() {
        b"--help" | b"-h" => Ok(Asked::Help),
        b"--version" | b"-V" => Ok(Asked::Version),
        b"--print-config" => Ok(Asked::PrintConfig),
        b"--" => command(args.skip(1)),
        [b'-', ..] => Err(UsageError::UnknownOption(first.clone())),
        _ => command(args),
    }
}

fn command(args: impl Iterator<Item = OsString>) -> Result<Asked, UsageError> {
    let command: Vec<_> = args.collect();
    if command.is_empty() {
        Err(UsageError::NoCommand)
    } else {
        Ok(Asked::Run(command))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn asked(args: &[&str]) -> Result<Asked, UsageError> {
        read(args.iter().map(OsString::from))
    }

    fn run(command: &[&str]) -> Result<Asked, UsageError> {
        Ok(Asked::Run(command.iter().map(OsString::from).collect()))
    }

    #[test]
    fn only_the_first_argument_can_be_ours() {
        assert_eq!(asked(&["--help"]), Ok(Asked::Help));
        assert_eq!(asked(&["-h", "x"]), Ok(Asked::Help));
        assert_eq!(asked(&["--version"]), Ok(Asked::Version));
        assert_eq!(asked(&["-V"]), Ok(Asked::Version));
        assert_eq!(asked(&["--print-config"]), Ok(Asked::PrintConfig));
        assert_eq!(
            asked(&["--print-config", "rails", "s"]),
            Ok(Asked::PrintConfig)
        );
        assert_eq!(asked(&["rails", "--help"]), run(&["rails", "--help"]));
        assert_eq!(asked(&["rails", "--", "-V"]), run(&["rails", "--", "-V"]));
    }

    #[test]
    fn one_double_dash_ends_our_options() {
        assert_eq!(asked(&["--", "rails"]), run(&["rails"]));
        assert_eq!(asked(&["--", "--help"]), run(&["--help"]));
        assert_eq!(asked(&["--", "--", "x"]), run(&["--", "x"]));
    }

    #[test]
    fn without_a_command_it_says_how_to_give_one() {
        for args in [&[][..], &["--"]] {
            let error = asked(args).unwrap_err();
            assert_eq!(error, UsageError::NoCommand);
            assert!(error.to_string().contains("Usage: thrust <command>"));
        }
    }

    #[test]
    fn an_unknown_option_is_named() {
        for option in ["-", "-x", "--halp", "---"] {
            let error = asked(&[option, "rails"]).unwrap_err();
            assert_eq!(error, UsageError::UnknownOption(option.into()));
            assert!(error.to_string().contains(&format!("{option:?}")));
        }
    }

    #[test]
    fn a_command_is_any_bytes() {
        let odd = OsString::from_vec(vec![0xff, 0xfe]);
        assert_eq!(read([odd.clone()].into_iter()), Ok(Asked::Run(vec![odd])));
        assert_eq!(asked(&[""]), run(&[""]));
    }
}

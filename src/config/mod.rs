//! What we were told, by the command line and the environment: raw in `Env`, meant in [`Config`].
//!
//! Pure: it neither reads the process's own environment nor exits. `main` comes in with both, and hands each wing its
//! own settings.

mod advice;
mod args;
mod contradictions;
mod env;
mod given;
mod meant;
mod print;
mod problem;
mod shares;
mod values;
mod variables;
mod warnings;

use std::ffi::OsString;

use self::{
    args::Asked,
    env::Env,
    given::{Given, Vars},
};
pub use self::{
    args::UsageError,
    meant::{Config, Lifecycle, Log},
    problem::Problem,
};

/// What `main` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one in a process's life"
)]
pub enum Invocation {
    /// Run the service.
    Run(Config),
    /// Print this, which ends with a newline, and exit with 0.
    Print(String),
}

/// Why there is no [`Config`]; the text is all that `main` has to print.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A command line that asks for nothing we do.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// Variables that cannot be used, each of them.
    #[error("{}", list(.0))]
    Variables(Vec<Problem>),
}

/// Reads the arguments (without our own name) and the environment.
///
/// # Errors
///
/// A command line that cannot be read, or all variables that cannot be used; `--help` and `--version`
/// work in any environment.
pub fn from(
    args: impl Iterator<Item = OsString>,
    vars: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Invocation, ConfigError> {
    match args::read(args)? {
        Asked::Help => Ok(Invocation::Print(print::help())),
        Asked::Version => Ok(Invocation::Print(print::version())),
        Asked::PrintConfig => print_config(&collect(vars)).map(Invocation::Print),
        Asked::Run(command) => run(command, &collect(vars)).map(Invocation::Run),
    }
}

/// The environment by name; of a name that stands twice the first counts, as for getenv(3).
fn collect(vars: impl Iterator<Item = (OsString, OsString)>) -> Vars {
    let mut first = Vars::new();
    for (name, value) in vars {
        first.entry(name).or_insert(value);
    }
    first
}

fn print_config(vars: &Vars) -> Result<String, ConfigError> {
    let given = given::all(vars).map_err(ConfigError::Variables)?;
    Ok(print::config(&given, &remarks(vars, &given)))
}

fn run(command: Vec<OsString>, vars: &Vars) -> Result<Config, ConfigError> {
    let given = given::all(vars).map_err(ConfigError::Variables)?;
    let env = Env::read(&given).map_err(|error| ConfigError::Variables(vec![error.into()]))?;
    let variables = print::variables(&given);
    let remarks = remarks(vars, &given);
    Ok(Config::new(command, env, variables, remarks))
}

/// What is worth a word, but no reason not to run.
fn remarks(vars: &Vars, given: &[Given]) -> Vec<String> {
    let mut remarks = warnings::all(vars);
    remarks.extend(advice::all(vars, given));
    remarks
}

fn list(problems: &[Problem]) -> String {
    let lines: String = problems
        .iter()
        .map(|problem| format!("\n  {problem}"))
        .collect();
    format!("thrust: the environment cannot be used:{lines}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn told(args: &[&str], vars: &[(&str, &str)]) -> Result<Invocation, ConfigError> {
        let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
        from(args.iter().map(OsString::from), vars)
    }

    fn config(vars: &[(&str, &str)]) -> Config {
        match told(&["rails", "server"], vars) {
            Ok(Invocation::Run(config)) => config,
            other => panic!("{other:?}"),
        }
    }

    fn printed(args: &[&str], vars: &[(&str, &str)]) -> String {
        match told(args, vars) {
            Ok(Invocation::Print(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn warnings_do_not_keep_it_from_running() {
        let config = config(&[("THRUSTER_HTP_PORT", "1"), ("THRUSTER_NONSENSE", "1")]);
        assert_eq!(config.warnings.len(), 2);
    }

    #[test]
    fn questions_about_ourselves_need_no_good_environment() {
        let bad = [("HTTP_PORT", "x")];
        assert!(printed(&["--help"], &bad).contains("Usage: thrust <command>"));
        assert_eq!(printed(&["--version"], &bad), "thrust 0.1.0\n");
    }

    #[test]
    fn prints_each_value_and_where_it_came_from() {
        let vars = [
            ("THRUSTER_HTTP_PORT", "8080"),
            ("BAD_GATEWAY_PAGE", ""),
            ("THRUSTER_TARGET_SOCKET", "/a\nb"),
            ("THRUSTER_HTP_PORT", "1"),
        ];
        let text = printed(&["--print-config", "rails"], &vars);
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        let words = |start| line(start).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            words("HTTP_PORT"),
            "HTTP_PORT=8080 (from THRUSTER_HTTP_PORT)"
        );
        assert_eq!(words("TARGET_PORT"), "TARGET_PORT=3000 (default)");
        assert_eq!(
            words("BAD_GATEWAY"),
            "BAD_GATEWAY_PAGE= (from BAD_GATEWAY_PAGE)"
        );
        assert_eq!(words("THRUSTER_STOP"), "THRUSTER_STOP_SIGNAL= (default)");
        let socket = r#"THRUSTER_TARGET_SOCKET="/a\nb" (from THRUSTER_TARGET_SOCKET)"#;
        assert_eq!(words("THRUSTER_TARGET_S"), socket);
        assert_eq!(line("HTTP_PORT").find('('), line("TARGET_PORT").find('('));
        assert!(
            text.ends_with("did you mean THRUSTER_HTTP_PORT?\n"),
            "{text}"
        );
    }

    #[test]
    fn prints_no_secret_and_the_default_that_is_in_force() {
        let line = |vars: &[(&str, &str)], start: &str| {
            let text = printed(&["--print-config"], vars);
            assert!(!text.contains("c2VjcmV0"), "{text}");
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let eab = [("EAB_KID", "k"), ("THRUSTER_EAB_HMAC_KEY", "c2VjcmV0")];
        assert_eq!(
            line(&eab, "EAB_HMAC"),
            "EAB_HMAC_KEY=(hidden) (from THRUSTER_EAB_HMAC_KEY)"
        );
        assert_eq!(line(&[], "EAB_HMAC"), "EAB_HMAC_KEY= (default)");
        assert_eq!(line(&[], "FORWARD"), "FORWARD_HEADERS=1 (default)");
        let tls = [("TLS_DOMAIN", "a.example")];
        assert_eq!(line(&tls, "FORWARD"), "FORWARD_HEADERS=0 (default)");
        let introduced = ("THRUSTER_PROXY_PROTOCOL", "1");
        assert_eq!(
            line(&[introduced], "FORWARD"),
            "FORWARD_HEADERS=0 (default)"
        );
        let trusted = ("THRUSTER_TRUSTED_PROXIES", "10.0.0.0/8");
        let known = [tls[0], introduced, trusted];
        assert_eq!(line(&known, "FORWARD"), "FORWARD_HEADERS=1 (default)");
        let Ok(Invocation::Run(config)) = told(&["rails"], &[eab[0], eab[1], tls[0]]) else {
            panic!("it runs");
        };
        assert!(
            !format!("{config:?}").contains("115, 101, 99"),
            "secret, in numbers"
        );
    }

    #[test]
    fn prints_errors_instead_of_a_configuration() {
        let vars = [("HTTP_PORT", "x"), ("THRUSTER_STOP_SIGNAL", "y")];
        for args in [&["--print-config"][..], &["rails"]] {
            let text = told(args, &vars).unwrap_err().to_string();
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines[0], "thrust: the environment cannot be used:");
            assert!(
                lines[1].starts_with("  HTTP_PORT=\"x\": expected a port"),
                "{text}"
            );
            assert!(
                lines[2].starts_with("  THRUSTER_STOP_SIGNAL=\"y\": expected"),
                "{text}"
            );
            assert_eq!(lines.len(), 3);
        }
    }

    #[test]
    fn of_a_name_that_stands_twice_the_first_counts() {
        assert_eq!(
            config(&[("HTTP_PORT", "1"), ("HTTP_PORT", "2")])
                .server
                .http_port,
            1
        );
    }

    fn bytes() -> impl Strategy<Value = OsString> {
        vec(any::<u8>(), 0..40).prop_map(OsString::from_vec)
    }

    fn names() -> impl Strategy<Value = OsString> {
        let prefixed = bytes().prop_map(|rest| {
            let mut name = OsString::from(variables::PREFIX);
            name.push(rest);
            name
        });
        let rows: Vec<_> = variables::rows().collect();
        let ours = proptest::sample::select(rows).prop_map(|row| row.prefixed().into());
        prop_oneof![bytes(), prefixed, ours]
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(args in vec(bytes(), 0..4), vars in vec((names(), bytes()), 0..20)) {
            for first in [None, Some("--print-config"), Some("x")] {
                let args = first.map(OsString::from).into_iter().chain(args.clone());
                let text = match from(args, vars.clone().into_iter()) {
                    Ok(Invocation::Run(config)) => config.warnings.concat(),
                    Ok(Invocation::Print(text)) => text,
                    Err(error) => error.to_string(),
                };
                prop_assert!(!text.contains('\u{1b}'), "a control character gets through: {text:?}");
            }
        }
    }
}

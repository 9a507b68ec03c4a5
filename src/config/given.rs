//! What the environment gives for each variable, and under which name: the prefix wins, empty counts as unset.
//!
//! Done before envy sees anything, because envy stops at the first error, forgets the prefix, panics on a foreign
//! variable that is not UTF-8 and takes `a` and `A` for the same name.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use super::{
    contradictions,
    problem::Problem,
    shares::Shares,
    values::{Kind, Limit, Seconds},
    variables::{self, FORWARD_HEADERS, Row},
};

/// The environment: names and values of whatever bytes, ours and others'.
pub(super) type Vars = BTreeMap<OsString, OsString>;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nobody set it.
    Default,
    /// The name alone, which may have been meant for the app.
    Bare,
    /// The name with the prefix.
    Prefixed,
}

/// A variable with the value that counts.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) row: &'static Row,
    pub(super) value: String,
    pub(super) source: Source,
}

/// Every variable of the table, each with a value of its kind or the default.
///
/// # Errors
///
/// All problems at once.
pub(super) fn all(vars: &Vars) -> Result<Vec<Given>, Vec<Problem>> {
    let mut given = Vec::new();
    let mut problems = Vec::new();
    for row in variables::rows() {
        match Given::read(row, vars) {
            Ok(one) => given.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    settle_forward_headers(&mut given);
    problems.extend(contradictions::all(&given));
    problems.extend(too_short(&given));
    if problems.is_empty() {
        Ok(given)
    } else {
        Err(problems)
    }
}

/// With TLS, or the PROXY protocol, we are the first to hear the client, and what it says of others before us is made up;
/// unless we know whom to believe.
fn settle_forward_headers(given: &mut [Given]) {
    let first = contradictions::hears_first(given);
    let forward = given
        .iter_mut()
        .find(|one| one.row.name == FORWARD_HEADERS && one.source == Source::Default);
    if let (Some(forward), true) = (forward, first) {
        forward.value = "0".to_owned();
    }
}

impl Given {
    fn read(row: &'static Row, vars: &Vars) -> Result<Self, Problem> {
        let (source, value) = find(row, vars);
        match value.to_str() {
            // A default is known to be good, and where it is none it is not of the kind.
            Some(text) if source == Source::Default || (row.accepts)(text) => Ok(Self {
                row,
                value: text.to_owned(),
                source,
            }),
            _ => Err(Problem::Refused {
                name: source.name(row),
                value: if row.secret {
                    "(hidden)".into()
                } else {
                    value.to_owned()
                },
                expects: row.expects,
                overridden_by: (source == Source::Bare).then(|| row.prefixed()),
            }),
        }
    }

    /// The name it was read from; by default, the one to set.
    pub(super) fn name(&self) -> String {
        self.source.name(self.row)
    }
}

impl Source {
    fn name(self, row: &Row) -> String {
        match self {
            Self::Default => row.label(),
            Self::Bare => row.name.to_owned(),
            Self::Prefixed => row.prefixed(),
        }
    }
}

/// The value that counts. An empty one falls through to the next source, so an empty prefixed name does not hide a
/// bare one that is set.
fn find<'a>(row: &Row, vars: &'a Vars) -> (Source, &'a OsStr) {
    let set = |name: &str| {
        let value = vars.get(OsStr::new(name))?.as_os_str();
        (!value.is_empty() || (row.accepts)("")).then_some(value)
    };
    if let Some(value) = set(&row.prefixed()) {
        return (Source::Prefixed, value);
    }
    let bare = if row.bare { set(row.name) } else { None };
    match bare {
        Some(value) if !is_the_apps(row, value) => (Source::Bare, value),
        _ => (Source::Default, OsStr::new(row.default)),
    }
}

/// `DEBUG=app:*` is how many an app is told what to log.
fn is_the_apps(row: &Row, value: &OsStr) -> bool {
    row.name == "DEBUG" && !value.to_str().is_some_and(row.accepts)
}

/// Whether what belongs to a stop does not fit into `SHUTDOWN_TIMEOUT`.
fn too_short(given: &[Given]) -> Option<Problem> {
    let find = |name| given.iter().find(|one| one.row.name == name);
    let total = find("SHUTDOWN_TIMEOUT")?;
    let shares = Shares {
        total: Limit::parse(&total.value)??,
        delay: Seconds::parse(&find("HTTP_DRAIN_DELAY")?.value)?,
        stop: Limit::parse(&find("UPSTREAM_STOP_TIMEOUT")?.value)?,
    };
    shares.drain().is_none().then(|| Problem::TooShort {
        name: total.name(),
        shares,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vars {
        pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// The value and the source of one variable.
    fn given(name: &str, pairs: &[(&str, &str)]) -> (String, Source) {
        let all = all(&vars(pairs)).unwrap();
        let one = all.into_iter().find(|one| one.row.name == name).unwrap();
        (one.value, one.source)
    }

    fn problems(vars: &Vars) -> Vec<String> {
        let problems = all(vars).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_prefix_wins() {
        let both = [("HTTP_PORT", "1"), ("THRUSTER_HTTP_PORT", "2")];
        assert_eq!(given("HTTP_PORT", &both), ("2".into(), Source::Prefixed));
        assert_eq!(given("HTTP_PORT", &both[..1]), ("1".into(), Source::Bare));
        assert_eq!(given("HTTP_PORT", &[]), ("80".into(), Source::Default));
    }

    #[test]
    fn a_bad_bare_value_is_no_problem_under_a_good_prefixed_one() {
        let both = [
            ("HTTP_PORT", "tcp://10.0.0.1:80"),
            ("THRUSTER_HTTP_PORT", "2"),
        ];
        assert_eq!(given("HTTP_PORT", &both), ("2".into(), Source::Prefixed));
    }

    #[test]
    fn what_may_be_the_apps_is_read_only_with_the_prefix() {
        let bare = [("STOP_SIGNAL", "nonsense"), ("MAX_CONNECTIONS", "9")];
        assert_eq!(
            given("STOP_SIGNAL", &bare),
            (String::new(), Source::Default)
        );
        assert_eq!(
            given("MAX_CONNECTIONS", &bare),
            ("0".into(), Source::Default)
        );
        for name in ["HTTP_DRAIN_TIMEOUT", "HTTP_DRAIN_DELAY"] {
            assert_eq!(given(name, &[(name, "9")]), ("9".into(), Source::Bare));
        }
    }

    #[test]
    fn empty_counts_as_unset() {
        let both = [("HTTP_PORT", "1"), ("THRUSTER_HTTP_PORT", "")];
        assert_eq!(given("HTTP_PORT", &both), ("1".into(), Source::Bare));
        assert_eq!(
            given("HTTP_PORT", &both[1..]),
            ("80".into(), Source::Default)
        );
        assert_eq!(
            given("TARGET_SOCKET", &[("THRUSTER_TARGET_SOCKET", "")]).1,
            Source::Default
        );
    }

    #[test]
    fn an_empty_page_is_set() {
        let both = [
            ("BAD_GATEWAY_PAGE", "a.html"),
            ("THRUSTER_BAD_GATEWAY_PAGE", ""),
        ];
        assert_eq!(
            given("BAD_GATEWAY_PAGE", &both),
            (String::new(), Source::Prefixed)
        );
        assert_eq!(
            given("BAD_GATEWAY_PAGE", &[("BAD_GATEWAY_PAGE", "")]),
            (String::new(), Source::Bare)
        );
    }

    #[test]
    fn only_a_boolean_debug_is_ours() {
        assert_eq!(
            given("DEBUG", &[("DEBUG", "app:*")]),
            ("0".into(), Source::Default)
        );
        assert_eq!(
            given("DEBUG", &[("DEBUG", "T")]),
            ("T".into(), Source::Bare)
        );
        let foreign = [("DEBUG".into(), OsString::from_vec(vec![0xff]))];
        assert!(all(&foreign.into_iter().collect()).is_ok());
        let ours = vars(&[("THRUSTER_DEBUG", "app:*")]);
        assert_eq!(
            problems(&ours),
            ["THRUSTER_DEBUG=\"app:*\": expected 1 or 0 (or true, false, t, f)"]
        );
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let vars = vars(&[
            ("HTTP_PORT", "tcp://10.0.0.1:80"),
            ("THRUSTER_TARGET_PORT", "0"),
            ("THRUSTER_STOP_SIGNAL", "FOO"),
        ]);
        assert_eq!(
            problems(&vars),
            [
                "THRUSTER_TARGET_PORT=\"0\": expected a port, from 1 to 65535",
                "HTTP_PORT=\"tcp://10.0.0.1:80\": expected a port, from 0 (any that is free) to 65535 \
                 (THRUSTER_HTTP_PORT overrides it)",
                "THRUSTER_STOP_SIGNAL=\"FOO\": expected a signal, such as TERM, SIGTERM or 15",
            ]
        );
    }

    #[test]
    fn only_our_own_variables_need_to_be_utf_8() {
        let odd = || OsString::from_vec(vec![b'a', 0xff]);
        assert!(
            all(&[("APPS".into(), odd()), (odd(), odd())]
                .into_iter()
                .collect())
            .is_ok()
        );
        assert_eq!(
            problems(
                &[("THRUSTER_TARGET_SOCKET".into(), odd())]
                    .into_iter()
                    .collect()
            ),
            [
                "THRUSTER_TARGET_SOCKET=\"a\\xFF\": expected the path of a unix socket, at most 107 bytes long"
            ]
        );
    }

    #[test]
    fn the_apps_port_cannot_be_ours() {
        let same = |pairs: &[(&str, &str)]| problems(&vars(pairs));
        assert_eq!(
            same(&[
                ("THRUSTER_HTTP_PORT", "3000"),
                ("THRUSTER_STOP_SIGNAL", "X")
            ]),
            [
                "THRUSTER_STOP_SIGNAL=\"X\": expected a signal, such as TERM, SIGTERM or 15",
                "THRUSTER_HTTP_PORT and TARGET_PORT are both 3000: expected two different ports",
            ]
        );
        assert_eq!(
            same(&[("HTTP_PORT", "9"), ("THRUSTER_TARGET_PORT", "09")]),
            [
                "HTTP_PORT and THRUSTER_TARGET_PORT are both 9: expected two different ports \
              (THRUSTER_HTTP_PORT overrides it)"
            ]
        );
        assert!(same(&[("HTTP_PORT", "3000"), ("THRUSTER_TARGET_SOCKET", "s")]).is_empty());
        assert!(same(&[("HTTP_PORT", "0")]).is_empty());
    }

    #[test]
    fn no_two_ports_are_equal_with_tls() {
        let same = |pairs: &[(&str, &str)]| {
            let tls = [&[("TLS_DOMAIN", "a.example"), ("HTTP_PORT", "80")], pairs].concat();
            (problems(&vars(pairs)), problems(&vars(&tls)))
        };
        let (plain, tls) = same(&[("THRUSTER_HTTPS_PORT", "80")]);
        assert!(plain.is_empty());
        assert_eq!(
            tls,
            [
                "HTTP_PORT and THRUSTER_HTTPS_PORT are both 80: expected two different ports \
              (THRUSTER_HTTP_PORT overrides it)"
            ]
        );
        let (plain, tls) = same(&[("THRUSTER_HTTPS_PORT", "3000")]);
        assert!(plain.is_empty());
        assert_eq!(
            tls,
            ["THRUSTER_HTTPS_PORT and TARGET_PORT are both 3000: expected two different ports"]
        );
        let zero = [
            ("TLS_DOMAIN", "a.example"),
            ("HTTP_PORT", "0"),
            ("HTTPS_PORT", "0"),
        ];
        assert!(problems(&vars(&zero)).is_empty());
    }

    #[test]
    fn forward_headers_are_off_with_tls_unless_somebody_turns_them_on() {
        let forward = |pairs: &[(&str, &str)]| given("FORWARD_HEADERS", pairs);
        assert_eq!(forward(&[]), ("1".into(), Source::Default));
        for tls in [("TLS_DOMAIN", "a.example"), ("THRUSTER_TLS_LOCAL", "1")] {
            assert_eq!(forward(&[tls]), ("0".into(), Source::Default));
            assert_eq!(
                forward(&[tls, ("FORWARD_HEADERS", "1")]),
                ("1".into(), Source::Bare)
            );
        }
    }

    #[test]
    fn a_secret_is_not_in_its_own_error_message() {
        assert_eq!(
            problems(&vars(&[("EAB_HMAC_KEY", "se cret"), ("EAB_KID", "k")])),
            [
                "EAB_HMAC_KEY=\"(hidden)\": expected a key in base64url (THRUSTER_EAB_HMAC_KEY overrides it)"
            ]
        );
    }

    /// Our names, bare and with the prefix.
    fn names() -> Vec<String> {
        variables::rows()
            .flat_map(|row| [row.name.to_owned(), row.prefixed()])
            .collect()
    }

    fn bytes() -> impl Strategy<Value = OsString> {
        vec(any::<u8>(), 0..12).prop_map(OsString::from_vec)
    }

    #[test]
    fn a_time_for_a_stop_that_is_too_short_is_named_with_the_sum() {
        let delay = |delay| {
            vars(&[
                ("THRUSTER_SHUTDOWN_TIMEOUT", "10"),
                ("HTTP_DRAIN_DELAY", delay),
            ])
        };
        assert!(problems(&delay("4")).is_empty());
        assert_eq!(
            problems(&delay("5")),
            [
                "THRUSTER_SHUTDOWN_TIMEOUT=10: too short: HTTP_DRAIN_DELAY 5 s + the app's share 5 s + 1 s for the exit = 11 s, \
              which is more than 10 s"
            ]
        );
    }

    proptest! {
        #[test]
        fn each_bad_variable_is_named_exactly_once(
            vars in proptest::collection::btree_map(
                select(names()).prop_map(OsString::from),
                prop_oneof![bytes(), "[0-9]{1,3}".prop_map(OsString::from)],
                0..20,
            ),
        ) {
            // That what is good each by itself does not fit together is another matter.
            let mut problems = problems(&vars);
            problems.retain(|line| !line.contains(": too short: "));
            for row in variables::rows() {
                let (source, value) = find(row, &vars);
                let good = source == Source::Default || value.to_str().is_some_and(row.accepts);
                for name in [row.name.to_owned(), row.prefixed()] {
                    let bad = usize::from(!good && name == source.name(row));
                    let start = format!("{name}=");
                    let named = problems.iter().filter(|line| line.starts_with(&start)).count();
                    prop_assert_eq!(named, bad, "{} in {:?}", name, problems);
                }
            }
        }

        #[test]
        fn a_set_prefixed_name_always_wins(row in select(variables::rows().collect::<Vec<_>>()), bare in bytes()) {
            let value = if row.default.is_empty() { "7" } else { row.default };
            let vars: Vars = [(row.name.into(), bare), (row.prefixed().into(), value.into())].into();
            prop_assert_eq!(find(row, &vars), (Source::Prefixed, OsStr::new(value)));
        }
    }
}

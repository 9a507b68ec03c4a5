//! What no two variables may say together.
//!
//! Each value by itself is of its kind by now; those that are not are missing from the list.

use super::{
    given::{Given, Source},
    problem::Problem,
    values::{ConnectPort, Domains, Kind, ListenPort, Switch},
};
use crate::tls::Domain;

/// Each contradiction, in no order.
pub(super) fn all(given: &[Given]) -> Vec<Problem> {
    let given = Values(given);
    let ports = given.same_ports();
    let pairs = [
        given.lacks("TLS_CERTIFICATE_PATH", "TLS_PRIVATE_KEY_PATH"),
        given.lacks("TLS_PRIVATE_KEY_PATH", "TLS_CERTIFICATE_PATH"),
        given.lacks("EAB_KID", "EAB_HMAC_KEY"),
        given.lacks("EAB_HMAC_KEY", "EAB_KID"),
        given.lacks("STATUS_BIND", "STATUS_PORT"),
        given.two_sources(),
        given.same_socket(),
    ];
    let domains = given.not_by_acme();
    ports
        .chain(pairs.into_iter().flatten())
        .chain(domains)
        .collect()
}

/// Whether HTTPS is served.
pub(super) fn has_tls(given: &[Given]) -> bool {
    let given = Values(given);
    given.is_set("TLS_DOMAIN") || given.is_set("TLS_CERTIFICATE_PATH") || given.is_local()
}

/// All values that are of their kind.
#[derive(Clone, Copy)]
struct Values<'a>(&'a [Given]);

impl<'a> Values<'a> {
    fn find(self, name: &str) -> Option<&'a Given> {
        self.0.iter().find(|one| one.row.name == name)
    }

    fn is_set(self, name: &str) -> bool {
        self.find(name)
            .is_some_and(|one| one.source != Source::Default)
    }

    fn is_local(self) -> bool {
        let local = self.find("TLS_LOCAL");
        local.and_then(|one| Switch::parse(&one.value)) == Some(true)
    }

    /// `name` is set, and `other`, without which it means nothing, is not. One that is set but unusable is a problem of
    /// its own.
    fn lacks(self, name: &str, other: &str) -> Option<Problem> {
        let (one, other) = (self.find(name)?, self.find(other)?);
        let alone = one.source != Source::Default && other.source == Source::Default;
        alone.then(|| Problem::Lacks {
            name: one.name(),
            needs: other.name(),
        })
    }

    fn two_sources(self) -> Option<Problem> {
        let (local, files) = (self.find("TLS_LOCAL")?, self.find("TLS_CERTIFICATE_PATH")?);
        (self.is_local() && files.source != Source::Default).then(|| Problem::Excludes {
            name: local.name(),
            other: files.name(),
        })
    }

    /// The app's socket and ours for commands.
    fn same_socket(self) -> Option<Problem> {
        let (control, target) = (self.find("CONTROL_SOCKET")?, self.find("TARGET_SOCKET")?);
        let same = control.source != Source::Default && control.value == target.value;
        same.then(|| Problem::SameSocket {
            name: control.name(),
            other: target.name(),
        })
    }

    /// An ACME directory asks the name itself, so there must be one: no wildcard, no address.
    fn not_by_acme(self) -> impl Iterator<Item = Problem> {
        let acme = !self.is_local() && !self.is_set("TLS_CERTIFICATE_PATH");
        let domains = self.find("TLS_DOMAIN").filter(|_| acme);
        let unfit = domains.into_iter().flat_map(|one| {
            let domains = Domains::parse(&one.value).unwrap_or_default();
            let unfit = domains.into_iter().filter(|domain| !domain.is_exact());
            unfit.map(|domain: Domain| Problem::NotByAcme {
                name: one.name(),
                domain: domain.to_string(),
            })
        });
        unfit.collect::<Vec<_>>().into_iter()
    }

    /// Ports on which two would listen; a port of 0 becomes another one, a socket needs none.
    fn same_ports(self) -> impl Iterator<Item = Problem> {
        let http = self.find("HTTP_PORT");
        let https = self.find("HTTPS_PORT").filter(|_| has_tls(self.0));
        let target = self
            .find("TARGET_PORT")
            .filter(|_| self.find("TARGET_SOCKET").is_some() && !self.is_set("TARGET_SOCKET"));
        let status = self
            .find("STATUS_PORT")
            .filter(|one| one.source != Source::Default);
        let pairs = [
            (http, https),
            (http, target),
            (https, target),
            (http, status),
            (https, status),
            (status, target),
        ];
        pairs
            .into_iter()
            .filter_map(|(one, other)| same_port(one?, other?))
    }
}

fn same_port(one: &Given, other: &Given) -> Option<Problem> {
    let port = ListenPort::parse(&one.value)?;
    if ConnectPort::parse(&other.value) != Some(port) {
        return None;
    }
    let bare = [one, other]
        .into_iter()
        .find(|one| one.source == Source::Bare);
    Some(Problem::SamePort {
        one: one.name(),
        other: other.name(),
        port,
        overridden_by: bare.map(|one| one.row.prefixed()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::given;

    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        let vars = pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        let problems = given::all(&vars.collect()).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_comes_in_pairs_does_not_come_alone() {
        let certificate = ("THRUSTER_TLS_CERTIFICATE_PATH", "/c");
        let key = ("THRUSTER_TLS_PRIVATE_KEY_PATH", "/k");
        let (kid, hmac) = (("EAB_KID", "k"), ("THRUSTER_EAB_HMAC_KEY", "AAAA"));
        for (pairs, expected) in [
            (
                [certificate, kid],
                [
                    "THRUSTER_TLS_CERTIFICATE_PATH is set, but THRUSTER_TLS_PRIVATE_KEY_PATH is not",
                    "EAB_KID is set, but EAB_HMAC_KEY is not",
                ],
            ),
            (
                [key, hmac],
                [
                    "THRUSTER_TLS_PRIVATE_KEY_PATH is set, but THRUSTER_TLS_CERTIFICATE_PATH is not",
                    "THRUSTER_EAB_HMAC_KEY is set, but EAB_KID is not",
                ],
            ),
        ] {
            assert_eq!(problems(&pairs), expected);
        }
        assert!(problems(&[certificate, key, kid, hmac]).is_empty());
    }

    #[test]
    fn two_do_not_listen_on_one_socket() {
        let one = ("THRUSTER_CONTROL_SOCKET", "/run/a");
        let said = "THRUSTER_CONTROL_SOCKET and THRUSTER_TARGET_SOCKET name the same socket; each needs its own";
        assert_eq!(
            problems(&[one, ("THRUSTER_TARGET_SOCKET", "/run/a")]),
            [said]
        );
        assert!(problems(&[one, ("THRUSTER_TARGET_SOCKET", "/run/b")]).is_empty());
    }

    #[test]
    fn the_status_port_is_nobody_elses() {
        let both = |name: &str, port: &str| {
            problems(&[
                ("THRUSTER_STATUS_PORT", port),
                (name, port),
                ("TLS_DOMAIN", "a.example"),
            ])
        };
        for (name, one, other) in [
            (
                "THRUSTER_HTTP_PORT",
                "THRUSTER_HTTP_PORT",
                "THRUSTER_STATUS_PORT",
            ),
            (
                "THRUSTER_HTTPS_PORT",
                "THRUSTER_HTTPS_PORT",
                "THRUSTER_STATUS_PORT",
            ),
            (
                "THRUSTER_TARGET_PORT",
                "THRUSTER_STATUS_PORT",
                "THRUSTER_TARGET_PORT",
            ),
        ] {
            let expected = format!("{one} and {other} are both 9: expected two different ports");
            assert_eq!(both(name, "9"), [expected]);
        }
        assert!(both("HTTP_PORT", "0").is_empty());
    }

    #[test]
    fn an_address_for_no_port_is_a_mistake() {
        assert_eq!(
            problems(&[("THRUSTER_STATUS_BIND", "127.0.0.1")]),
            ["THRUSTER_STATUS_BIND is set, but THRUSTER_STATUS_PORT is not"]
        );
    }

    #[test]
    fn certificates_come_from_one_source() {
        assert_eq!(
            problems(&[
                ("THRUSTER_TLS_LOCAL", "1"),
                ("THRUSTER_TLS_CERTIFICATE_PATH", "/c"),
                ("THRUSTER_TLS_PRIVATE_KEY_PATH", "/k"),
            ]),
            [
                "THRUSTER_TLS_LOCAL and THRUSTER_TLS_CERTIFICATE_PATH exclude each other: certificates come from one source"
            ]
        );
    }

    #[test]
    fn acme_certifies_names_and_nothing_else() {
        let odd = ("TLS_DOMAIN", "a.example,*.a.example,127.0.0.1");
        let why = "by ACME, over HTTP-01 and TLS-ALPN-01, only single names can be certified; \
                   set THRUSTER_TLS_CERTIFICATE_PATH for others";
        assert_eq!(
            problems(&[odd]),
            [
                format!("TLS_DOMAIN holds *.a.example: {why}"),
                format!("TLS_DOMAIN holds 127.0.0.1: {why}"),
            ]
        );
        assert!(problems(&[odd, ("THRUSTER_TLS_LOCAL", "1")]).is_empty());
    }
}

//! Whom a certificate is for; pure.

use std::{fmt, net::IpAddr};

/// A name as it stands in TLS_DOMAIN or in a certificate, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// One host.
    Exact(String),
    /// All hosts one label below this; RFC 6125 section 6.4.3.
    Below(String),
    /// An address.
    Address(IpAddr),
}

impl Domain {
    /// Reads a host name, a wildcard or an address; none when it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, &*text),
        };
        if !is_host_name(name) {
            return None;
        }
        let name = name.to_owned();
        Some(if wildcard {
            Self::Below(name)
        } else {
            Self::Exact(name)
        })
    }

    /// Whether it is the name of one host.
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// Whether `host`, a name in lower case or an address without brackets, is meant.
    pub fn covers(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            Self::Address(address) => host.parse() == Ok(*address),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Labels of letters, digits, hyphens and underscores (RFC 1034 section 3.5, and what people do). It becomes the name of a
/// file, so it must not be able to leave a directory.
fn is_host_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-')
    };
    let numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(label) && !numeric
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_wildcards_and_addresses_are_told_apart() {
        let exact = |name: &str| Some(Domain::Exact(name.into()));
        for (text, domain) in [
            ("example.com", exact("example.com")),
            ("Example.COM.", exact("example.com")),
            ("xn--bcher-kva.example", exact("xn--bcher-kva.example")),
            ("localhost", exact("localhost")),
            ("*.example.com", Some(Domain::Below("example.com".into()))),
            ("127.0.0.1", Some(Domain::Address([127, 0, 0, 1].into()))),
            ("::1", Some(Domain::Address("::1".parse().unwrap()))),
            ("", None),
            (".", None),
            ("*", None),
            ("*.", None),
            ("a..b", None),
            ("*.*.a", None),
            ("a.*.b", None),
            ("-a.b", None),
            ("a/b", None),
            ("a:1", None),
            ("a b", None),
            ("1.2.3.256", None),
            ("b\u{fc}cher.example", None),
            ("https://example.com", None),
        ] {
            assert_eq!(Domain::parse(text), domain, "{text:?}");
        }
        assert_eq!(Domain::parse(&"a".repeat(64)), None);
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let covers = |domain: &str, host| Domain::parse(domain).unwrap().covers(host);
        assert!(covers("*.example.com", "a.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("*.example.com", "a.b.example.com"));
        assert!(!covers("*.example.com", ".example.com"));
        assert!(covers("example.com", "example.com"));
        assert!(!covers("example.com", "a.example.com"));
        assert!(covers("::1", "0:0::1"));
        assert!(!covers("127.0.0.1", "127.0.0.2"));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(text in "[*.a-zA-Z0-9:_-]{0,12}") {
            if let Some(domain) = Domain::parse(&text) {
                let printed = domain.to_string();
                prop_assert_eq!(Domain::parse(&printed), Some(domain));
                prop_assert!(!printed.contains('/') && printed != ".." && !printed.is_empty());
            }
        }
    }
}

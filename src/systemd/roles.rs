//! Which of a socket unit's sockets is which of our ports; pure.

/// One of our front ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Http,
    Https,
}

/// Why a socket is none of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// HTTPS without certificates.
    #[error(
        "socket {number} of LISTEN_FDS is for HTTPS, but there is no TLS; set TLS_DOMAIN, or do not pass it"
    )]
    NoTls {
        /// Its place, from 1.
        number: usize,
    },
    /// Named, beside others that are named for us.
    #[error(
        "socket {number} of LISTEN_FDS is named {name:?}; FileDescriptorName= is to be http or https"
    )]
    Unknown {
        /// Its place, from 1.
        number: usize,
        /// Its name.
        name: String,
    },
    /// More than two without names of ours.
    #[error(
        "socket {number} of LISTEN_FDS is one too many; tell them apart by FileDescriptorName=http or https"
    )]
    TooMany {
        /// Its place, from 1.
        number: usize,
    },
}

/// What each is for: by name if any has one that we know, and then several may have the same; else by order, the first for
/// HTTP and the second for HTTPS.
pub(super) fn assign(names: &[&str], tls: bool) -> Result<Vec<Role>, RoleError> {
    let by_name = names.iter().any(|name| named(name).is_some());
    let role = |(index, name): (usize, &&str)| {
        let number = index + 1;
        let role = match (by_name, index) {
            (true, _) => named(name).ok_or_else(|| RoleError::Unknown {
                number,
                name: (*name).to_owned(),
            })?,
            (false, 0) => Role::Http,
            (false, 1) => Role::Https,
            (false, _) => return Err(RoleError::TooMany { number }),
        };
        match role {
            Role::Https if !tls => Err(RoleError::NoTls { number }),
            role => Ok(role),
        }
    };
    names.iter().enumerate().map(role).collect()
}

fn named(name: &str) -> Option<Role> {
    match name {
        "http" => Some(Role::Http),
        "https" => Some(Role::Https),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_before_order() {
        use Role::{Http, Https};
        for (names, roles) in [
            (&[][..], vec![]),
            (&["thrust.socket"], vec![Http]),
            (&["", ""], vec![Http, Https]),
            (&["https"], vec![Https]),
            (&["https", "http", "http"], vec![Https, Http, Http]),
        ] {
            assert_eq!(assign(names, true), Ok(roles), "{names:?}");
        }
    }

    #[test]
    fn one_that_nobody_would_answer_is_refused() {
        let refused = |names: &[&str], tls| assign(names, tls).unwrap_err();
        assert_eq!(
            refused(&["http", "https"], false),
            RoleError::NoTls { number: 2 }
        );
        assert_eq!(refused(&["a", "b"], false), RoleError::NoTls { number: 2 });
        assert_eq!(
            refused(&["a", "b", "c"], true),
            RoleError::TooMany { number: 3 }
        );
        let name = "status".to_owned();
        assert_eq!(
            refused(&["http", "status"], true),
            RoleError::Unknown { number: 2, name }
        );
    }
}

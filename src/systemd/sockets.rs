//! The sockets of a socket unit: ours to accept from, and systemd's to keep (sd_listen_fds(3)).

use std::{env, io, net::TcpListener, os::fd::RawFd, process};

use super::{
    roles::{Role, RoleError, assign},
    sys,
};

/// The first descriptor that is passed, `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;

/// What we were started with, by port.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Those for `HTTP_PORT`.
    pub http: Vec<TcpListener>,
    /// Those for `HTTPS_PORT`.
    pub https: Vec<TcpListener>,
}

/// Why they cannot be used. One that nobody accepts from would keep its clients waiting for ever.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// No number.
    #[error("LISTEN_FDS={0:?}: expected a number of sockets")]
    Count(String),
    /// A socket without a port of ours.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// No listening TCP socket.
    #[error("socket {number} of LISTEN_FDS cannot be used: {source}")]
    Unfit {
        /// Its place, from 1.
        number: usize,
        /// What it is instead.
        source: io::Error,
    },
}

/// Takes over the sockets that systemd passes to this process; `tls` says whether we serve HTTPS. None of them reaches the
/// app. To be called once, and before anything listens.
///
/// # Errors
/// [`SocketsError`], for a socket that is not what we need.
pub fn take(tls: bool) -> Result<Sockets, SocketsError> {
    let [pid, count, names] =
        ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map(|name| env::var(name).ok());
    let (Some(pid), Some(count)) = (pid, count) else {
        return Ok(Sockets::default());
    };
    if pid.parse() != Ok(process::id()) {
        tracing::warn!(
            pid,
            "LISTEN_FDS is meant for another process; is something started in between?"
        );
        return Ok(Sockets::default());
    }
    let passed = read(&count, names.as_deref(), tls)?;
    let mut sockets = Sockets::default();
    for (index, (fd, role)) in passed.into_iter().enumerate() {
        let number = index + 1;
        let socket = sys::take(fd).map_err(|source| SocketsError::Unfit { number, source })?;
        match role {
            Role::Http => sockets.http.push(socket),
            Role::Https => sockets.https.push(socket),
        }
    }
    Ok(sockets)
}

/// Each descriptor and what it is for.
fn read(count: &str, names: Option<&str>, tls: bool) -> Result<Vec<(RawFd, Role)>, SocketsError> {
    let bad = || SocketsError::Count(count.to_owned());
    // A descriptor is an `int`; nobody passes as many as this bound allows.
    let count: u16 = count.parse().map_err(|_| bad())?;
    let mut names: Vec<_> = names.map_or(Vec::new(), |names| names.split(':').collect());
    names.resize(count.into(), "");
    let roles = assign(&names, tls)?;
    Ok((FIRST..).zip(roles).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_begin_at_3_and_go_by_name_or_order() {
        let read = |count, names| read(count, names, true).unwrap();
        assert_eq!(read("0", None), []);
        assert_eq!(read("1", None), [(3, Role::Http)]);
        assert_eq!(read("2", Some("a")), [(3, Role::Http), (4, Role::Https)]);
        assert_eq!(
            read("2", Some("https:http:more")),
            [(3, Role::Https), (4, Role::Http)]
        );
    }

    #[test]
    fn a_count_that_is_none_is_named() {
        for count in ["", "-1", "x", "99999999999"] {
            let error = read(count, None, true).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("LISTEN_FDS={count:?}: expected a number of sockets")
            );
        }
    }
}

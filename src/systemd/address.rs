//! Where a supervisor listens.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{ffi::OsStrExt, net::SocketAddr},
    },
};

/// What `NOTIFY_SOCKET` names: an absolute path, or `@` and a name in the abstract namespace (unix(7)).
///
/// # Errors
/// Any other, `vsock:` with it: a hypervisor's supervisor is not ours.
pub(super) fn parse(value: &OsStr) -> io::Result<SocketAddr> {
    match value.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(value),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "neither an absolute path nor @ and a name",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_path_and_an_abstract_name_are_told_apart() {
        let path = parse(OsStr::new("/run/notify")).unwrap();
        assert_eq!(path.as_pathname(), Some(Path::new("/run/notify")));
        let name = parse(OsStr::new("@notify/1")).unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"notify/1"[..]));
        let long = format!("/{}", "x".repeat(200));
        for bad in ["", "@", "notify", "vsock:2:1", &long] {
            assert!(parse(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}

//! The socket itself: had before the app is started, or the start fails with the reason.

use std::{
    io,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Type};

use super::place::{Found, Place, look, remove};

/// How many may wait to be let in.
const BACKLOG: i32 = 16;

/// Who may connect: whoever we are.
const OURS_ALONE: u32 = 0o600;

/// A control socket on which nobody is answered yet.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    place: Place,
}

/// Why there is no control socket. What stands in its place is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another server answers there.
    #[error("another process listens on {}; stop it, or set THRUSTER_CONTROL_SOCKET to another path", .0.display())]
    Taken(PathBuf),
    /// A link may lead anywhere.
    #[error("{} is a symbolic link; set THRUSTER_CONTROL_SOCKET to where the socket is to be", .0.display())]
    Symlink(PathBuf),
    /// A file, or a directory.
    #[error("{} is there, and no socket; set THRUSTER_CONTROL_SOCKET to another path", .0.display())]
    NoSocket(PathBuf),
    /// Anything else.
    #[error("cannot have a control socket at {}: {source}; its directory must be there, and ours to write to", path.display())]
    Other {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Socket {
    /// Takes `path`, for us alone. A socket that a predecessor has left there is removed once nobody answers on it.
    ///
    /// # Errors
    /// [`SocketError`], with what is in the way.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let other = |source| SocketError::Other {
            path: path.to_owned(),
            source,
        };
        clear(path, other)?;
        let socket = match bound(path) {
            // Somebody came in between.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(SocketError::Taken(path.to_owned()));
            }
            bound => bound.map_err(other)?,
        };
        let place = match look(path).map_err(other)? {
            Found::Socket(identity) => Place::new(path.to_owned(), identity),
            _ => return Err(other(io::ErrorKind::NotFound.into())),
        };
        open(path, &socket).map_err(other)?;
        Ok(Self {
            listener: socket.into(),
            place,
        })
    }

    pub(super) fn into_parts(self) -> (UnixListener, Place) {
        (self.listener, self.place)
    }
}

/// Makes room, if what is there is a socket on which nobody listens any more.
fn clear(path: &Path, other: impl Fn(io::Error) -> SocketError) -> Result<(), SocketError> {
    match look(path).map_err(&other)? {
        Found::Nothing => Ok(()),
        Found::Symlink => Err(SocketError::Symlink(path.to_owned())),
        Found::Other => Err(SocketError::NoSocket(path.to_owned())),
        Found::Socket(_) if answers(path).map_err(&other)? => {
            Err(SocketError::Taken(path.to_owned()))
        }
        Found::Socket(identity) => remove(path, identity).map_err(other),
    }
}

/// Whether somebody listens there, were it with a full backlog.
fn answers(path: &Path) -> io::Result<bool> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            _ => Err(error),
        },
    }
}

/// On Linux the file gets the mode of the socket, so there is no moment in which it has another.
fn bound(path: &Path) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    fchmod(&socket, Mode::from_bits_truncate(OURS_ALONE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Until now a connect was refused; a kernel that has given the file another mode has let nobody in.
fn open(path: &Path, socket: &socket2::Socket) -> io::Result<()> {
    let mode = std::fs::symlink_metadata(path)?.permissions().mode();
    if mode & 0o777 != OURS_ALONE {
        std::fs::set_permissions(path, PermissionsExt::from_mode(OURS_ALONE))?;
    }
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net};

    use super::*;

    /// A directory that goes with the test.
    struct Yard(PathBuf);

    impl Yard {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn path(&self) -> PathBuf {
            self.0.join("control")
        }
    }

    impl Drop for Yard {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn it_is_ours_alone_and_goes_with_us() {
        let yard = Yard::new("ours");
        let socket = Socket::bind(&yard.path()).unwrap();
        let mode = fs::symlink_metadata(yard.path()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        drop(socket);
        assert_eq!(look(&yard.path()).unwrap(), Found::Nothing);
    }

    #[test]
    fn one_that_is_left_behind_is_replaced() {
        let yard = Yard::new("stale");
        drop(UnixListener::bind(yard.path()).unwrap());
        let socket = Socket::bind(&yard.path()).unwrap();
        net::UnixStream::connect(yard.path()).unwrap();
        drop(socket);
    }

    #[test]
    fn what_is_not_ours_is_neither_taken_nor_removed() {
        let yard = Yard::new("foreign");
        let refused = || Socket::bind(&yard.path()).unwrap_err();
        let living = UnixListener::bind(yard.path()).unwrap();
        assert!(matches!(refused(), SocketError::Taken(_)));
        net::UnixStream::connect(yard.path()).unwrap();
        drop(living);
        fs::remove_file(yard.path()).unwrap();

        fs::write(yard.path(), "data").unwrap();
        assert!(matches!(refused(), SocketError::NoSocket(_)));
        assert_eq!(fs::read_to_string(yard.path()).unwrap(), "data");
        fs::remove_file(yard.path()).unwrap();

        std::os::unix::fs::symlink("elsewhere", yard.path()).unwrap();
        assert!(matches!(refused(), SocketError::Symlink(_)));
        assert_eq!(look(&yard.path()).unwrap(), Found::Symlink);
        assert!(!yard.0.join("elsewhere").exists());
    }

    #[test]
    fn a_successor_of_the_same_name_stays() {
        let yard = Yard::new("successor");
        let socket = Socket::bind(&yard.path()).unwrap();
        fs::remove_file(yard.path()).unwrap();
        let successor = UnixListener::bind(yard.path()).unwrap();
        drop(socket);
        net::UnixStream::connect(yard.path()).unwrap();
        drop(successor);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = Socket::bind(Path::new("/nowhere/control")).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("/nowhere/control: No such file"), "{said}");
    }
}

//! What the app says of itself: datagrams of sd_notify(3), on a socket of ours.
//!
//! Puma since 6.1 sends them unasked wherever `NOTIFY_SOCKET` is set, and so does whatever was written for systemd.

use std::{
    env, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

use tokio::net::UnixDatagram;

/// The longest datagram that is read; the rest of a longer one is lost.
const LONGEST: usize = 4096;

/// What fits into `sockaddr_un` with its closing NUL.
const LONGEST_PATH: usize = 107;

/// The socket that the app is told of.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    place: Place,
}

/// What one datagram says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What the app does now, if it says so.
    pub state: Option<AppSays>,
    /// `STATUS`: for people, but Puma's holds its threads and its backlog.
    pub status: Option<String>,
}

/// The app's own word for its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppSays {
    /// `READY=1`.
    Ready,
    /// `RELOADING=1`: a `READY=1` will follow.
    Reloading,
    /// `STOPPING=1`.
    Stopping,
}

/// A directory that nobody else may look into, gone when this is dropped.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    socket: PathBuf,
}

impl Notify {
    /// A socket in a directory of our own, in the first place that allows it.
    ///
    /// # Errors
    /// Where no directory can be written to; the app is then not told of any.
    pub fn open() -> io::Result<Self> {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let usual = [
            PathBuf::from("/run"),
            env::temp_dir(),
            PathBuf::from("/dev/shm"),
        ];
        let mut refused = io::Error::from(io::ErrorKind::NotFound);
        for parent in runtime.into_iter().chain(usual) {
            match Self::open_in(&parent) {
                Ok(notify) => return Ok(notify),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn open_in(parent: &Path) -> io::Result<Self> {
        let place = Place::make(parent)?;
        let socket = UnixDatagram::bind(&place.socket)?;
        Ok(Self { socket, place })
    }

    /// Where it is: the value of `NOTIFY_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.place.socket
    }

    /// The next thing the app says. Cancel safe.
    pub async fn heard(&self) -> Message {
        let mut datagram = [0; LONGEST];
        match self.socket.recv(&mut datagram).await {
            Ok(length) => Message::parse(&datagram[..length]),
            Err(error) => {
                // Nobody is connected who could go away: not seen yet.
                tracing::debug!(%error, "cannot hear the app");
                std::future::pending().await
            }
        }
    }
}

impl Message {
    /// `NAME=value` lines; unknown ones are left out, and of two the last counts.
    fn parse(datagram: &[u8]) -> Self {
        let mut message = Self::default();
        for line in String::from_utf8_lossy(datagram).lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => message.state = Some(AppSays::Ready),
                Some(("RELOADING", "1")) => message.state = Some(AppSays::Reloading),
                Some(("STOPPING", "1")) => message.state = Some(AppSays::Stopping),
                Some(("STATUS", status)) => message.status = Some(status.to_owned()),
                _ => {}
            }
        }
        message
    }
}

impl Place {
    fn make(parent: &Path) -> io::Result<Self> {
        let directory = parent.join(format!("thrust-{}", process::id()));
        let socket = directory.join("notify");
        if !parent.is_absolute() || socket.as_os_str().len() > LONGEST_PATH {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        // Left behind by a process of this id that was killed, in a container always the same: only ours can be removed.
        let _ = fs::remove_file(&socket);
        let _ = fs::remove_dir(&directory);
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self { directory, socket })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_dir(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt, net};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_read_by_name() {
        let parse = |text: &str| Message::parse(text.as_bytes());
        assert_eq!(parse("READY=1").state, Some(AppSays::Ready));
        assert_eq!(
            parse("RELOADING=1\nMONOTONIC_USEC=5\n").state,
            Some(AppSays::Reloading)
        );
        assert_eq!(
            parse("MAINPID=1\nSTOPPING=1").state,
            Some(AppSays::Stopping)
        );
        let both = parse("STATUS=Puma 6.1: 3/5 threads, 2 backlog\nWATCHDOG=1");
        assert_eq!(both.state, None);
        assert_eq!(
            both.status.as_deref(),
            Some("Puma 6.1: 3/5 threads, 2 backlog")
        );
        for nothing in ["", "READY=0", "READY", "ready=1", "\0", "STATUS"] {
            assert_eq!(parse(nothing), Message::default(), "{nothing:?}");
        }
    }

    #[tokio::test]
    async fn the_app_is_heard_and_nothing_is_left_behind() {
        let notify = Notify::open_in(&env::temp_dir()).unwrap();
        let path = notify.path().to_owned();
        let directory = path.parent().unwrap();
        assert_eq!(
            fs::metadata(directory).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let app = net::UnixDatagram::unbound().unwrap();
        app.send_to(b"READY=1", &path).unwrap();
        assert_eq!(notify.heard().await.state, Some(AppSays::Ready));
        drop(notify);
        assert!(!directory.exists());
    }

    #[test]
    fn a_place_that_is_too_deep_or_not_there_is_refused() {
        for parent in ["/nowhere", &format!("/tmp/{}", "x".repeat(107)), "tmp"] {
            assert!(Place::make(Path::new(parent)).is_err(), "{parent}");
        }
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
            Message::parse(&datagram);
        }
    }
}

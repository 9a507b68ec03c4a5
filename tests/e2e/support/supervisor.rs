//! The supervisor's end of sd_notify(3), as systemd has it.

use std::{
    io::IoSliceMut,
    os::{
        fd::{AsRawFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Instant,
};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::PassCred};

use super::{PATIENCE, Place, millis};

/// Hears what is sent to its `NOTIFY_SOCKET`.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: UnixDatagram,
    /// The variable's value.
    pub(crate) address: String,
    _place: Option<Place>,
}

/// A datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) text: String,
    /// Who sent it, as the kernel says.
    pub(crate) pid: u32,
}

impl Supervisor {
    pub(crate) fn on_path() -> Self {
        let place = Place::new();
        let address = place.at("notify");
        let socket = UnixDatagram::bind(&address).expect("the place is ours");
        Self::with(socket, address, Some(place))
    }

    pub(crate) fn on_abstract_name(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let socket = UnixDatagram::bind_addr(&address).expect("nobody has it");
        Self::with(socket, format!("@{name}"), None)
    }

    fn with(socket: UnixDatagram, address: String, place: Option<Place>) -> Self {
        setsockopt(&socket, PassCred, &true).expect("SO_PASSCRED");
        Self {
            socket,
            address,
            _place: place,
        }
    }

    /// The next notice with this in it, those before it left out.
    #[track_caller]
    pub(crate) fn wait_for(&self, needle: &str) -> Notice {
        let mut heard = Vec::new();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            heard.extend(self.next());
            if let Some(last) = heard.last().filter(|notice| notice.text.contains(needle)) {
                return last.clone();
            }
        }
        panic!("no {needle:?} among {heard:#?}");
    }

    /// All that have come, and come until nothing does for a moment.
    pub(crate) fn all(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next())
            .map(|notice| notice.text)
            .collect()
    }

    fn next(&self) -> Option<Notice> {
        self.socket
            .set_read_timeout(Some(millis(300)))
            .expect("not zero");
        let mut text = [0; 4096];
        let mut parts = [IoSliceMut::new(&mut text)];
        let mut control = nix::cmsg_space!(libc::ucred, [OwnedFd; 1]);
        let socket = self.socket.as_raw_fd();
        let message =
            recvmsg::<()>(socket, &mut parts, Some(&mut control), MsgFlags::empty()).ok()?;
        let sender = message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
            _ => None,
        });
        let (pid, length) = (sender?.cast_unsigned(), message.bytes);
        let text = String::from_utf8_lossy(&text[..length]).into_owned();
        Some(Notice { text, pid })
    }
}

//! Is a handshake half open? The kernel has answered a SYN for our port and waits for the client's ACK.
//!
//! Asked by the last call, which must not close the door on somebody who is stepping through it. Two sources, neither
//! of which needs a privilege: sock_diag(7), which filters in the kernel, and `/proc/net/tcp`, proc(5).

use std::{fs, io, net::SocketAddr, os::fd::AsRawFd, thread, time::Duration};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use tokio::sync::oneshot;

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// `TCP_SYN_RECV` of net/tcp_states.h; the kernel counts its request sockets (`TCP_NEW_SYN_RECV`) among them.
const SYN_RECV: u8 = 3;

/// struct nlmsghdr, netlink(7).
const HEADER: usize = 16;

/// nlmsghdr and struct inet_diag_req_v2, sock_diag(7).
const REQUEST: usize = HEADER + 56;

/// How long the filter must have been there before the list is believed: another processor may have let a SYN past
/// just before, and need some microseconds more to put it on the list.
const SETTLE: Duration = Duration::from_millis(1);

/// How often to look while a handshake is half open.
const TICK: Duration = Duration::from_millis(5);

/// Tells when no handshake with the listener at this address is half open in this network namespace.
///
/// A thread of its own looks, because one look walks the kernel's whole table of connections. That takes 3 ms on a
/// quiet machine, and up to a second (measured) under load: at each entry the kernel first handles the packets that
/// have arrived meanwhile. The thread ends at the next look when the receiver is dropped; nobody waits for it.
///
/// # Errors
/// When there is no thread to be had. The receiver gets an error when neither source answers: gVisor and seccomp
/// filters have no sock_diag, hardened containers no `/proc/net`.
pub(super) fn none(listener: SocketAddr) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new()
        .name("last-call".into())
        .spawn(move || {
            let outcome = until_none(listener, &sender);
            // Without a receiver the patience has ended first.
            let _ = sender.send(outcome);
        })?;
    Ok(receiver)
}

fn until_none(listener: SocketAddr, sender: &oneshot::Sender<io::Result<()>>) -> io::Result<()> {
    thread::sleep(SETTLE);
    while !sender.is_closed() && any(listener)? {
        thread::sleep(TICK);
    }
    Ok(())
}

fn any(listener: SocketAddr) -> io::Result<bool> {
    by_sock_diag(listener).or_else(|_| by_proc(listener))
}

/// One dump on a socket of its own: what is left unread when the first hit ends it goes with the socket.
fn by_sock_diag(listener: SocketAddr) -> io::Result<bool> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let (fd, kernel) = (netlink.as_raw_fd(), NetlinkAddr::new(0, 0));
    // Handshakes are of the listener's family, those of IPv4 clients with a dual-stack listener, too.
    let family = if listener.is_ipv6() {
        libc::AF_INET6
    } else {
        libc::AF_INET
    };
    sendto(
        fd,
        &request(family as u8, listener.port()),
        &kernel,
        MsgFlags::empty(),
    )?;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        // The kernel writes a dump within sendto(2) and recv(2), so there is never anything to wait for.
        let length = recv(fd, &mut buffer, MsgFlags::MSG_DONTWAIT)?;
        if let Some(found) = answer(&buffer[..length], listener.port())? {
            return Ok(found);
        }
    }
}

/// "All TCP sockets of this family and local port in SYN_RECV".
fn request(family: u8, port: u16) -> [u8; REQUEST] {
    let mut message = [0; REQUEST];
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    message[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    message[HEADER] = family;
    message[HEADER + 1] = libc::IPPROTO_TCP as u8;
    message[HEADER + 4..HEADER + 8].copy_from_slice(&(1_u32 << SYN_RECV).to_ne_bytes());
    message[HEADER + 8..HEADER + 10].copy_from_slice(&port.to_be_bytes());
    message
}

/// What one datagram of the dump says: there is one, there is none, or (`None`) that more datagrams follow.
fn answer(mut datagram: &[u8], port: u16) -> io::Result<Option<bool>> {
    while let Some(length) = bytes(datagram, 0).map(u32::from_ne_bytes) {
        let message = datagram
            .get(..length as usize)
            .filter(|message| message.len() >= HEADER);
        let message = message.ok_or(io::ErrorKind::InvalidData)?;
        let kind = bytes(message, 4).map_or(0, u16::from_ne_bytes);
        match i32::from(kind) {
            libc::NLMSG_DONE | libc::NLMSG_ERROR => return outcome(message).map(|()| Some(false)),
            _ if is_half_open(message, port) => return Ok(Some(true)),
            _ => {}
        }
        datagram = datagram
            .get(message.len().next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(None)
}

/// NLMSG_ERROR carries a negative errno, and so does the NLMSG_DONE of a dump that broke off.
fn outcome(message: &[u8]) -> io::Result<()> {
    match bytes(message, HEADER).map_or(0, i32::from_ne_bytes) {
        errno if errno < 0 => Err(io::Error::from_raw_os_error(-errno)),
        _ => Ok(()),
    }
}

/// struct inet_diag_msg: family, state, timer, retransmissions, then the local port.
fn is_half_open(message: &[u8], port: u16) -> bool {
    message.get(HEADER + 1) == Some(&SYN_RECV)
        && bytes(message, HEADER + 4) == Some(port.to_be_bytes())
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

fn by_proc(listener: SocketAddr) -> io::Result<bool> {
    let table = if listener.is_ipv6() {
        "/proc/net/tcp6"
    } else {
        "/proc/net/tcp"
    };
    Ok(lists(&fs::read_to_string(table)?, listener.port()))
}

/// Whether a table as in proc(5) has a line with this local port (`0100007F:1F90`) in state 03.
fn lists(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let local = columns.next().and_then(|address| address.rsplit_once(':'));
        let is_ours = local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port));
        is_ours && columns.nth(1) == Some("03")
    })
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpStream};

    use socket2::{Domain, SockFilter, Socket, Type};

    use super::*;

    /// A listener that is deaf to ACKs, so that whoever connects stays half way in.
    fn deaf(address: SocketAddr) -> (Socket, SocketAddr) {
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        listener.bind(&address.into()).unwrap();
        // ldb [13]; and #SYN|ACK; jeq #ACK; ret #0; ret #-1
        let drop_ack = [
            (0x30, 0, 0, 13),
            (0x54, 0, 0, 0x12),
            (0x15, 0, 1, 0x10),
            (0x06, 0, 0, 0),
            (0x06, 0, 0, u32::MAX),
        ];
        listener
            .attach_filter(&drop_ack.map(|(code, jt, jf, k)| SockFilter::new(code, jt, jf, k)))
            .unwrap();
        listener.listen(8).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        (listener, address)
    }

    #[test]
    fn both_sources_see_a_handshake_that_is_half_open_and_none_that_is_not() {
        for (listen, connect) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::]:0", "127.0.0.1"),
            ("[::]:0", "::1"),
        ] {
            let (listener, address) = deaf(listen.parse().unwrap());
            let sources = || [by_sock_diag(address).unwrap(), by_proc(address).unwrap()];
            assert_eq!(sources(), [false, false]);
            let target = SocketAddr::new(connect.parse().unwrap(), address.port());
            let mut client = TcpStream::connect(target).unwrap();
            assert_eq!(sources(), [true, true], "{connect} to {listen}");
            listener.detach_filter().unwrap();
            client
                .write_all(b"any segment completes the handshake")
                .unwrap();
            listener.accept().unwrap();
            assert_eq!(sources(), [false, false]);
        }
    }

    #[test]
    fn reads_a_table_of_proc() {
        let table = "  sl  local_address rem_address   st tx_queue\n   \
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n   \
             1: 0100007F:1F91 0100007F:D2F0 03 00000000:00000000\n";
        assert!(lists(table, 0x1F91));
        assert!(!lists(table, 0x1F90), "listening is not half open");
        assert!(!lists(table, 0xD2F0), "the remote port is not ours");
        assert!(!lists("", 80));
    }

    #[test]
    fn a_dump_that_breaks_off_or_is_garbled_is_an_error() {
        let mut message = [0; 20];
        message[0] = 20;
        message[4] = libc::NLMSG_DONE as u8;
        assert_eq!(answer(&message, 80).unwrap(), Some(false));
        message[16..].copy_from_slice(&(-libc::EACCES).to_ne_bytes());
        assert_eq!(
            answer(&message, 80).unwrap_err().raw_os_error(),
            Some(libc::EACCES)
        );
        message[0] = 4;
        assert!(answer(&message, 80).is_err());
        assert_eq!(answer(&[], 80).unwrap(), None);
    }
}

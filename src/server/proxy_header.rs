//! The PROXY protocol's header, both versions, by HAProxy's `doc/proxy-protocol.txt`: what it says, and where it ends.
//!
//! Pure. A header is never guessed: what is not one is an error, and so is one whose length is not what it must be.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";

/// The longest header of version 1, its line end included.
const LONGEST_LINE: usize = 107;

/// The part of version 2 that is always there: signature, command, family, length.
const FIXED: usize = 16;

/// The type that says how the connection was encrypted (section 2.2.6), and its bit for "over TLS".
const TLV_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// These bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY header")]
pub(super) struct NoHeader;

/// For whom a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Introduction {
    /// The client; none if the peer speaks for itself, or for somebody without an address.
    pub(super) client: Option<SocketAddr>,
    /// Whether the client's way to the peer was encrypted.
    pub(super) secure: bool,
}

/// Where the header ends that `bytes` begin with; none if it goes on behind them.
///
/// # Errors
/// When it can be seen that there is none.
pub(super) fn end(bytes: &[u8]) -> Result<Option<usize>, NoHeader> {
    if begins(bytes, SIGNATURE) {
        return end_of_binary(bytes);
    }
    if !begins(bytes, WORD) {
        return Err(NoHeader);
    }
    let line = &bytes[..bytes.len().min(LONGEST_LINE)];
    match line.windows(2).position(|two| two == b"\r\n") {
        Some(at) => Ok(Some(at + 2)),
        None if line.len() == LONGEST_LINE => Err(NoHeader),
        None => Ok(None),
    }
}

/// Whether `bytes` begin with `start`, or may once there are more.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.starts_with(start) || start.starts_with(bytes)
}

fn end_of_binary(bytes: &[u8]) -> Result<Option<usize>, NoHeader> {
    if bytes
        .get(SIGNATURE.len())
        .is_some_and(|byte| byte >> 4 != 2)
    {
        return Err(NoHeader);
    }
    let length = bytes.get(FIXED - 2..FIXED).map(number);
    let end = length.map(|length| FIXED + usize::from(length));
    Ok(end.filter(|end| *end <= bytes.len()))
}

/// A number of two bytes, the higher one first.
fn number(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .take(2)
        .fold(0, |number, byte| number << 8 | u16::from(*byte))
}

/// What a whole header says.
///
/// # Errors
/// When it is none.
pub(super) fn read(header: &[u8]) -> Result<Introduction, NoHeader> {
    let read = match header.strip_prefix(SIGNATURE) {
        Some(rest) => read_binary(rest),
        None => read_line(header),
    };
    read.ok_or(NoHeader)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`, and its line end.
fn read_line(line: &[u8]) -> Option<Introduction> {
    let line = std::str::from_utf8(line).ok()?;
    let words = line.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    let mut words = words.split(' ');
    let client = match words.next()? {
        // Whatever stands behind it.
        "UNKNOWN" => return Some(Introduction::default()),
        "TCP4" => read_addresses::<Ipv4Addr>(words)?,
        "TCP6" => read_addresses::<Ipv6Addr>(words)?,
        _ => return None,
    };
    Some(Introduction {
        client: Some(client),
        secure: false,
    })
}

/// Source and destination, then the port of each.
fn read_addresses<'a, A>(mut words: impl Iterator<Item = &'a str>) -> Option<SocketAddr>
where
    A: FromStr + Into<IpAddr>,
{
    let mut address = || words.next()?.parse::<A>().ok();
    let (source, _) = (address()?, address()?);
    let mut port = || words.next().and_then(port);
    let (source_port, _) = (port()?, port()?);
    let ends = words.next().is_none();
    ends.then(|| plain(source.into(), source_port))
}

/// A port in digits, without zeros before them.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    (plain && !padded).then(|| text.parse().ok())?
}

fn plain(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

/// What stands behind the signature.
fn read_binary(rest: &[u8]) -> Option<Introduction> {
    let (fixed, rest) = rest.split_first_chunk::<4>()?;
    let [command, family, length @ ..] = fixed;
    if usize::from(number(length)) != rest.len() {
        return None;
    }
    match command {
        // LOCAL: the peer speaks for itself, as in a health check.
        0x20 => Some(Introduction::default()),
        0x21 => read_family(*family, rest),
        _ => None,
    }
}

/// Source and destination by address family and protocol, then what else there is to say.
fn read_family(family: u8, rest: &[u8]) -> Option<Introduction> {
    // Of a unix socket, of UDP or of what has no address there is none to be had.
    let (addresses, client) = match family {
        0x11 => (12, read_source::<4>(rest, 8)),
        0x21 => (36, read_source::<16>(rest, 32)),
        0x00 => (0, None),
        0x12 => (12, None),
        0x22 => (36, None),
        0x31 | 0x32 => (216, None),
        _ => return None,
    };
    let more = rest.get(addresses..)?;
    Some(Introduction {
        client,
        secure: is_over_tls(more),
    })
}

/// The address at the beginning of `bytes`, and its port at `port_at`.
fn read_source<const N: usize>(bytes: &[u8], port_at: usize) -> Option<SocketAddr>
where
    [u8; N]: Into<IpAddr>,
{
    let address = *bytes.first_chunk::<N>()?;
    let port = number(bytes.get(port_at..port_at + 2)?);
    Some(plain(address.into(), port))
}

/// Looks through what is said by type, length and value. What is broken there says nothing.
fn is_over_tls(mut more: &[u8]) -> bool {
    while let Some(([kind, length @ ..], rest)) = more.split_first_chunk::<3>() {
        let Some((value, rest)) = rest.split_at_checked(number(length).into()) else {
            return false;
        };
        if *kind == TLV_SSL {
            return value.first().is_some_and(|bits| bits & CLIENT_SSL != 0);
        }
        more = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn line(text: &str) -> Result<Introduction, NoHeader> {
        let end = end(text.as_bytes())?.ok_or(NoHeader)?;
        assert_eq!(end, text.len(), "{text:?}");
        read(text.as_bytes())
    }

    fn of(client: &str) -> Result<Introduction, NoHeader> {
        Ok(Introduction {
            client: Some(client.parse().unwrap()),
            secure: false,
        })
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap();
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(length.to_be_bytes());
        header.extend(rest);
        header
    }

    const ADDRESSES: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0xdc, 0x04, 0, 80];

    #[test]
    fn version_1_names_the_client() {
        assert_eq!(
            line("PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n"),
            of("203.0.113.9:56324")
        );
        assert_eq!(
            line("PROXY TCP6 2001:db8::9 2001:db8::1 1 0\r\n"),
            of("[2001:db8::9]:1")
        );
        assert_eq!(
            line("PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n"),
            of("203.0.113.9:1")
        );
        for unknown in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN ffff:: ffff:: 1 2 and so on\r\n",
        ] {
            assert_eq!(line(unknown), Ok(Introduction::default()));
        }
    }

    #[test]
    fn what_is_no_header_of_version_1_is_none() {
        for bad in [
            "PROXY TCP4 203.0.113.9 192.0.2.1 56324\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443 \r\n",
            "PROXY TCP4  203.0.113.9 192.0.2.1 56324 443\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 056 443\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 +56 443\r\n",
            "PROXY TCP4 203.0.113.09 192.0.2.1 56 443\r\n",
            "PROXY TCP4 2001:db8::9 2001:db8::1 1 2\r\n",
            "PROXY TCP6 203.0.113.9 192.0.2.1 1 2\r\n",
            "PROXY UDP4 203.0.113.9 192.0.2.1 1 2\r\n",
            "PROXY \r\n",
            "PROXY UNKNOWNS\r\n",
            "proxy TCP4 203.0.113.9 192.0.2.1 1 2\r\n",
            "GET / HTTP/1.1\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(line(bad), Err(NoHeader), "{bad:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(end(long.as_bytes()), Err(NoHeader));
        assert_eq!(end(&long.as_bytes()[..106]), Ok(None));
    }

    #[test]
    fn version_2_names_the_client() {
        let header = binary(0x21, 0x11, &ADDRESSES);
        assert_eq!(read(&header), of("203.0.113.9:56324"));
        let mut addresses = [0; 36];
        addresses[..16].copy_from_slice(&"2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
        addresses[33] = 7;
        assert_eq!(read(&binary(0x21, 0x21, &addresses)), of("[2001:db8::9]:7"));
    }

    #[test]
    fn who_speaks_for_itself_or_for_nobody_is_the_peer() {
        for header in [
            binary(0x20, 0x00, &[]),
            binary(0x20, 0x11, &ADDRESSES),
            binary(0x21, 0x00, &[]),
            binary(0x21, 0x12, &ADDRESSES),
            binary(0x21, 0x31, &[0; 216]),
        ] {
            assert_eq!(read(&header), Ok(Introduction::default()), "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_of_version_2_is_none() {
        for header in [
            binary(0x22, 0x11, &ADDRESSES),
            binary(0x21, 0x13, &ADDRESSES),
            binary(0x21, 0x41, &ADDRESSES),
            binary(0x21, 0x11, &ADDRESSES[..11]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x21, 0x31, &[0; 215]),
        ] {
            assert_eq!(read(&header), Err(NoHeader), "{header:?}");
        }
        assert_eq!(end(&binary(0x11, 0x11, &ADDRESSES)), Err(NoHeader));
    }

    #[test]
    fn the_way_to_the_peer_may_have_been_encrypted() {
        let secure = |more: &[u8]| {
            let rest = [&ADDRESSES, more].concat();
            read(&binary(0x21, 0x11, &rest)).unwrap().secure
        };
        assert!(secure(&[0x04, 0, 2, 9, 9, 0x20, 0, 5, 1, 0, 0, 0, 0]));
        assert!(!secure(&[0x20, 0, 5, 0, 0, 0, 0, 0]));
        for broken in [
            &[][..],
            &[0x20],
            &[0x20, 0, 0],
            &[0x20, 0, 6, 1, 0, 0, 0, 0],
        ] {
            assert!(!secure(broken), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn it_ends_where_it_ends_however_much_of_it_has_come(
            family in prop::sample::select(vec![0x00, 0x11, 0x21]), more in vec(any::<u8>(), 36..60), behind in vec(any::<u8>(), 0..40),
        ) {
            let line = b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n".to_vec();
            for header in [line, binary(0x21, family, &more)] {
                for cut in 0..header.len() {
                    prop_assert_eq!(end(&header[..cut]), Ok(None));
                }
                let all = [&header[..], &behind].concat();
                prop_assert_eq!(end(&all), Ok(Some(header.len())));
                prop_assert!(read(&header).is_ok());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..60), command: u8, family: u8, text in "PROXY (TCP[46]|UNKNOWN|\\PC{0,5})( [0-9a-f.:]{0,12}){0,5}\r\n") {
            for header in [bytes.clone(), binary(command, family, &bytes), text.into_bytes()] {
                if let Ok(Some(at)) = end(&header) {
                    let _ = read(&header[..at]);
                }
                let _ = read(&header);
            }
        }
    }
}

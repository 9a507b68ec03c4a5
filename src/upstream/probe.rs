//! One look at the addresses of the app.

use std::{io, time::Duration};

use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::target::{Address, Target};

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The first address that accepts a connection, `preferred` asked first; the connection is closed at once.
///
/// Takes up to 1 s for each address that does not answer at all.
pub async fn find(target: &Target, preferred: Option<&Address>) -> Option<Address> {
    first(target, preferred, connects).await
}

pub(super) async fn first<F: Future<Output = bool>>(
    target: &Target,
    preferred: Option<&Address>,
    check: impl Fn(Address) -> F,
) -> Option<Address> {
    let mut addresses = target.addresses();
    addresses.sort_by_key(|address| Some(address) != preferred);
    for address in addresses {
        if check(address.clone()).await {
            return Some(address);
        }
    }
    None
}

pub(super) async fn connects(address: Address) -> bool {
    let attempt = timeout(CONNECT_TIMEOUT, connect(&address)).await;
    matches!(attempt, Ok(Ok(true)))
}

/// Connects and closes; false where nobody was there but ourselves.
async fn connect(address: &Address) -> io::Result<bool> {
    match address {
        Address::Tcp(address) => meets_another(&TcpStream::connect(address).await?),
        Address::Unix(path) => UnixStream::connect(path.as_path()).await.map(|_| true),
    }
}

/// Whether the other end is not ourselves.
///
/// A connect to a loopback port in the ephemeral range at which nobody listens may be given that very port as its own, and
/// then TCP connects it to itself (a simultaneous open, RFC 9293 section 3.5). The app would look ready and find its port taken.
fn meets_another(stream: &TcpStream) -> io::Result<bool> {
    let met = stream.local_addr()? != stream.peer_addr()?;
    if !met {
        // Nobody is there to miss a FIN, and TIME-WAIT would keep the port from the app for a minute.
        stream.set_zero_linger()?;
    }
    Ok(met)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{net::SocketAddr, path::PathBuf};

    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpSocket;

    use super::*;

    /// A port that is ours but not open yet.
    pub(in crate::upstream) fn bound(address: &str) -> Option<(Socket, SocketAddr)> {
        let address: SocketAddr = address.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).ok()?;
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).ok()?;
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Some((socket, address))
    }

    #[tokio::test]
    async fn finds_the_app_on_either_loopback() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let Some((socket, address)) = bound(loopback) else {
                eprintln!("skipped: no {loopback} here");
                continue;
            };
            let target = Target::Port(address.port());
            assert_eq!(find(&target, None).await, None);
            socket.listen(1).unwrap();
            assert_eq!(find(&target, None).await, Some(Address::Tcp(address)));
        }
    }

    #[tokio::test]
    async fn finds_a_unix_socket() {
        let path: PathBuf =
            std::env::temp_dir().join(format!("thrust-find-{}", std::process::id()));
        let target = Target::Socket(path.clone());
        assert_eq!(find(&target, None).await, None);
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(find(&target, None).await, Some(Address::Unix(_))));
        // A socket whose app has gone refuses.
        drop(listener);
        assert_eq!(find(&target, None).await, None);
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn asks_the_preferred_address_first() {
        let target = Target::Port(1);
        for preferred in target.addresses() {
            let found = first(&target, Some(&preferred), async |_| true).await;
            assert_eq!(found, Some(preferred));
        }
    }

    #[tokio::test]
    async fn does_not_mistake_itself_for_the_app() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        assert!(!meets_another(&stream).unwrap());
    }
}

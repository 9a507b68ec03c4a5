//! Ports nobody listens on, and waiting until somebody does.

use crate::Result;
use crate::child::Running;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Below the ephemeral range: a client's own port must not take one between our look and the proxy's bind.
static NEXT: AtomicU16 = AtomicU16::new(21_000);

/// A port that is free on all addresses, IPv6 included where there is any.
pub(crate) fn free() -> Result<u16> {
    for _ in 0..5_000 {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let any = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map(drop);
        // Both in turn, since a dual-stack bind of the one would refuse the other.
        if any.is_ok() && !taken_on_ipv6(port) {
            return Ok(port);
        }
    }
    Err("no free port between 21000 and 26000".into())
}

fn taken_on_ipv6(port: u16) -> bool {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// Where a proxy or the app is spoken to.
pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Returns once `port` accepts; with the process's last words if it ends or takes more than ten seconds.
pub(crate) fn wait_for(port: u16, process: &mut Running) -> Result<()> {
    let give_up = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(local(port)).is_err() {
        if process.has_ended() {
            return Err(format!("ended at start: {}", process.last_words()).into());
        }
        if Instant::now() > give_up {
            return Err(format!("does not listen on {port}: {}", process.last_words()).into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

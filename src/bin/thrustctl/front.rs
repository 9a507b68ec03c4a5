//! Where Thrust answers over HTTP, as the environment says that it shares with us.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::variable;

/// `STATUS_PORT`, if there is one.
pub(crate) fn status_address() -> Option<SocketAddr> {
    let port = variable(&["THRUSTER_STATUS_PORT"])?.parse().ok()?;
    let bind = variable(&["THRUSTER_STATUS_BIND"]).unwrap_or_default();
    let first = bind.split(',').find_map(|ip| ip.trim().parse().ok());
    Some(SocketAddr::new(reachable(first), port))
}

/// The plain front port.
pub(crate) fn front_address() -> SocketAddr {
    let port = variable(&["THRUSTER_HTTP_PORT", "HTTP_PORT"]);
    let port = port.and_then(|port| port.parse().ok()).unwrap_or(80);
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
}

/// What is bound to all addresses is to be found at the loopback one.
fn reachable(bound: Option<IpAddr>) -> IpAddr {
    match bound {
        Some(ip) if !ip.is_unspecified() => ip,
        Some(IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
        Some(IpAddr::V4(_)) | None => Ipv4Addr::LOCALHOST.into(),
    }
}

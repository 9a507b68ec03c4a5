//! Closing a listener: nobody whose connection was under way meets a reset.
//!
//! Namespaces need root, /dev/net/tun and iproute2; without them those tests say why they skip, and fail with CI set.

#![expect(clippy::unwrap_used, reason = "all of this is test code, helpers too")]

/// Two network namespaces and 50 ms of round trip between them.
mod delay_link;
/// New connections at a steady rate, and what became of each.
mod load;

/// The same with the real executable and a real child.
mod executable;
/// What a listener promises before and while it closes, on the loopback.
mod loopback;
/// Out of descriptors: nothing fails, nothing spins, and a stop still comes through.
mod shortage;
/// 500 new connections per second at 50 ms of round trip: no reset, where a plain close shows dozens.
mod slow_network;

//! The last call: how a listener closes without a reset.
//!
//! close(2) on a listener resets every connection that waits to be accepted and every handshake that is still on its
//! way. From a client's side both were open already: with an RST it cannot tell whether its request was carried out.
//! So, while nobody new is let in, everybody who has a foot in the door is. In this order:
//!
//! 1. **A filter that drops SYNs**, or one that refuses them. Else handshakes start as fast as others end, and there is no good moment. To drop
//!    one is no harm: the client sends it again after a second, and by then is refused, which is safe to retry.
//! 2. **Accept while a handshake is half open.** One round trip, as a rule; nobody waits when there is none.
//! 3. **Accept until `EAGAIN` and close**, with no await in between in which another connection could arrive.
//!
//! Not shutdown(2) or listen(2) with a backlog of 0: both do what close(2) does, or nothing. What is left: a client
//! whose ACK is lost, or which is more than 250 ms away, and handshakes that the kernel keeps in SYN cookies instead of
//! a list, which it does when it is flooded.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{SockFilter, Socket};
use tokio::time::{sleep_until, timeout_at};

use crate::server::{
    accept::accept_one,
    half_open,
    listener::{BACKLOG, Listener},
};

/// The longest last call.
const LIMIT: Duration = Duration::from_secs(1);

/// How long a handshake may keep us after the last connection was accepted: a generous round trip. One that takes
/// longer is most likely a port scanner's.
const ROUND_TRIP: Duration = Duration::from_millis(250);

/// "Drop what has SYN without ACK", in classic BPF (bpf(4) of FreeBSD). On a TCP socket byte 0 is the first of the
/// TCP header, whatever the family, and byte 13 holds the flags (RFC 9293, section 3.1).
const DROP_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),       // ldb  [13]
    SockFilter::new(0x54, 0, 0, 0x12),     // and  #SYN|ACK
    SockFilter::new(0x15, 0, 1, 0x02),     // jeq  #SYN, next, skip one
    SockFilter::new(0x06, 0, 0, 0),        // ret  #0, drop
    SockFilter::new(0x06, 0, 0, u32::MAX), // ret  #-1, keep
];

/// How long the last call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until every handshake under way has ended: all three steps, at most 1 s.
    RoundTrip,
    /// None: step 3 alone (`HTTP_DRAIN_TIMEOUT=0`).
    None,
}

/// How the last call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCall {
    /// How many connections were accepted after the call began.
    pub accepted_late: usize,
    /// Whether new handshakes were kept out meanwhile.
    pub filtered: bool,
}

/// Closes `listener` without a reset and gives each connection that was on its way to `take`.
///
/// The port refuses connections when this returns: within milliseconds when no handshake is half open, else after one
/// round trip of the clients, and in no case later than 1 s or `deadline`. It never fails: where the kernel allows no
/// filter (`SO_ATTACH_FILTER`, socket(7)) or shows no half-open handshakes, it accepts for 250 ms and then closes.
///
/// `take` gets what [`Listener::accept`] gives. The future is not cancel-safe: dropped half way, it is a plain close.
/// Not for a listener that another process goes on with, whose queue is theirs: that one is just dropped.
pub async fn last_call(
    listener: Listener,
    deadline: Instant,
    patience: Patience,
    mut take: impl FnMut(TcpStream, SocketAddr),
) -> LastCall {
    let mut accepted_late = 0;
    let mut take = |(socket, peer)| {
        accepted_late += 1;
        take(socket, peer);
    };
    let filtered = match patience {
        Patience::RoundTrip => let_in(&listener, deadline, &mut take).await,
        Patience::None => false,
    };
    close(listener, &mut take);
    LastCall {
        accepted_late,
        filtered,
    }
}

type Accepted = (TcpStream, SocketAddr);

/// Steps 1 and 2. Returns whether new handshakes are kept out.
async fn let_in(listener: &Listener, deadline: Instant, take: &mut impl FnMut(Accepted)) -> bool {
    let end = deadline.min(Instant::now() + LIMIT);
    let filter = listener.sockets().try_for_each(keep_out);
    let finished = match &filter {
        Ok(()) => finish_handshakes(listener, end, take).await,
        Err(error) => Err(io::Error::from(error.kind())),
    };
    if let Err(error) = finished {
        tracing::debug!(%error, "last call in the dark, accepting a little longer");
        accept_until(listener, end.min(Instant::now() + ROUND_TRIP), take).await;
    }
    filter.is_ok()
}

/// No new handshakes: the first way that the kernel allows us.
///
/// The sockets of handshakes that end from now on inherit the filter. It does them no harm: a connection has no use for a
/// bare SYN. Newer kernels ask for `CAP_NET_ADMIN` to filter TCP, which containers do not have; then the listener is bound
/// to the loopback device, which anyone may do (`SO_BINDTODEVICE`, socket(7)): SYNs from elsewhere are refused at once, and
/// handshakes under way, which are bound to where they came from, go on. Who is on this machine still gets in.
fn keep_out(socket: &Socket) -> io::Result<()> {
    socket
        .attach_filter(&DROP_SYN)
        .or_else(|_| socket.bind_device(Some(b"lo")))
}

/// Accepts until no handshake is half open, or those that are take too long. Errs when that cannot be known.
async fn finish_handshakes(
    listener: &Listener,
    end: Instant,
    take: &mut impl FnMut(Accepted),
) -> io::Result<()> {
    let mut none_half_open = half_open::none(listener.local_addr())?;
    let mut patience = Instant::now() + ROUND_TRIP;
    loop {
        tokio::select! {
            connection = listener.accept() => take(connection),
            // The kernel takes a handshake off its list no sooner than the connection is in the queue. So when the
            // list is empty, all there will ever be is in the queue, and step 3 accepts it.
            none = &mut none_half_open => return none.map_err(io::Error::other)?,
            () = sleep_until(end.min(patience).into()) => return Ok(()),
        }
        patience = Instant::now() + ROUND_TRIP;
    }
}

/// Accepts what comes until then.
async fn accept_until(listener: &Listener, until: Instant, take: &mut impl FnMut(Accepted)) {
    // The clock is asked too: a timeout that is always ready in time would never end where there is no filter.
    while Instant::now() < until {
        match timeout_at(until.into(), listener.accept()).await {
            Ok(connection) => take(connection),
            Err(_) => break,
        }
    }
}

/// Step 3.
fn close(listener: Listener, take: &mut impl FnMut(Accepted)) {
    let sockets = listener.into_sockets();
    sockets.iter().for_each(|socket| empty(socket, take));
    drop(sockets);
}

/// Accepts no more than the queue can hold, so that a flood with no filter before it cannot keep us here.
fn empty(socket: &Socket, take: &mut impl FnMut(Accepted)) {
    for _ in 0..=BACKLOG {
        match accept_one(socket) {
            Ok(connection) => take(connection),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => {
                tracing::warn!(%error, "closing the listener with connections unaccepted");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tokio::time::timeout;

    use super::*;
    use crate::server::listener::Bound;

    const LONG: Duration = Duration::from_secs(30);

    /// A listener that is deaf to bare ACKs, and a client that is half way in.
    fn half_open_client() -> (Listener, TcpStream) {
        let bound = Bound::at(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = bound.listen().unwrap();
        let mut deaf = DROP_SYN;
        deaf[2] = SockFilter::new(0x15, 0, 1, 0x10); // jeq #ACK
        listener
            .sockets()
            .for_each(|socket| socket.attach_filter(&deaf).unwrap());
        let client = TcpStream::connect(listener.local_addr()).unwrap();
        (listener, client)
    }

    #[tokio::test]
    async fn who_is_half_way_in_is_let_in_and_a_newcomer_is_neither_answered_nor_reset() {
        let (listener, mut client) = half_open_client();
        let address = listener.local_addr();
        let mut taken = Vec::new();
        let deadline = Instant::now() + LONG;
        let call = last_call(listener, deadline, Patience::RoundTrip, |socket, peer| {
            taken.push((socket, peer));
        });
        let others = async {
            let newcomer = tokio::net::TcpStream::connect(address);
            let answered = timeout(Duration::from_millis(60), newcomer).await;
            // Any further segment completes the handshake whose ACK was lost on the deaf.
            client.write_all(b"hello").unwrap();
            answered
        };
        let (outcome, newcomer) = tokio::join!(call, others);
        assert!(newcomer.is_err(), "the newcomer was answered: {newcomer:?}");
        assert_eq!((outcome.accepted_late, outcome.filtered), (1, true));
        let (mut socket, peer) = taken.pop().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        socket.write_all(b"welcome").unwrap();
        assert_eq!(socket.read(&mut [0; 8]).unwrap(), 5);
        drop(socket);
        let mut welcome = String::new();
        client.read_to_string(&mut welcome).unwrap();
        assert_eq!(welcome, "welcome");
    }

    #[tokio::test]
    async fn a_handshake_that_never_ends_costs_a_round_trip_or_the_deadline() {
        for (budget, expected) in [(LONG, ROUND_TRIP), (ROUND_TRIP / 5, ROUND_TRIP / 5)] {
            let (listener, _client) = half_open_client();
            let start = Instant::now();
            let outcome = last_call(listener, start + budget, Patience::RoundTrip, |_, _| {}).await;
            let took = start.elapsed();
            assert!(outcome.accepted_late == 0 && outcome.filtered);
            assert!(
                took >= expected && took < expected + LIMIT,
                "{took:?} for {expected:?}"
            );
        }
    }
}

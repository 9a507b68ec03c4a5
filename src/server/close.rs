//! The end of a connection: FIN after the bytes already sent, never a reset.

use std::{
    future::poll_fn,
    io,
    os::fd::{AsRawFd, RawFd},
    task::{Context, Poll, ready},
    time::{Duration, Instant, SystemTime},
};

use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use tokio::{net::TcpStream, task::spawn_local};

use super::{stream::Stream, unsent::unsent};
use crate::drain::{Kind, Open, Watch};

/// How long a closed connection's client may go on sending before it is cut off.
const LINGER: Duration = Duration::from_secs(1);

/// How often we look whether a client has what it was sent.
const GLANCE: Duration = Duration::from_millis(10);

/// Shuts our half down, at once, and discards what still arrives, at most 1 s and in a task of its own, so that no reset
/// destroys what the client has not read yet (RFC 9112 section 9.6).
pub(super) fn finish(stream: Stream, watch: &Watch) {
    let stream = stream.into_tcp();
    if shutdown(stream.as_raw_fd(), Shutdown::Write).is_ok() {
        // Else the exit could come before the task's first turn, and close over bytes that wait here.
        let unseen = watch.leaving().then(|| watch.open(Kind::Lingering));
        spawn_local(linger(stream, watch.clone(), unseen));
    }
}

/// As [`finish`], for a client that acknowledges what it reads, as HTTP/2 does with every piece: as long as it takes what it
/// was sent, to close over its answers would be a reset.
pub(super) fn finish_talking(stream: Stream, watch: &Watch) {
    let stream = stream.into_tcp();
    if shutdown(stream.as_raw_fd(), Shutdown::Write).is_ok() {
        let unread = watch.leaving().then(|| watch.open(Kind::Lingering));
        let watch = watch.clone();
        spawn_local(async move {
            hear_out(&stream, unread).await;
            linger(stream, watch, None).await;
        });
    }
}

/// Discards until the client has all, or takes nothing for as long as we linger; the exit waits meanwhile.
async fn hear_out(stream: &TcpStream, _unread: Option<Open>) {
    let mut left = unsent(stream.as_raw_fd());
    let mut moved = Instant::now();
    while left.is_some_and(|left| left > 0) && moved.elapsed() < LINGER {
        let ended = tokio::time::timeout(GLANCE, discard(stream, || {})).await;
        if ended.is_ok() {
            break;
        }
        let now = unsent(stream.as_raw_fd());
        if now < left {
            (left, moved) = (now, Instant::now());
        }
    }
}

/// Once bytes came after our FIN the exit waits, before that it does not.
async fn linger(stream: TcpStream, watch: Watch, unseen: Option<Open>) {
    let mut late = unseen.filter(|_| buffered(stream.as_raw_fd()));
    let discard = discard(&stream, || {
        late.get_or_insert_with(|| watch.open(Kind::Lingering));
    });
    let _ = tokio::time::timeout(LINGER, discard).await;
}

/// Reads to the end, and tells of every piece.
async fn discard(stream: &TcpStream, mut came: impl FnMut()) {
    poll_fn(|cx| {
        while let Ok(1..) = ready!(poll_discard(stream, cx)) {
            came();
        }
        Poll::Ready(())
    })
    .await;
}

fn poll_discard(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut scratch = [0; 4096];
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_read(&mut scratch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return Poll::Ready(read),
        }
    }
}

/// The answer to a head that did not become whole in time (RFC 9110 section 15.5.9).
pub(super) fn request_timeout(stream: &mut Stream) {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let text = format!(
        "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\ndate: {date}\r\n\r\n"
    );
    // The buffer of a socket that nothing was written to takes it whole; if it does not, the client is gone.
    stream.write_now(text.as_bytes());
}

/// Whether bytes wait in the kernel. The runtime's view may be behind, and a request that has arrived is not dropped.
pub(super) fn buffered(socket: RawFd) -> bool {
    let mut byte = [0];
    let peeked = recv(
        socket,
        &mut byte,
        MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
    );
    matches!(peeked, Ok(1..))
}

//! `PROXY_PROTOCOL`: the header that a connection begins with, read to its end and not a byte further, since what follows
//! may be a handshake's.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{io::ReadBuf, net::TcpStream};

use super::{
    proxy_header::{Introduction, NoHeader, end, read},
    state::State,
};
use crate::networks::Networks;

/// How long a header may take, which proxies send at once: the 3 s of a lost packet, and some.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How much is looked at, in bytes, before it is known where the header ends; few are as long.
const LOOK: usize = 512;

/// That every connection begins with a PROXY header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// `TRUSTED_PROXIES`: who may connect; none is anybody.
    pub from: Option<Networks>,
}

/// Why nobody is introduced.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntroductionError {
    /// The connection ended first.
    #[error("the connection ended within its PROXY header")]
    Ended,
    /// It is broken.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It begins with something else.
    #[error(transparent)]
    NoHeader(#[from] NoHeader),
}

/// A header on its way.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    /// What was read of it.
    read: Vec<u8>,
}

impl Arriving {
    /// What the header says, once all of it is there.
    pub(super) fn poll(
        &mut self,
        tcp: &TcpStream,
        state: &State,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Introduction, IntroductionError>> {
        loop {
            let before = self.read.len();
            let ahead = ready!(self.poll_look(tcp, cx))?;
            if ahead == 0 {
                state.read(0);
                return Poll::Ready(Err(IntroductionError::Ended));
            }
            let ends = end(&self.read);
            let taken = match ends {
                Ok(Some(end)) => end - before,
                Ok(None) => ahead,
                Err(NoHeader) => return Poll::Ready(Err(NoHeader.into())),
            };
            self.read.truncate(before);
            self.take(tcp, taken)?;
            if let Ok(Some(_)) = ends {
                let introduction = read(&self.read)?;
                if taken == ahead {
                    // Else the runtime would take the socket for readable.
                    let _ = self.poll_look(tcp, cx)?;
                }
                return Poll::Ready(Ok(introduction));
            }
            // It holds the drain as a head does.
            state.read(taken);
        }
    }

    /// Adds what waits in the socket, and leaves it there; how much that is.
    fn poll_look(&mut self, tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [0; LOOK];
        let mut ahead = ReadBuf::new(&mut room);
        ready!(tcp.poll_peek(cx, &mut ahead))?;
        self.read.extend_from_slice(ahead.filled());
        Poll::Ready(Ok(ahead.filled().len()))
    }

    /// Takes `count` bytes out of the socket, which are known to be there.
    fn take(&mut self, tcp: &TcpStream, count: usize) -> io::Result<()> {
        let end = self.read.len() + count;
        while self.read.len() < end {
            let mut room = [0; LOOK];
            let left = room.len().min(end - self.read.len());
            match tcp.try_read(&mut room[..left])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.read.extend_from_slice(&room[..count]),
            }
        }
        Ok(())
    }
}

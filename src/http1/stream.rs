//! A connection to the app: TCP on the loopback or a unix socket, and the bytes read ahead.

use std::{
    future::Future,
    io::{self, IoSlice},
    os::fd::{AsRawFd, RawFd},
    path::Path,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use crate::{metrics::Lap, target::Address};

/// Room made for a read while little is expected.
const SMALL_READ: usize = 8 * 1024;

/// Room made for a read while a long body is on its way.
const LARGE_READ: usize = 64 * 1024;

/// The longest pause between two attempts to connect to a unix socket whose queue is full.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Where a connection goes when its exchange is over and it may serve another.
pub trait Home: std::fmt::Debug {
    /// Takes the connection back.
    fn take_back(&self, connection: Connection);
}

/// A connection to the app.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    pub(super) read: BytesMut,
    /// When its last exchange ended; the instant of connecting before that.
    pub idle_since: Instant,
    /// Whether it has served an exchange.
    pub reused: bool,
    /// How long the app takes with the one that it serves, where that is counted.
    pub lap: Option<Lap>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    /// Connects to the app.
    ///
    /// # Errors
    /// What connect(2) says.
    pub async fn connect(address: &Address) -> io::Result<Self> {
        let stream = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(connect_unix(path.as_path()).await?),
        };
        Ok(Self {
            stream,
            read: BytesMut::new(),
            idle_since: Instant::now(),
            reused: false,
            lap: None,
        })
    }

    /// Whether the app has closed this idle connection, or sent something that nobody asked for.
    ///
    /// Asks the readiness that the runtime already knows, so it costs no system call unless something happened.
    pub fn is_stale(&self) -> bool {
        let mut byte = [0];
        let read = match &self.stream {
            Stream::Tcp(stream) => stream.try_read(&mut byte),
            Stream::Unix(stream) => stream.try_read(&mut byte),
        };
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether nothing waits to be read, neither bytes nor the end, whatever the runtime knows of it by now: a process that
    /// has died leaves both in the kernel before we are told of its death.
    pub(super) fn is_silent(&self) -> bool {
        let peeked = recv(
            self.fd(),
            &mut [0],
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        );
        peeked == Err(Errno::EAGAIN)
    }

    fn fd(&self) -> RawFd {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }

    /// Reads more behind what was read ahead; 0 is the end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        expected: u64,
    ) -> Poll<io::Result<usize>> {
        let room = if expected > SMALL_READ as u64 {
            LARGE_READ
        } else {
            SMALL_READ
        };
        self.read.reserve(room);
        match &mut self.stream {
            Stream::Tcp(stream) => pin!(stream.read_buf(&mut self.read)).poll(cx),
            Stream::Unix(stream) => pin!(stream.read_buf(&mut self.read)).poll(cx),
        }
    }

    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (&mut self.stream, pieces) {
            // One piece, one plain write: cheaper in the kernel than a vector of one.
            (Stream::Tcp(stream), [piece]) => Pin::new(stream).poll_write(cx, piece),
            (Stream::Unix(stream), [piece]) => Pin::new(stream).poll_write(cx, piece),
            (Stream::Tcp(stream), _) => Pin::new(stream).poll_write_vectored(cx, pieces),
            (Stream::Unix(stream), _) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }
}

/// Waits as TCP does while the app's queue is full: connect(2) says so at once instead (EAGAIN), and nothing tells when
/// there is room.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let mut pause = Duration::from_millis(1);
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
            connected => return connected,
        }
    }
}

/// Raw bytes, those read ahead first: how a tunnel uses a connection.
impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let ahead = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read.split_to(ahead));
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, &[IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

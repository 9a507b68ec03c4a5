//! The front door: bound, then listening, then accepting without ever failing.
//!
//! [`Bound`] holds the port before the app is started, so that a port that cannot be had is known before anything
//! is spawned; [`Listener`] opens it, at once or, with `WAIT_FOR_TARGET_PORT`, when the app is ready. How it closes
//! is a room of its own: [`last_call`](crate::server::last_call).
//!
//! A socket that was [inherited](Bound::inherited) is never ours alone: it listens already, gets no brothers, and is let go
//! of without a call. Its backlog belongs to whoever goes on with it.

use std::{
    fmt,
    future::poll_fn,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Instant,
};

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use crate::server::{accept::accept_one, register::register, shortage::Shortage};

/// How many connections may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
pub(super) const BACKLOG: u16 = 4096;

type Accepted = (TcpStream, SocketAddr);

/// A TCP port that is ours, on which nobody is let in yet: a connect is refused until [`listen`](Bound::listen), or waits
/// where the socket was inherited.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    address: SocketAddr,
    name: PortName,
    owner: Owner,
}

/// Who goes on with a listening socket when we are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// Nobody.
    Ours,
    /// Whoever passed it to us.
    Inherited,
}

/// The variable that says which port it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortName {
    /// `HTTP_PORT`.
    Http,
    /// `HTTPS_PORT`.
    Https,
    /// `THRUSTER_STATUS_PORT`.
    Status,
}

/// An open door: one queue of connections, or one for each core. Dropping it resets every connection that was not
/// accepted: see [`last_call`](crate::server::last_call::last_call).
#[derive(Debug)]
pub struct Listener {
    queues: Vec<AsyncFd<Socket>>,
    address: SocketAddr,
    owner: Owner,
    shortage: Arc<Mutex<Shortage>>,
}

/// One queue of a [`Listener`], outside of any runtime: on its way to a core, or back.
#[derive(Debug)]
pub struct Queue {
    socket: Socket,
    address: SocketAddr,
    owner: Owner,
    shortage: Arc<Mutex<Shortage>>,
}

/// Why a port cannot be had, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// `EACCES`: a port below `net.ipv4.ip_unprivileged_port_start`, without `CAP_NET_BIND_SERVICE`.
    #[error("port {0} needs a privilege; set {1}={instead}", instead = .1.instead())]
    Privilege(u16, PortName),
    /// `EADDRINUSE`, which comes with bind(2) or as late as listen(2).
    #[error("port {0} is taken by another process; stop it or set {1} to another port")]
    Taken(u16, PortName),
    /// Anything else: no descriptor is left, a seccomp filter.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// What was asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Bound {
    /// Takes `port` on all addresses, IPv4 and IPv6 by one socket, or IPv4 alone where there is no IPv6. With port 0
    /// the kernel chooses. See bind(2), and ipv6(7) for `IPV6_V6ONLY`.
    ///
    /// # Errors
    /// [`BindError`], when the port needs a privilege, is taken, or the kernel gives no socket.
    pub fn bind(port: u16, name: PortName) -> Result<Self, BindError> {
        match Self::named((Ipv6Addr::UNSPECIFIED, port).into(), name) {
            Err(BindError::Other { source, .. }) if lacks_ipv6(&source) => {
                Self::named((Ipv4Addr::UNSPECIFIED, port).into(), name)
            }
            outcome => outcome,
        }
    }

    /// Takes exactly this address; `[::]` hears IPv4 as well.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn at(address: SocketAddr) -> Result<Self, BindError> {
        Self::named(address, PortName::Http)
    }

    /// As [`at`](Self::at), for the port of this `name`.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn named(address: SocketAddr, name: PortName) -> Result<Self, BindError> {
        bound_socket(address)
            .and_then(|socket| {
                let address = local_address(&socket)?;
                Ok(Self {
                    socket,
                    address,
                    name,
                    owner: Owner::Ours,
                })
            })
            .map_err(|source| BindError::new(address, name, source))
    }

    /// A socket that listens already and stays another's.
    ///
    /// # Errors
    /// [`BindError::Other`], when it is no TCP socket.
    pub fn inherited(socket: TcpListener, name: PortName) -> Result<Self, BindError> {
        let socket = Socket::from(socket);
        prepare(&socket)
            .map(|address| Self {
                socket,
                address,
                name,
                owner: Owner::Inherited,
            })
            .map_err(|source| BindError::new((Ipv6Addr::UNSPECIFIED, 0).into(), name, source))
    }

    /// The address taken, with the port that the kernel chose if it was asked to.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Opens the door. See listen(2).
    ///
    /// # Errors
    /// [`BindError::Taken`], when another process that also allows `SO_REUSEADDR` listened first.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn listen(self) -> Result<Listener, BindError> {
        let Self {
            socket,
            address,
            name,
            owner,
        } = self;
        let opened = match owner {
            Owner::Ours => socket.listen(BACKLOG.into()),
            Owner::Inherited => Ok(()),
        };
        opened
            .and_then(|()| register(socket))
            .map(|socket| Listener {
                queues: vec![socket],
                address,
                owner,
                shortage: Arc::default(),
            })
            .map_err(|source| BindError::new(address, name, source))
    }
}

impl Listener {
    /// The address listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether another process goes on with it.
    pub fn is_inherited(&self) -> bool {
        self.owner == Owner::Inherited
    }

    /// The next connection and who it is from, IPv4 written as IPv4.
    ///
    /// The socket is non-blocking, closes on exec, has `TCP_NODELAY` and belongs to no runtime yet: it costs one
    /// accept4(2) and may be sent to any thread. There is no error: a connection that broke in the queue is passed
    /// over, and a lack of descriptors or memory is waited out, 50 ms doubling to 1 s, with one warning per 10 s.
    ///
    /// Cancel-safe: a future dropped at any await has taken no connection, and a wait it was in is taken up again.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            let retry_at = self.shortage().retry_at();
            if let Some(at) = retry_at {
                tokio::time::sleep_until(at.into()).await;
            }
            match self.accept_any().await {
                Ok(accepted) => {
                    self.shortage().over();
                    return accepted;
                }
                Err(error) => self.shortage().goes_on(&error, Instant::now()),
            }
        }
    }

    /// As [`accept`](Self::accept), with a permit that is only asked for once somebody is there: a core with an empty queue
    /// would keep it from one that has somebody waiting.
    pub async fn accept_with<P>(&self, permit: impl AsyncFn() -> P) -> (TcpStream, SocketAddr, P) {
        loop {
            let retry_at = self.shortage().retry_at();
            if let Some(at) = retry_at {
                tokio::time::sleep_until(at.into()).await;
            }
            self.knock().await;
            let permit = permit().await;
            match self.accept_waiting() {
                Ok((socket, peer)) => {
                    self.shortage().over();
                    return (socket, peer, permit);
                }
                // Whoever it was has left.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.shortage().goes_on(&error, Instant::now()),
            }
        }
    }

    /// Waits until somebody may be in a queue.
    async fn knock(&self) {
        poll_fn(|cx| {
            let mut queues = self.queues.iter();
            // An error comes only as the runtime shuts down, and again from who tries to accept.
            match queues.any(|queue| queue.poll_read_ready(cx).is_ready()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Who is in a queue by now.
    fn accept_waiting(&self) -> io::Result<Accepted> {
        for queue in &self.queues {
            match queue.try_io(Interest::READABLE, accept_one) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => return accepted,
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    async fn accept_any(&self) -> io::Result<Accepted> {
        // Not tokio's TcpListener: it would register the socket with this runtime, while a core of its own serves it.
        match &*self.queues {
            [queue] => queue.async_io(Interest::READABLE, accept_one).await,
            queues => {
                poll_fn(|cx| {
                    let accepted = queues.iter().map(|queue| poll_accept(queue, cx));
                    let mut ready = accepted.filter(Poll::is_ready);
                    ready.next().unwrap_or(Poll::Pending)
                })
                .await
            }
        }
    }

    /// Adds queues until there are `count`: the kernel spreads connections over them, so that each core is woken for its
    /// own alone (`SO_REUSEPORT`, socket(7)). That option comes only now that we listen: a port that another server
    /// listens on stays taken for us, and ours for others that do not ask to share it. What is inherited stays one queue:
    /// what arrived in another would be lost on whoever goes on.
    ///
    /// # Errors
    /// When the kernel gives no more sockets; there are fewer queues then.
    pub fn widen(&mut self, count: usize) -> io::Result<()> {
        while self.queues.len() < count && !self.is_inherited() {
            self.socket().set_reuse_port(true)?;
            let socket = new_socket(self.address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&self.address.into())?;
            socket.listen(BACKLOG.into())?;
            self.queues.push(register(socket)?);
        }
        Ok(())
    }

    /// Takes the queues out of this runtime.
    pub fn split(self) -> Vec<Queue> {
        let (address, owner, shortage) = (self.address, self.owner, self.shortage);
        let queue = |registered: AsyncFd<Socket>| Queue {
            socket: registered.into_inner(),
            address,
            owner,
            shortage: shortage.clone(),
        };
        self.queues.into_iter().map(queue).collect()
    }

    /// Puts queues of one listener together again, on the runtime of this thread; none if there are none.
    ///
    /// # Errors
    /// When epoll_ctl(2) fails.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn join(queues: Vec<Queue>) -> io::Result<Option<Self>> {
        let Some(first) = queues.first() else {
            return Ok(None);
        };
        let (address, owner) = (first.address, first.owner);
        let shortage = first.shortage.clone();
        let registered = queues.into_iter().map(|queue| register(queue.socket));
        Ok(Some(Self {
            queues: registered.collect::<io::Result<_>>()?,
            address,
            owner,
            shortage,
        }))
    }

    /// The bare sockets, which can be filtered.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.queues.iter().map(AsyncFd::get_ref)
    }

    /// The socket that came first.
    fn socket(&self) -> &Socket {
        self.queues[0].get_ref()
    }

    /// Takes the sockets out of the runtime, so that to drop them is close(2) and nothing else.
    pub(super) fn into_sockets(self) -> Vec<Socket> {
        self.queues.into_iter().map(AsyncFd::into_inner).collect()
    }

    fn shortage(&self) -> MutexGuard<'_, Shortage> {
        self.shortage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn poll_accept(queue: &AsyncFd<Socket>, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
    loop {
        let mut guard = ready!(queue.poll_read_ready(cx))?;
        if let Ok(accepted) = guard.try_io(|queue| accept_one(queue.get_ref())) {
            return Poll::Ready(accepted);
        }
    }
}

impl PortName {
    /// A port that needs no privilege.
    fn instead(self) -> u16 {
        match self {
            Self::Http => 8080,
            Self::Https => 8443,
            Self::Status => 9090,
        }
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP_PORT",
            Self::Https => "HTTPS_PORT",
            Self::Status => "THRUSTER_STATUS_PORT",
        })
    }
}

impl BindError {
    fn new(address: SocketAddr, name: PortName, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Privilege(address.port(), name),
            io::ErrorKind::AddrInUse => Self::Taken(address.port(), name),
            _ => Self::Other { address, source },
        }
    }
}

fn bound_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = new_socket(address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        None,
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A predecessor's connections in TIME_WAIT must not keep us from starting. Not SO_REUSEPORT, as long as we do not
    // listen: with that, a second server on our port would share its connections instead of being told that it is taken.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// Makes an inherited socket as we need ours, in what does no harm to others that hold it.
fn prepare(socket: &Socket) -> io::Result<SocketAddr> {
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    local_address(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL | Errno::ENOPROTOOPT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_error_carries_the_fix() {
        let named = |port, name, errno| {
            let address = (Ipv6Addr::UNSPECIFIED, port).into();
            let source = io::Error::from_raw_os_error(errno as i32);
            BindError::new(address, name, source).to_string()
        };
        let said = |port, errno| named(port, PortName::Http, errno);
        assert_eq!(
            named(443, PortName::Https, Errno::EACCES),
            "port 443 needs a privilege; set HTTPS_PORT=8443"
        );
        assert_eq!(
            said(80, Errno::EACCES),
            "port 80 needs a privilege; set HTTP_PORT=8080"
        );
        assert_eq!(
            said(8080, Errno::EADDRINUSE),
            "port 8080 is taken by another process; stop it or set HTTP_PORT to another port"
        );
        assert!(said(8080, Errno::ENFILE).starts_with("cannot listen on [::]:8080: "));
    }
}

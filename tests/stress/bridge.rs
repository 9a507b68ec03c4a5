//! TLS for clients that know only TCP: between them and Thrust stands a thread that speaks both.
//!
//! A connection that ends as TLS has it, with close_notify, ends with a FIN here; one that is cut short, with a RST.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::Arc,
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::{ClientConfig, ClientConnection};
use socket2::SockRef;

/// How much one side may be ahead of the other.
const AHEAD: usize = 64 * 1024;

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Connects, shakes hands, and returns the client's end.
pub(crate) fn connect(port: u16, config: &Arc<ClientConfig>) -> io::Result<TcpStream> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    server.set_nodelay(true)?;
    server.set_read_timeout(Some(PATIENCE))?;
    let name = "localhost".try_into().expect("a name");
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut server)?;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (near, _) = listener.accept()?;
    near.set_nodelay(true)?;
    near.set_nonblocking(true)?;
    server.set_nonblocking(true)?;
    let bridge = Bridge {
        tls,
        server,
        near,
        down: Vec::new(),
        near_done: false,
        server_done: false,
    };
    thread::spawn(move || bridge.run());
    Ok(client)
}

struct Bridge {
    tls: ClientConnection,
    server: TcpStream,
    near: TcpStream,
    /// On its way to the client.
    down: Vec<u8>,
    /// The client sends nothing more.
    near_done: bool,
    /// close_notify has come.
    server_done: bool,
}

impl Bridge {
    fn run(mut self) {
        let carried = self.carry();
        if carried.is_err() {
            // As it ended there, it ends here.
            let _ = SockRef::from(&self.near).set_linger(Some(Duration::ZERO));
        }
    }

    fn carry(&mut self) -> io::Result<()> {
        while !(self.server_done && self.down.is_empty()) {
            self.wait()?;
            again(self.hear_client())?;
            again(self.tell_server())?;
            again(self.hear_server())?;
            again(self.tell_client())?;
        }
        self.near.shutdown(Shutdown::Write)?;
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let when = |condition, flag| if condition { flag } else { PollFlags::empty() };
        let server = when(self.down.len() < AHEAD, PollFlags::POLLIN)
            | when(self.tls.wants_write(), PollFlags::POLLOUT);
        let near = when(
            !self.near_done && !self.tls.wants_write(),
            PollFlags::POLLIN,
        ) | when(!self.down.is_empty(), PollFlags::POLLOUT);
        let mut fds = [
            PollFd::new(self.server.as_fd(), server),
            PollFd::new(self.near.as_fd(), near),
        ];
        // The client that has gone is seen in writing.
        poll(&mut fds, PollTimeout::from(1_000_u16))?;
        Ok(())
    }

    fn hear_client(&mut self) -> io::Result<()> {
        if self.near_done || self.tls.wants_write() {
            return Ok(());
        }
        let mut piece = [0; 16 * 1024];
        match self.near.read(&mut piece)? {
            0 => {
                self.near_done = true;
                self.tls.send_close_notify();
            }
            read => self.tls.writer().write_all(&piece[..read])?,
        }
        Ok(())
    }

    fn tell_server(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.server)?;
        }
        Ok(())
    }

    fn hear_server(&mut self) -> io::Result<()> {
        if self.server_done || self.down.len() >= AHEAD {
            return Ok(());
        }
        self.tls.read_tls(&mut self.server)?;
        self.tls.process_new_packets().map_err(io::Error::other)?;
        let mut piece = [0; 16 * 1024];
        loop {
            match self.tls.reader().read(&mut piece)? {
                0 => {
                    self.server_done = true;
                    return Ok(());
                }
                read => self.down.extend_from_slice(&piece[..read]),
            }
        }
    }

    fn tell_client(&mut self) -> io::Result<()> {
        while !self.down.is_empty() {
            let written = self.near.write(&self.down)?;
            self.down.drain(..written);
        }
        Ok(())
    }
}

/// What would block is done in the next round.
fn again(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        outcome => outcome,
    }
}

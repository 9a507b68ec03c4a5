//! The memory row: a fresh proxy, and the same one with many idle connections.

use crate::contender::{Contender, Instance, Setup};
use crate::options::Options;
use crate::row::Row;
use crate::upstream::Upstream;
use crate::{Result, http, port, proc, verify};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// KiB, of all processes of the proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) fresh: u64,
    pub(crate) with_idle: u64,
}

/// Each contender alone, with its access log on where it has one.
pub(crate) fn measure(
    options: &Options,
    contenders: &[Contender],
    upstream: &Upstream,
    dir: &Path,
) -> Vec<(String, Result<Memory>)> {
    contenders
        .iter()
        .filter(|contender| contender.takes_part(Row::Memory))
        .map(|contender| {
            eprintln!("memory of {}", contender.name);
            let setup = Setup {
                log: contender.can_log(true),
                content: false,
            };
            let memory = contender
                .start(upstream, setup, dir)
                .and_then(|instance| sample(options, &instance));
            (contender.name.clone(), memory)
        })
        .collect()
}

fn sample(options: &Options, instance: &Instance) -> Result<Memory> {
    verify::proxy(instance.port)?;
    let settle = Duration::from_secs(options.settle);
    std::thread::sleep(settle);
    let fresh = proc::pss(instance.process.pid())?;

    let mut connections = (0..options.idle)
        .map(|index| idle_connection(instance.port, index))
        .collect::<Result<Vec<_>>>()?;
    std::thread::sleep(settle);
    let with_idle = proc::pss(instance.process.pid())?;

    // A proxy that let go of its connections would look thrifty.
    for connection in &mut connections {
        still_open(connection)?;
    }
    for connection in connections.iter_mut().step_by(100) {
        http::exchange(connection, REQUEST)?;
    }
    Ok(Memory { fresh, with_idle })
}

const REQUEST: &[u8] = b"GET /1k HTTP/1.1\r\nHost: localhost\r\nUser-Agent: idle\r\n\r\n";

/// A connection on which one request has been served.
fn idle_connection(to: u16, index: usize) -> Result<TcpStream> {
    // Few per address, for their ports not to run out.
    const PER_ADDRESS: usize = 5_000;
    let from = Ipv4Addr::new(127, 0, 0, 2 + (index / PER_ADDRESS) as u8);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&port::local(to).into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    http::exchange(&mut stream, REQUEST).map_err(|error| format!("connection {index}: {error}"))?;
    Ok(stream)
}

fn still_open(connection: &mut TcpStream) -> Result<()> {
    connection.set_nonblocking(true)?;
    match connection.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Ok(connection.set_nonblocking(false)?)
        }
        other => Err(format!("an idle connection did not stay open: {other:?}").into()),
    }
}

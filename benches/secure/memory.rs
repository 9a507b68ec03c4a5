//! The memory row: a fresh proxy, and the same one with many idle connections.

use std::{io::ErrorKind, path::Path, thread, time::Duration};

use crate::{
    Result,
    authority::Authority,
    client::{self, Stream},
    contender::{Contender, Instance},
    options::Options,
    proc,
    upstream::Upstream,
};

/// KiB, of all processes of the proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) fresh: u64,
    pub(crate) with_idle: u64,
}

/// Each contender alone.
pub(crate) fn measure(
    options: &Options,
    contenders: &[Contender],
    authority: &Authority,
    upstream: &Upstream,
    dir: &Path,
) -> Vec<(&'static str, Result<Memory>)> {
    let of = |contender: &Contender| {
        eprintln!("memory of {}", contender.name);
        let instance = contender.start(authority, upstream.port, dir)?;
        sample(options, authority, &instance)
    };
    contenders
        .iter()
        .map(|contender| (contender.name, of(contender)))
        .collect()
}

fn sample(options: &Options, authority: &Authority, instance: &Instance) -> Result<Memory> {
    let settle = Duration::from_secs(options.settle);
    let config = client::config(authority, false)?;
    // The first of all, so that what is made once is made.
    drop(client::idle(instance.port, 0, &config)?);
    thread::sleep(settle);
    let fresh = proc::pss(instance.process.pid())?;
    let mut connections = (0..options.idle)
        .map(|index| client::idle(instance.port, index, &config))
        .collect::<Result<Vec<_>>>()?;
    thread::sleep(settle);
    let with_idle = proc::pss(instance.process.pid())?;
    // A proxy that let go of its connections would look thrifty.
    for connection in &mut connections {
        still_open(connection)?;
    }
    for connection in connections.iter_mut().step_by(100) {
        client::ask(connection)?;
    }
    Ok(Memory { fresh, with_idle })
}

fn still_open(connection: &mut Stream) -> Result<()> {
    connection.sock.set_nonblocking(true)?;
    let read = connection.conn.read_tls(&mut connection.sock);
    connection.sock.set_nonblocking(false)?;
    match read {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        // Tickets that came behind the answer.
        Ok(1..) => Ok(connection.conn.process_new_packets().map(drop)?),
        other => Err(format!("an idle connection did not stay open: {other:?}").into()),
    }
}

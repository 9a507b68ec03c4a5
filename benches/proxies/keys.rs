//! The keys row: many more cacheable URLs than fit the cache, each asked for once.
//!
//! Memory is counted as the peak of the resident set (VmHWM, which the kernel keeps, so that nothing is missed between
//! two looks) of all processes of the proxy, less what was resident after the first few requests of the fresh process.

use crate::contender::{CACHE_MIB, Contender, Instance, Setup};
use crate::http::{connect, exchange};
use crate::row::Row;
use crate::upstream::Upstream;
use crate::{Result, body, proc, verify};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A cache that gets slower, or bigger, with the number of keys it has seen would show it.
const FEW: u64 = 100_000;
const MANY: u64 = 1_000_000;

const CONNECTIONS: usize = 16;

/// What a pass may take at most.
const PATIENCE: Duration = Duration::from_secs(600);

/// Figures of one pass over so many keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    pub(crate) keys: u64,
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    /// The peak of memory above that of the idle process, by the size of the cache.
    pub(crate) memory: f64,
}

/// Each contender with few keys and with many, in a fresh process each.
pub(crate) fn measure(
    contenders: &[Contender],
    upstream: &Upstream,
    dir: &Path,
) -> Vec<(String, Result<[Pass; 2]>)> {
    contenders
        .iter()
        .filter(|contender| contender.takes_part(Row::Keys))
        .map(|contender| {
            eprintln!("keys of {}", contender.name);
            let setup = Setup {
                log: false,
                content: true,
            };
            let pass = |keys| pass(&contender.start(upstream, setup, dir)?, keys);
            let passes = pass(FEW).and_then(|few| Ok([few, pass(MANY)?]));
            (contender.name.clone(), passes)
        })
        .collect()
}

fn pass(instance: &Instance, keys: u64) -> Result<Pass> {
    let pid = instance.process.pid();
    verify::proxy(instance.port)?;
    let (idle, cpu, begin) = (proc::resident(pid)?.now, proc::cpu(pid), Instant::now());
    ask_for_all(instance.port, keys)?;
    let (cpu_ns, elapsed) = (proc::cpu(pid).since(&cpu), begin.elapsed());
    let more = proc::resident(pid)?.peak.saturating_sub(idle);
    was_kept(instance.port, keys - 1)?;
    Ok(Pass {
        keys,
        cpu_us: cpu_ns as f64 / 1e3 / keys as f64,
        per_second: keys as f64 / elapsed.as_secs_f64(),
        memory: more as f64 / (CACHE_MIB * 1024) as f64,
    })
}

/// Every key below `keys` once, in order, over a few connections at a time.
fn ask_for_all(port: u16, keys: u64) -> Result<()> {
    let (next, give_up) = (AtomicU64::new(0), Instant::now() + PATIENCE);
    let connection = || -> std::result::Result<(), String> {
        let mut stream = connect(port).map_err(|error| error.to_string())?;
        loop {
            let key = next.fetch_add(1, Ordering::Relaxed);
            if key >= keys {
                return Ok(());
            }
            if Instant::now() > give_up {
                return Err(format!("took too long: {key} of {keys} keys"));
            }
            ask_for(&mut stream, key).map_err(|error| format!("key {key}: {error}"))?;
        }
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(connection)).collect();
        all.into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|_| Err("panicked".into())))
    })?;
    Ok(())
}

/// Whether the answer came from the cache; an error if it is another key's.
fn ask_for(stream: &mut TcpStream, key: u64) -> Result<bool> {
    let request = format!("GET /keys/{key} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = exchange(stream, request.as_bytes())?;
    let filling = answer
        .body
        .strip_prefix(format!("/keys/{key}\n").as_bytes());
    if filling.is_none_or(|filling| filling.len() != length_of_filling(key)) {
        return Err(format!("a wrong body of {} bytes", answer.body.len()).into());
    }
    Ok(verify::is_hit(&answer))
}

/// Whoever keeps nothing is fast and thrifty: the newest key must be there.
fn was_kept(port: u16, key: u64) -> Result<()> {
    match ask_for(&mut connect(port)?, key)? {
        true => Ok(()),
        false => Err(format!("key {key} was asked for last, and not kept").into()),
    }
}

/// From 1 KiB to nearly 2, so that what is evicted does not leave a hole of just the size that comes next.
fn length_of_filling(key: u64) -> usize {
    1024 + 100 * (key % 10) as usize
}

/// For the app, an nginx `map` from a key's path to what fills its body, in one line.
pub(crate) fn fillings_by_last_digit() -> String {
    (0..10)
        .map(|digit| {
            let filling = body::letters(length_of_filling(digit));
            format!("~{digit}$ {}; ", String::from_utf8_lossy(&filling))
        })
        .collect()
}

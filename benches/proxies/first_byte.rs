//! The start row: from the exec of Thrust to the first byte of a 200 through its front, with an app that is up at once.

use crate::child::Running;
use crate::port::{free, local};
use crate::{Result, stats};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const STARTS: usize = 20;

/// Medians in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstByte {
    /// Thrust and the app behind it.
    pub(crate) through_thrust: f64,
    /// The app by itself: what a faster front could not improve on.
    pub(crate) app_alone: f64,
}

pub(crate) fn measure(thrust: &Path) -> Result<FirstByte> {
    let app = std::env::current_exe()?;
    Ok(FirstByte {
        through_thrust: median_of_starts(|| {
            let (front, target) = (free()?, free()?);
            let mut command = Command::new(thrust);
            command
                .env("HTTP_PORT", front.to_string())
                .env("TARGET_PORT", target.to_string())
                .arg(&app)
                .args(["--app", &target.to_string()]);
            start(&mut command, front)
        })?,
        app_alone: median_of_starts(|| {
            let port = free()?;
            start(Command::new(&app).args(["--app", &port.to_string()]), port)
        })?,
    })
}

fn median_of_starts(start: impl Fn() -> Result<f64>) -> Result<f64> {
    let times = (0..STARTS).map(|_| start()).collect::<Result<Vec<_>>>()?;
    Ok(stats::median(&times))
}

/// Milliseconds from just before the fork, which is a little more than from the exec.
fn start(command: &mut Command, port: u16) -> Result<f64> {
    let begin = Instant::now();
    let mut process = Running::start(command)?;
    loop {
        if first_byte(port) {
            return Ok(begin.elapsed().as_secs_f64() * 1e3);
        }
        if process.has_ended() || begin.elapsed() > Duration::from_secs(10) {
            return Err(format!("served nothing: {}", process.last_words()).into());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Whether a request now is answered 200. Refused, cut or a 502 while it boots: not yet.
fn first_byte(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(local(port)) else {
        return false;
    };
    let mut begin = [0; 12];
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .is_ok()
        && stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .is_ok()
        && stream.read_exact(&mut begin).is_ok()
        && &begin == b"HTTP/1.1 200"
}

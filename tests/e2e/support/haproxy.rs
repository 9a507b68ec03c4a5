//! A real HAProxy in front of Thrust, as a sender of PROXY headers.

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use super::{PATIENCE, Place, ReservedPort, Thrust, eventually, is_here, secure};

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct HaProxy {
    process: Child,
    port: ReservedPort,
    place: Place,
}

impl HaProxy {
    /// Hands connections on to Thrust, with these options of HAProxy's `server`; none, with the reason printed, where there
    /// is no HAProxy.
    pub(crate) fn before(thrust: &Thrust, options: &str) -> Option<Self> {
        Self::start(thrust, "", options)
    }

    /// The same, but clients speak TLS to it, and it speaks plainly to Thrust.
    pub(crate) fn encrypted_before(thrust: &Thrust, options: &str) -> Option<Self> {
        Self::start(thrust, "ssl", options)
    }

    fn start(thrust: &Thrust, tls: &str, options: &str) -> Option<Self> {
        if !is_here("haproxy", &["-v"], "haproxy") {
            return None;
        }
        let (place, port) = (Place::new(), ReservedPort::v4());
        let crt = match tls {
            "" => String::new(),
            tls => format!("{tls} crt {}", place.file("pem", secure::pem())),
        };
        let config = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             listen front\n bind 127.0.0.1:{} {crt}\n server thrust 127.0.0.1:{} {options}\n",
            port.number(),
            thrust.port(),
        );
        let process = Command::new("haproxy")
            .args(["-db", "-q", "-f", &place.file("haproxy.cfg", config)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(place.path().join("stderr")).expect("the place is ours"))
            .spawn();
        let haproxy = Self {
            process: process.expect("it is here"),
            port,
            place,
        };
        haproxy.wait();
        Some(haproxy)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// A connection that brings nothing is no request of anybody's.
    fn wait(&self) {
        let up = eventually(PATIENCE, || {
            TcpStream::connect(("127.0.0.1", self.port())).is_ok()
        });
        let said = fs::read_to_string(self.place.path().join("stderr"));
        assert!(up, "no HAProxy: {said:?}");
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

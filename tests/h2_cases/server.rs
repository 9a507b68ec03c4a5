//! Who is asked: Thrust, or whoever listens on the port in `H2_CASES_PORT`.

use std::env;

use crate::{
    support::{Builder, Thrust, resident_memory_of},
    wire::{Connection, Fields, headers},
};

pub(crate) struct Server {
    thrust: Option<Thrust>,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    /// With further settings, which another server than Thrust does not have.
    pub(crate) fn start_with(settings: impl FnOnce(Builder) -> Builder) -> Self {
        if let Ok(port) = env::var("H2_CASES_PORT") {
            let port = port.parse().expect("H2_CASES_PORT is a port");
            return Server { thrust: None, port };
        }
        let thrust = settings(Thrust::builder().env("H2C_ENABLED", "1")).start();
        let port = thrust.port();
        Server {
            thrust: Some(thrust),
            port,
        }
    }

    /// A connection on which nothing has been said.
    pub(crate) fn open(&self) -> Connection {
        Connection::open(self.port).expect("the front listens")
    }

    /// A connection that has begun.
    pub(crate) fn begin(&self) -> Connection {
        let mut connection = self.open();
        connection.begin(&[]).expect("it speaks HTTP/2");
        connection
    }

    /// The pid, if it is Thrust.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.thrust.as_ref().map(Thrust::pid)
    }

    pub(crate) fn is_thrust(&self) -> bool {
        self.thrust.is_some()
    }

    /// Its memory, if it is Thrust.
    pub(crate) fn memory(&self) -> u64 {
        self.pid().map_or(0, resident_memory_of)
    }

    /// After all that, a stranger is served, and nothing panicked.
    pub(crate) fn assert_unharmed(&self) {
        let mut connection = self.begin();
        connection.send(&headers(1, Fields::get("/hello")).end());
        let served = connection.hear(|event| event.status(1) == Some(200));
        assert!(served.is_ok(), "no longer served: {served:?}");
        if let Some(thrust) = &self.thrust {
            assert!(!thrust.logs().contains("panicked"), "a panic");
        }
    }
}

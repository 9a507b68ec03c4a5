//! Connections: knows sockets, not requests.
//!
//! A core is a thread with a runtime of its own, where a connection stays for life. Each accepts from a queue of its own. The [`Drain`](crate::drain::Drain) counts it before its task
//! exists, shows it every stage of the stop, and does not forget it until it is closed.

mod accept;
mod acceptor;
mod clock;
mod close;
mod connection;
mod core;
mod half_open;
mod io;
pub mod last_call;
pub mod listener;
mod memory;
mod register;
mod registry;
mod shortage;
mod state;
mod tunnel;
mod unsent;

use std::{
    num::NonZeroUsize,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

pub use acceptor::{Acceptor, Closed};

use self::acceptor::Arrival;
use crate::{
    drain::{Gate, Watch, WatchSeed},
    handler::Handler,
};

/// What the front server was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `HTTP_PORT`; 0 lets the kernel choose (the log says which).
    pub http_port: u16,
    /// `HTTP_IDLE_TIMEOUT`; none is no limit.
    pub idle_timeout: Option<Duration>,
    /// `HTTP_READ_TIMEOUT`; none is no limit.
    pub read_timeout: Option<Duration>,
    /// `HTTP_WRITE_TIMEOUT`; none is no limit.
    pub write_timeout: Option<Duration>,
    /// `MAX_CONNECTIONS`; none is no limit.
    pub max_connections: Option<NonZeroUsize>,
    /// `LOG_REQUESTS`: whether what is refused before it is a request is logged too.
    pub log_refused: bool,
}

/// How many cores there are to serve on, as the scheduler and the cgroup allow.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The running cores.
#[derive(Debug)]
pub struct Server {
    senders: Vec<mpsc::UnboundedSender<Arrival>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts one core for each of `seeds`; `stack` builds the request path on each of them.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start<H, F>(
        settings: &Settings,
        seeds: Vec<WatchSeed>,
        stack: F,
    ) -> std::io::Result<Self>
    where
        H: Handler + 'static,
        F: Fn(Watch) -> H + Clone + Send + 'static,
    {
        let mut server = Self {
            senders: Vec::new(),
            threads: Vec::new(),
        };
        for (index, seed) in seeds.into_iter().enumerate() {
            let (sender, receiver) = mpsc::unbounded_channel();
            let (settings, stack) = (settings.clone(), stack.clone());
            let thread = std::thread::Builder::new()
                .name(format!("core-{index}"))
                .spawn(move || core::run(&settings, seed, stack, receiver))?;
            server.senders.push(sender);
            server.threads.push(thread);
        }
        Ok(server)
    }

    /// Opens `listener` to connections, which these cores serve.
    pub fn open(&self, listener: listener::Listener, gate: Gate, settings: &Settings) -> Acceptor {
        Acceptor::open(
            listener,
            gate,
            self.senders.clone(),
            settings.max_connections,
        )
    }

    /// Lets the cores end and waits for them, at most until `deadline`.
    pub async fn join(self, deadline: Instant) {
        drop(self.senders);
        let ended = async {
            while self.threads.iter().any(|thread| !thread.is_finished()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout_at(deadline.into(), ended).await;
    }
}

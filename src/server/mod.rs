//! Connections: knows sockets, not requests.
//!
//! A core is a thread with a runtime of its own, where a connection stays for life. Each accepts from a queue of its own.
//! The [`Drain`](crate::drain::Drain) counts a connection before its task exists and before any handshake, shows it every
//! stage of the stop, and does not forget it until it is closed. A connection begins behind a [`Face`]: bare, or with a
//! handshake; it goes on in HTTP/1.1 (`connection`) or in HTTP/2 (`http2`), and to the path that makes no difference.

mod accept;
mod acceptor;
mod clock;
mod close;
mod connection;
mod core;
mod date;
mod face;
mod half_open;
mod handshake;
mod http2;
mod io;
mod kind;
pub mod last_call;
pub mod listener;
mod memory;
mod redirect;
mod register;
mod registry;
mod second;
mod shortage;
mod state;
mod stream;
mod streams;
mod tunnel;
mod unsent;

use std::{
    num::NonZeroUsize,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, mpsc, oneshot};

pub use acceptor::{Acceptor, Closed};
pub use face::Face;
pub use redirect::{PlainFace, Redirect};

use self::acceptor::Arrival;
use crate::{
    drain::{Gate, Watch, WatchSeed},
    handler::Handler,
    metrics::{Metrics, Recorder},
};

/// What the front server was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `HTTP_PORT`; 0 lets the kernel choose (the log says which).
    pub http_port: u16,
    /// `HTTPS_PORT`, when there is TLS; 0 as for `http_port`.
    pub https_port: Option<u16>,
    /// `H2C_ENABLED`: HTTP/2 by prior knowledge on the plain port.
    pub h2c: bool,
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
    /// `MAX_CONNECTIONS`, over all listeners.
    limit: Option<Arc<Semaphore>>,
}

impl Server {
    /// Starts one core for each of `seeds`, which counts for `metrics`; `stack` builds the request path on each of them.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start<H, F>(
        settings: &Settings,
        seeds: Vec<WatchSeed>,
        metrics: &Metrics,
        stack: F,
    ) -> std::io::Result<Self>
    where
        H: Handler + 'static,
        F: Fn(Watch, Recorder) -> H + Clone + Send + 'static,
    {
        let mut server = Self {
            senders: Vec::new(),
            threads: Vec::new(),
            limit: settings.max_connections.map(limit),
        };
        for (index, seed) in seeds.into_iter().enumerate() {
            let (sender, receiver) = mpsc::unbounded_channel();
            let (settings, stack) = (settings.clone(), stack.clone());
            let seeds = (seed, metrics.seed(index));
            let thread = std::thread::Builder::new()
                .name(format!("core-{index}"))
                .spawn(move || core::run(&settings, seeds, stack, receiver))?;
            server.senders.push(sender);
            server.threads.push(thread);
        }
        Ok(server)
    }

    /// Opens `listener` to connections, which these cores serve.
    pub fn open(&self, listener: listener::Listener, face: Face, gate: Gate) -> Acceptor {
        let (senders, limit) = (self.senders.clone(), self.limit.clone());
        Acceptor::open(listener, face, gate, senders, limit)
    }

    /// Waits until every core has had a turn; for ever where one has ended or is stuck.
    pub fn pulse(&self) -> impl Future<Output = ()> + use<> {
        let feel = |core: &mpsc::UnboundedSender<Arrival>| {
            let (sender, felt) = oneshot::channel();
            let _ = core.send(Arrival::Pulse(sender));
            felt
        };
        let felt: Vec<_> = self.senders.iter().map(feel).collect();
        async {
            for felt in felt {
                if felt.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
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

fn limit(connections: NonZeroUsize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(
        connections.get().min(Semaphore::MAX_PERMITS),
    ))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
        time::Instant,
    };

    use super::{last_call::Patience, listener::Bound, *};
    use crate::{
        drain::{Drain, Ended, Kind, Stage},
        handler::{Body, Request, Response},
    };

    /// Falls over where the path says so.
    struct Stumbles;

    impl Handler for Stumbles {
        async fn handle(&self, request: Box<Request>) -> Response {
            match request.head.uri.path() {
                "/at-once" => panic!("as asked"),
                "/later" => {
                    tokio::task::yield_now().await;
                    panic!("as asked")
                }
                _ => Response::new(Body::from("fine")),
            }
        }
    }

    fn settings() -> Settings {
        Settings {
            http_port: 0,
            https_port: None,
            h2c: false,
            idle_timeout: None,
            read_timeout: None,
            write_timeout: None,
            max_connections: None,
            log_refused: false,
        }
    }

    fn ask(client: &mut TcpStream, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        client.write_all(head.as_bytes()).unwrap();
        let mut heard = vec![0; 1024];
        let length = client.read(&mut heard).unwrap();
        String::from_utf8_lossy(&heard[..length]).into_owned()
    }

    /// Keeps its core from everything else, until told.
    struct Hangs(Arc<Semaphore>);

    impl Handler for Hangs {
        async fn handle(&self, _: Box<Request>) -> Response {
            while self.0.try_acquire().is_err() {
                std::thread::yield_now();
            }
            Response::new(Body::from("fine"))
        }
    }

    #[tokio::test]
    async fn a_core_that_hangs_has_no_pulse() {
        let settings = settings();
        let (drain, seeds) = Drain::new(1);
        let leave = Arc::new(Semaphore::new(0));
        let told = leave.clone();
        let server = Server::start(&settings, seeds, &Metrics::off(), move |_, _| {
            Hangs(told.clone())
        })
        .unwrap();
        let listener = Bound::at(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = listener.listen().unwrap();
        let address = listener.local_addr();
        let acceptor = server.open(listener, Face::Plain, drain.gate());
        server.pulse().await;
        let mut client = TcpStream::connect(address).unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        let pulse = |patience| tokio::time::timeout(patience, server.pulse());
        while pulse(Duration::from_millis(50)).await.is_ok() {}
        leave.add_permits(1);
        let back = pulse(Duration::from_secs(10)).await;
        assert!(back.is_ok(), "no pulse although nothing hangs");
        let deadline = Instant::now() + Duration::from_secs(10);
        drain.enter(Stage::Leaving);
        acceptor.close(deadline, Patience::None).await;
        drain.enter(Stage::Cut);
        server.join(deadline).await;
    }

    #[tokio::test]
    async fn a_panic_ends_its_connection_and_nothing_else() {
        let settings = settings();
        let (drain, seeds) = Drain::new(1);
        let server = Server::start(&settings, seeds, &Metrics::off(), |_, _| Stumbles).unwrap();
        let listener = Bound::at(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = listener.listen().unwrap();
        let address = listener.local_addr();
        let acceptor = server.open(listener, Face::Plain, drain.gate());
        let clients = std::thread::spawn(move || {
            let mut survivor = TcpStream::connect(address).unwrap();
            assert!(ask(&mut survivor, "/").ends_with("fine"));
            for path in ["/at-once", "/later"] {
                let mut client = TcpStream::connect(address).unwrap();
                assert_eq!(ask(&mut client, path), "", "an end, and no reset");
            }
            assert!(ask(&mut survivor, "/").ends_with("fine"));
            survivor
        });
        let survivor = tokio::task::spawn_blocking(|| clients.join().unwrap()).await;
        let deadline = Instant::now() + Duration::from_secs(10);
        drain.enter(Stage::Leaving);
        acceptor.close(deadline, Patience::RoundTrip).await;
        assert_eq!(drain.drained(deadline).await, Ended::Done);
        drain.enter(Stage::Cut);
        drain
            .closed(&[Kind::Connection, Kind::Request, Kind::Arriving])
            .await;
        let began = Instant::now();
        server.join(deadline).await;
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(drain.tally().cut(), 0);
        drop(survivor);
    }
}

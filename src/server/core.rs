//! A core: one thread, one runtime, the connections that live there.

use std::{
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd,
    rc::Rc,
    time::{Duration, Instant},
};

use hyper::server::conn::http1;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc,
    task::spawn_local,
};

use super::{
    Settings,
    connection::Connection,
    registry::Registry,
    state::{State, Timeouts},
};
use crate::{
    drain::{Admitted, Kind, Stage, Watch, WatchSeed},
    handler::Handler,
};

/// The longest head that a client may send, in bytes, and the most that is buffered of a response.
const MAX_BUFFER: usize = 64 * 1024;

/// How long the runtime outlives the last stage for connections that are being closed.
const PATIENCE: Duration = Duration::from_millis(1_200);

/// A connection as it comes from the acceptor.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) at: Instant,
    pub(super) admitted: Admitted,
}

pub(super) struct Core<H> {
    pub(super) handler: Rc<H>,
    pub(super) http: http1::Builder,
    pub(super) registry: Rc<Registry>,
    pub(super) log_refused: bool,
    timeouts: Timeouts,
    watch: Watch,
}

/// Runs a core until the acceptors are gone and everything is cut.
pub(super) fn run<H, F>(
    settings: Settings,
    seed: WatchSeed,
    stack: F,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
) where
    H: Handler + 'static,
    F: Fn(Watch) -> H,
{
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(serve(&settings, seed.plant(), stack, arrivals)),
        Err(error) => tracing::error!(%error, "cannot start a core"),
    }
}

async fn serve<H, F>(
    settings: &Settings,
    watch: Watch,
    stack: F,
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
) where
    H: Handler + 'static,
    F: Fn(Watch) -> H,
{
    let registry = Registry::new(watch.clone());
    let core = Rc::new(Core {
        handler: Rc::new(stack(watch.clone())),
        http: http(),
        registry: registry.clone(),
        log_refused: settings.log_refused,
        timeouts: Timeouts::from(settings),
        watch: watch.clone(),
    });
    spawn_local(follow(watch.clone(), registry.clone()));
    while let Some(arrival) = arrivals.recv().await {
        core.admit(arrival);
    }
    watch.reached(Stage::Cut).await;
    let closed = async {
        while !registry.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, closed).await;
}

/// Shows every stage to the connections of this core.
async fn follow(watch: Watch, registry: Rc<Registry>) {
    let mut stages = watch.stages();
    while stages.changed().await.is_ok() {
        let stage = *stages.borrow_and_update();
        registry.show(stage);
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // The clocks are ours (see `clock`): hyper has one for heads and idle connections together, and none for bodies.
    http.max_buf_size(MAX_BUFFER).header_read_timeout(None);
    http
}

impl<H: Handler + 'static> Core<H> {
    fn admit(self: &Rc<Self>, arrival: Arrival) {
        let Arrival {
            socket,
            peer,
            at,
            admitted,
        } = arrival;
        let open = self.watch.open(Kind::Connection);
        let state = State::new(
            peer,
            socket.as_raw_fd(),
            at,
            self.timeouts,
            self.watch.clone(),
        );
        let state = Rc::new(state);
        let place = self.registry.enter(state.clone());
        if self.watch.leaving() {
            state.update_hold(false);
        }
        // Counted here from now on.
        drop(admitted);
        match tokio::net::TcpStream::from_std(socket) {
            Ok(stream) => {
                spawn_local(Connection::new(self.clone(), state, open, place).serve(stream));
            }
            Err(error) => tracing::debug!(%error, "cannot register a connection"),
        }
    }
}

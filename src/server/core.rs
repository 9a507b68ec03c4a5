//! A core: one thread, one runtime, the connections that live there.

use std::{
    os::fd::AsRawFd,
    rc::Rc,
    time::{Duration, Instant},
};

use hyper::server::conn::http1;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_local,
};

use super::{
    Settings,
    acceptor::{Accepted, Arrival, Doors, Doorway},
    connection::Connection,
    date::Date,
    face::Face,
    http2,
    listener::Listener,
    memory::Memory,
    registry::Registry,
    state::{State, Timeouts},
};
use crate::{
    drain::{Kind, Open, Stage, Watch, WatchSeed},
    handler::Handler,
    metrics::{Recorder, Seed},
};

/// The longest head that a client may send, in bytes, and the most that is buffered of a response.
const MAX_BUFFER: usize = 64 * 1024;

/// How many handshakes may be under way on one core. Each is 20 KiB and half a millisecond of work, but most of its time it
/// waits for a client: so many are under way when a core makes as many as it can with clients that are half a second away.
const HANDSHAKES: usize = 1_000;

/// How long the runtime outlives the last stage for connections that are being closed.
const PATIENCE: Duration = Duration::from_millis(1_200);

pub(super) struct Core<H> {
    pub(super) handler: Rc<H>,
    pub(super) http: http1::Builder,
    pub(super) http2: h2::server::Builder,
    /// Whether a plain connection may speak HTTP/2 without having asked.
    pub(super) h2c: bool,
    pub(super) date: Date,
    /// Room for handshakes under way.
    pub(super) handshakes: Semaphore,
    pub(super) registry: Rc<Registry>,
    pub(super) log_refused: bool,
    pub(super) memory: Rc<Memory>,
    timeouts: Timeouts,
    watch: Watch,
    recorder: Recorder,
}

/// Runs a core until the acceptors are gone and everything is cut.
pub(super) fn run<H, F>(
    settings: &Settings,
    seeds: (WatchSeed, Seed),
    stack: F,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
) where
    H: Handler + 'static,
    F: Fn(Watch, Recorder) -> H,
{
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(serve(settings, seeds, stack, arrivals)),
        Err(error) => tracing::error!(%error, "cannot start a core"),
    }
}

async fn serve<H, F>(
    settings: &Settings,
    (watch, recorder): (WatchSeed, Seed),
    stack: F,
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
) where
    H: Handler + 'static,
    F: Fn(Watch, Recorder) -> H,
{
    let (watch, recorder) = (watch.plant(), recorder.plant());
    let registry = Registry::new(watch.clone());
    let core = Rc::new(Core {
        handler: Rc::new(stack(watch.clone(), recorder.clone())),
        http: http(),
        http2: http2::builder(),
        h2c: settings.h2c,
        date: Date::default(),
        handshakes: Semaphore::new(HANDSHAKES),
        registry: registry.clone(),
        log_refused: settings.log_refused,
        memory: Rc::default(),
        timeouts: Timeouts::from(settings),
        watch: watch.clone(),
        recorder,
    });
    spawn_local(follow(watch.clone(), registry.clone()));
    while let Some(arrival) = arrivals.recv().await {
        match arrival {
            Arrival::Connection { accepted, admitted } => {
                core.admit(accepted);
                // Counted here from now on.
                drop(admitted);
            }
            Arrival::Queue(doorway) => {
                spawn_local(core.clone().accept(doorway));
            }
            Arrival::Pulse(felt) => {
                let _ = felt.send(());
            }
        }
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
    /// Accepts until told to let go.
    async fn accept(self: Rc<Self>, doorway: Doorway) {
        let Doorway {
            queue,
            doors,
            core,
            mut close,
            back,
        } = doorway;
        let listener = match Listener::join(vec![queue]) {
            Ok(Some(listener)) => listener,
            Ok(None) => return,
            Err(error) => return tracing::error!(%error, "a core cannot accept"),
        };
        let face = doors.face();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = &mut close => break,
                accepted = next(&listener, &doors, &face) => accepted,
            };
            match doors.better_than(core) {
                Some(other) => doors.send(other, accepted),
                None => self.admit(accepted),
            }
        }
        if let Some(queue) = listener.split().pop() {
            // Whoever wants it back waits for it.
            let _ = back.send(queue);
        }
    }

    fn admit(self: &Rc<Self>, accepted: Accepted) {
        let Accepted {
            socket,
            peer,
            at,
            face,
            permit,
        } = accepted;
        let open = Admission {
            _open: self.watch.open(Kind::Connection),
            _permit: permit,
        };
        let state = State::new(
            peer,
            socket.as_raw_fd(),
            at,
            self.timeouts,
            self.watch.clone(),
            self.recorder.clone(),
        );
        let secure = matches!(face, Face::Secure(_));
        self.recorder.connection(secure);
        if secure {
            state.begins_with_a_handshake();
        }
        let state = Rc::new(state);
        let place = self.registry.enter(state.clone());
        if self.watch.leaving() {
            state.update_hold(false);
        }
        match tokio::net::TcpStream::from_std(socket) {
            Ok(stream) => {
                spawn_local(Connection::new(self.clone(), state, open, place).serve(stream, face));
            }
            Err(error) => tracing::debug!(%error, "cannot register a connection"),
        }
    }
}

async fn next(listener: &Listener, doors: &Doors, face: &Face) -> Accepted {
    let (socket, peer, permit) = if doors.is_limited() {
        listener.accept_with(async || doors.permit().await).await
    } else {
        let (socket, peer) = listener.accept().await;
        (socket, peer, None)
    };
    Accepted {
        socket,
        peer,
        at: Instant::now(),
        face: face.clone(),
        permit,
    }
}

/// Counts a connection, tunnels included, until it is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    _open: Open,
    _permit: Option<OwnedSemaphorePermit>,
}

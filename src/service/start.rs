//! The one order of starting: signal handlers, bind, spawn, serve.

use std::{future::pending, io, net::TcpListener, rc::Rc, time::Instant};

use tokio::{sync::watch, task::spawn_local};

use super::{
    Event, Front, Phase, Service,
    board::{Board, Witnesses},
    deadlines::Budget,
    repeats::Repeats,
    signals::{Heard, Signals},
};
use crate::{
    admin::{
        self, Admin, Desk, History,
        control::{Orders, Socket, SocketError},
    },
    cache::Cache,
    config::Config,
    drain::Drain,
    journal::Stdout,
    metrics::Metrics,
    proxy::{self, App, Probe},
    server::{
        self, Face, PlainFace, Redirect, Server,
        listener::{BindError, Bound, Listener, PortName},
    },
    systemd::{
        Supervisor,
        sockets::{self, Sockets, SocketsError},
    },
    target::Target,
    telemetry::Loudness,
    tls::{self, Tls},
    upstream::{
        self, Name, Nofile, SpawnError, Upstream,
        notify::Notify,
        readiness::{Readiness, find},
    },
};

/// Why the Service did not start. Nothing is left behind: what was bound is released, nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No signal handlers.
    #[error("cannot install signal handlers: {0}")]
    Signals(io::Error),
    /// No certificates to be had.
    #[error(transparent)]
    Tls(#[from] tls::OpenError),
    /// Sockets of systemd's that are of no use to us.
    #[error(transparent)]
    Sockets(#[from] SocketsError),
    /// No front listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No control socket.
    #[error(transparent)]
    Control(#[from] SocketError),
    /// No way to hear of it.
    #[error("cannot take commands: {0}")]
    Commands(io::Error),
    /// Somebody else is where the app is to be.
    #[error(
        "{0} is taken already, so the app cannot have it; stop who listens there, or set TARGET_PORT"
    )]
    TargetTaken(Target),
    /// A stop signal came before the app was spawned.
    #[error("stopped by {} before the app was started", Name(*.0))]
    Stopped(i32),
    /// No child.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// No threads to serve on.
    #[error("cannot start the threads to serve on: {0}")]
    Threads(io::Error),
}

impl StartError {
    /// What to exit with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Stopped(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::Spawn(error) => error.exit_code(),
            Self::Signals(_)
            | Self::Tls(_)
            | Self::Sockets(_)
            | Self::Bind(_)
            | Self::Control(_)
            | Self::Commands(_)
            | Self::TargetTaken(_)
            | Self::Threads(_) => 1,
        }
    }
}

impl Service {
    /// Starts the front and the child. To be called on the main thread, within its local runtime: the child is told of our
    /// death through the thread that spawned it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        config: Config,
        stdout: Stdout,
        loudness: Loudness,
    ) -> Result<Self, StartError> {
        let started = Instant::now();
        let nofile = upstream::raise_nofile();
        let mut signals = Signals::install().map_err(StartError::Signals)?;
        // Before anything else listens: what systemd passes is known by its number alone.
        let sockets = sockets::take(config.tls.is_some())?;
        let supervisor = Supervisor::from_environment();
        supervisor.status("starting the app");
        let tls = config.tls.as_ref().map(Tls::open).transpose()?;
        let bound = bind(&config, tls.as_ref(), sockets)?;
        let commands = config.control_socket.as_deref().map(Socket::bind);
        let commands = commands.transpose()?;
        let status = config.admin.as_ref().map(open_status).transpose()?;
        let plain_face = plain_face(&config, tls.as_ref(), &bound);
        let listening = if config.lifecycle.wait_for_target_port {
            Err(bound)
        } else {
            Ok(listen(bound)?)
        };
        look_at_target(&config).await?;
        let notify = open_notify();
        let upstream = spawn(&config, &mut signals, notify.as_ref(), nofile).await?;
        let (drain, seeds) = Drain::new(server::cores());
        let drain = Rc::new(drain);
        let (app, readiness) = find_app(&config, &drain);
        let readiness = readiness.listening(notify);
        let metrics = match config.admin {
            Some(_) => Metrics::new(server::cores()),
            None => Metrics::off(),
        };
        let cache = Cache::new(config.cache);
        let server = {
            let (proxy, app, cache) = (config.proxy.clone(), app.clone(), cache.clone());
            let stack = move |watch, recorder| {
                let (app, stdout) = (app.clone(), stdout.clone());
                let path = proxy::stack(&proxy, app, &cache, stdout, watch, recorder);
                Redirect::new(plain_face.clone(), path)
            };
            Server::start(&config.server, seeds, &metrics, stack).map_err(StartError::Threads)?
        };
        let names = tls.as_ref().map(Tls::names);
        let certificates = tls.map(Tls::keep).transpose();
        let certificates = certificates.map_err(StartError::Threads)?;
        let lifecycle = config.lifecycle;
        let budget = Budget {
            delay: lifecycle.drain_delay,
            drain: lifecycle.drain_timeout,
            stop: lifecycle.stop_timeout,
            kill_after: lifecycle.kill_after,
        };
        tracing::info!(worst_case = %budget, "ready to stop");
        let wait = lifecycle
            .wait_for_target_port_timeout
            .filter(|_| lifecycle.wait_for_target_port);
        let history: Rc<History> = Rc::default();
        let witnesses = Witnesses {
            drain: drain.clone(),
            app: app.clone(),
            cache: cache.clone(),
            names,
            metrics: metrics.clone(),
            history: history.clone(),
        };
        let board = Board::new(witnesses, started, upstream.pid());
        let admin = config.admin.zip(status).map(|(settings, listener)| {
            let desk = desk(settings, &board, metrics, history);
            Admin::open(listener, desk)
        });
        let mut service = Self {
            phase: watch::Sender::new(Phase::Starting),
            settings: lifecycle,
            budget,
            signals,
            repeats: Repeats::default(),
            front: Front::Gone,
            server: Some(server),
            certificates,
            upstream,
            readiness,
            app,
            pulse: supervisor.pause().map(|pause| started + pause),
            supervisor,
            cache,
            loudness,
            control: None,
            orders: Orders::none(),
            drain,
            closing: false,
            draining: None,
            drained: None,
            pending: Box::pin(pending()),
            alarm: wait.map(|wait| (started + wait, Event::StartFailed)),
            reminder: None,
            stop: None,
            started,
            board,
            admin,
        };
        if let Some(commands) = commands {
            service.take_commands(commands)?;
        }
        match listening {
            Ok(listeners) => service.accept(listeners),
            Err(bound) => service.front = Front::Held(bound),
        }
        Ok(service)
    }

    /// Listens, after the app is ready.
    pub(super) fn listen(&mut self, bound: Vec<(Bound, Face)>) -> Result<(), BindError> {
        let listeners = listen(bound)?;
        self.alarm = None;
        self.accept(listeners);
        Ok(())
    }

    fn accept(&mut self, listeners: Vec<(Listener, Face)>) {
        if let Some(server) = &self.server {
            let open = |(listener, face)| server.open(listener, face, self.drain.gate());
            self.front = Front::Open(listeners.into_iter().map(open).collect());
        }
    }
}

/// All front ports, so that one that cannot be had is known before anything is spawned.
fn bind(
    config: &Config,
    tls: Option<&Tls>,
    sockets: Sockets,
) -> Result<Vec<(Bound, Face)>, BindError> {
    let plain = open(config.server.http_port, PortName::Http, sockets.http)?;
    let mut bound: Vec<_> = plain.into_iter().map(|one| (one, Face::Plain)).collect();
    if let (Some(port), Some(tls)) = (config.server.https_port, tls) {
        let secure = open(port, PortName::Https, sockets.https)?;
        let face = |one| (one, Face::Secure(tls.acceptor()));
        bound.extend(secure.into_iter().map(face));
    }
    Ok(bound)
}

/// The sockets that systemd holds for this port, or one of our own.
fn open(port: u16, name: PortName, inherited: Vec<TcpListener>) -> Result<Vec<Bound>, BindError> {
    if inherited.is_empty() {
        return Ok(vec![Bound::bind(port, name)?]);
    }
    let inherited = inherited.into_iter();
    inherited
        .map(|socket| Bound::inherited(socket, name))
        .collect()
}

/// The status port, which answers from the start to the end.
fn open_status(settings: &admin::Settings) -> Result<Listener, BindError> {
    let bound = match settings.bind {
        Some(address) => Bound::named((address, settings.port).into(), PortName::Status)?,
        None => Bound::bind(settings.port, PortName::Status)?,
    };
    let listener = bound.listen()?;
    tracing::info!(addr = %listener.local_addr(), "status port open");
    Ok(listener)
}

/// All that the status port can be asked, and who takes down its charts.
fn desk(
    settings: admin::Settings,
    board: &Rc<Board>,
    metrics: Metrics,
    history: Rc<History>,
) -> Desk {
    let source = board.source();
    spawn_local(history.clone().keep(metrics.clone(), source.clone()));
    Desk::new(
        source,
        board.changes(),
        metrics,
        history,
        settings.variables,
    )
}

/// What stands on the plain port when there is TLS; the kernel may have chosen the other one.
fn plain_face(config: &Config, tls: Option<&Tls>, bound: &[(Bound, Face)]) -> Option<PlainFace> {
    let is_secure = |(_, face): &&(Bound, Face)| matches!(face, Face::Secure(_));
    let (secure, _) = bound.iter().find(is_secure)?;
    Some(PlainFace {
        names: tls?.names(),
        challenges: tls?.challenges(),
        https_port: secure.local_addr().port(),
        health_path: config.proxy.health_path.clone(),
    })
}

fn listen(bound: Vec<(Bound, Face)>) -> Result<Vec<(Listener, Face)>, BindError> {
    let listen = |(bound, face): (Bound, Face)| {
        let listener = bound.listen()?;
        let (addr, scheme) = (listener.local_addr(), face.scheme());
        let inherited = listener.is_inherited().then_some(true);
        tracing::info!(%addr, scheme, inherited, "listening");
        Ok((listener, face))
    };
    bound.into_iter().map(listen).collect()
}

/// Whoever is where the app is to be would get its requests.
async fn look_at_target(config: &Config) -> Result<(), StartError> {
    let target = &config.upstream.target;
    if find(target, None).await.is_none() {
        return Ok(());
    }
    if config.lifecycle.wait_for_target_port {
        return Err(StartError::TargetTaken(target.clone()));
    }
    tracing::warn!(%target, "somebody listens where the app is to listen; requests will go there until the app does");
    Ok(())
}

/// Spawns the child, unless a stop has come in: from here on there is one to relay to.
async fn spawn(
    config: &Config,
    signals: &mut Signals,
    notify: Option<&Notify>,
    nofile: Option<Nofile>,
) -> Result<Upstream, StartError> {
    while let Some(heard) = signals.arrived().await {
        if let Heard::Stop { signal, .. } = heard {
            return Err(StartError::Stopped(signal));
        }
    }
    let upstream = Upstream::spawn(&config.upstream, notify.map(Notify::path), nofile)?;
    tracing::info!(pid = upstream.pid(), "app started");
    Ok(upstream)
}

/// Where the app can say how it is; an app that cannot is looked at all the same.
fn open_notify() -> Option<Notify> {
    let opened = Notify::open();
    if let Err(error) = &opened {
        tracing::debug!(%error, "no place for a notify socket");
    }
    opened.ok()
}

/// Who looks for the app, and who is told; a core that is refused makes the one look again.
fn find_app(config: &Config, drain: &Drain) -> (App, Readiness) {
    let target = config.upstream.target.clone();
    let readiness = match Probe::new(&config.proxy) {
        None => Readiness::new(target),
        Some(probe) => {
            let watch = drain.aside().plant();
            Readiness::with_check(target, move |address| {
                probe.clone().ask(address, watch.clone())
            })
        }
    };
    let suspicion = readiness.suspicion();
    (App::new(move || suspicion.raise()), readiness)
}

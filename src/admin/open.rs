//! The port on which we tell.

use std::{convert::Infallible, rc::Rc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    sync::watch,
    task::{JoinHandle, JoinSet, spawn_local},
};

use super::{Desk, answer::answer};
use crate::server::listener::Listener;

/// How many may be connected; the others wait in the kernel's queue.
const MOST: usize = 256;

/// How long a head may take, and the next one to come: who scrapes comes again.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take no byte (`TCP_USER_TIMEOUT`, tcp(7)).
const STUCK: Duration = Duration::from_secs(30);

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// An open status port. It is closed last, when all else is over.
#[derive(Debug)]
pub struct Admin {
    task: JoinHandle<()>,
    /// Dropped, it ends the task.
    over: watch::Sender<()>,
}

impl Admin {
    /// Answers who comes to `listener`, on the local runtime of this thread.
    pub fn open(listener: Listener, desk: Desk) -> Self {
        let (over, end) = watch::channel(());
        Self {
            task: spawn_local(serve(listener, Rc::new(desk), end)),
            over,
        }
    }

    /// Lets those who listen have the last event, and closes. Who is not listening is not waited for.
    pub async fn close(self) {
        drop(self.over);
        let _ = tokio::time::timeout(LAST_WORDS, self.task).await;
    }
}

async fn serve(listener: Listener, desk: Rc<Desk>, mut end: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = end.changed() => break,
            Some(_) = connections.join_next() => {}
            (socket, _) = listener.accept(), if connections.len() < MOST => {
                if let Ok(stream) = TcpStream::from_std(socket) {
                    connections.spawn_local(talk(stream, desk.clone(), end.clone()));
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn talk(stream: TcpStream, desk: Rc<Desk>, mut end: watch::Receiver<()>) {
    // Where the kernel does not know the option, a client that is stuck keeps its place.
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(STUCK));
    let service = service_fn(move |request| {
        let response = answer(&desk, &request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = end.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "status connection ended");
    }
}

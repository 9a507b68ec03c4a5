//! After a 101: bytes both ways until both halves are closed, or everything is cut.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    try_join,
};

use super::tunnel_log::TunnelLog;
use crate::{
    drain::{Stage, Watch},
    handler::{ClosedBy, Upgrade, Upgraded},
    http1::Connection,
};

/// How many bytes are read at once, each way.
const PIECE: usize = 8 * 1024;

/// How long the client may go on sending after its half was closed.
const LINGER: Duration = Duration::from_secs(1);

/// Joins the client's connection, once its 101 is out, and the app's. What each had sent ahead goes first.
pub(super) async fn join(client: Upgrade, app: Connection, watch: Watch, log: TunnelLog) {
    let Some(client) = client.connection().await else {
        return log.closed_by(ClosedBy::Client);
    };
    let (mut from_client, mut to_client) = split(client);
    let (mut from_app, mut to_app) = split(app);
    // An app that is gone hears nothing any more, but its last words go on to the client: they say whether to come back.
    let up = async {
        tokio::select! {
            ended = up(&mut from_client, &mut to_app, &log) => ended,
            () = watch.reached(Stage::Gone) => Ok(()),
        }
    };
    let ended = tokio::select! {
        ended = async { try_join!(up, down(&mut from_app, &mut to_client, &log)) } => ended.map(|_| ()),
        () = watch.reached(Stage::Cut) => {
            log.closed_by(ClosedBy::Thrust);
            Ok(())
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "tunnel broken");
    }
    drop((from_app, to_app));
    close(from_client.unsplit(to_client)).await;
}

/// From the client to the app. An app that does not listen is no error: it may still have something to say.
async fn up(
    client: &mut (impl AsyncRead + Unpin),
    app: &mut (impl AsyncWrite + Unpin),
    log: &TunnelLog,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = client.read(&mut piece).await;
        if !matches!(read, Ok(1..)) {
            log.closed_by(ClosedBy::Client);
        }
        let length = read?;
        if length == 0 {
            break;
        }
        log.client_sent(length);
        if app.write_all(&piece[..length]).await.is_err() {
            log.closed_by(ClosedBy::App);
            return Ok(());
        }
    }
    // Closed or not, it has been told.
    let _ = app.shutdown().await;
    Ok(())
}

/// From the app to the client. However the app ends, the client gets a FIN after the last byte.
async fn down(
    app: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    log: &TunnelLog,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = app.read(&mut piece).await {
        log.app_sent(length);
        let wrote = client.write_all(&piece[..length]).await;
        wrote.inspect_err(|_| log.closed_by(ClosedBy::Client))?;
        client.flush().await?;
    }
    log.closed_by(ClosedBy::App);
    client.shutdown().await
}

/// FIN, then discard: a reset would destroy what the client has not read yet.
async fn close(mut client: Box<dyn Upgraded>) {
    if client.shutdown().await.is_ok() {
        let discard = async {
            let mut scratch = [0; 512];
            while let Ok(1..) = client.read(&mut scratch).await {}
        };
        let _ = tokio::time::timeout(LINGER, discard).await;
    }
}

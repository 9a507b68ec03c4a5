//! After a 101: bytes both ways until both halves are closed, or everything is cut.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};

use crate::{
    drain::{Stage, Watch},
    handler::{Upgrade, Upgraded},
    http1::Connection,
};

/// How long the client may go on sending after its half was closed.
const LINGER: Duration = Duration::from_secs(1);

/// Joins the client's connection, once its 101 is out, and the app's. What each had sent ahead goes first.
pub(super) async fn join(client: Upgrade, mut app: Connection, watch: Watch) {
    let Some(mut client) = client.connection().await else {
        return;
    };
    let ended = tokio::select! {
        ended = copy_bidirectional(&mut client, &mut app) => ended.map(|_| ()),
        () = watch.reached(Stage::Cut) => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "tunnel broken");
    }
    drop(app);
    close(client).await;
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

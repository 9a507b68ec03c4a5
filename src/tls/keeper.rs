//! The thread on which certificates are kept good.

use std::{
    io,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::oneshot,
};

use super::Keeping;

/// Keeps certificates good until it is dropped: files are read, orders made, renewals awaited.
///
/// A thread of its own, since a disk or a resolver may make it wait for longer than a signal may.
#[derive(Debug)]
pub struct Keeper {
    thread: JoinHandle<()>,
    /// Dropped, it ends whatever is under way at its next await.
    stop: Option<oneshot::Sender<()>>,
}

impl Keeper {
    pub(super) fn start(keeping: Keeping) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || run(keeping, stopped))?;
        Ok(Self {
            thread,
            stop: Some(stop),
        })
    }

    /// Ends what is under way. Nothing is left half done, in whatever moment that is.
    pub fn stop(&mut self) {
        self.stop = None;
    }

    /// Waits for the end of it, at most until `deadline`: for a file that is being written, say.
    pub async fn join(mut self, deadline: Instant) {
        self.stop();
        while !self.thread.is_finished() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn run(keeping: Keeping, stopped: oneshot::Receiver<()>) {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "certificates will not be renewed"),
    };
    runtime.block_on(async {
        tokio::select! {
            biased;
            _ = stopped => {}
            () = keeping.keep() => {}
        }
    });
    // A resolver that does not answer keeps nobody.
    runtime.shutdown_background();
}

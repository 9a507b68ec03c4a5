//! Memory that parked connections gave back, given back to the kernel.
//!
//! A connection's buffers lie between what others still hold, where the C library keeps them for the next: fine for a busy
//! server, but after a crowd has come and gone quiet it is ten times what the connections need.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::task::spawn_local;

/// So many connections must have been parked for it to be worth while: about 10 KiB each.
const CROWD: usize = 1_000;

/// For so long nobody else must have been parked: the crowd has gone quiet.
const REST: Duration = Duration::from_secs(1);

/// How many rests are waited for it to go quiet.
const PATIENCE: usize = 5;

/// Counts the connections that were parked.
#[derive(Debug, Default)]
pub(super) struct Memory {
    parked: Cell<usize>,
}

impl Memory {
    /// One more is parked.
    pub(super) fn parked(self: &Rc<Self>) {
        let parked = self.parked.get() + 1;
        self.parked.set(parked);
        if parked == CROWD {
            let memory = self.clone();
            spawn_local(async move { memory.give_back_when_quiet().await });
        }
    }

    async fn give_back_when_quiet(&self) {
        for _ in 0..PATIENCE {
            let before = self.parked.get();
            tokio::time::sleep(REST).await;
            if self.parked.get() == before {
                break;
            }
        }
        self.parked.set(0);
        // Not on a core: it takes milliseconds.
        if let Err(error) = std::thread::Builder::new().spawn(give_back) {
            tracing::debug!(%error, "memory is not given back");
        }
    }
}

/// malloc_trim(3): unused pages inside the heap go back to the kernel.
#[cfg(target_env = "gnu")]
fn give_back() {
    let began = std::time::Instant::now();
    // SAFETY: it takes no pointer and locks each arena itself.
    let freed = unsafe { libc::malloc_trim(0) } == 1;
    tracing::debug!(
        freed,
        took_ms = began.elapsed().as_millis(),
        "memory given back"
    );
}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}

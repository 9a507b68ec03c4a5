//! The writer of stdout: one thread, one bounded queue.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, Signal},
};

use super::{Line, Shape, Timestamp};

/// How many buffers may wait; at 16 KiB each, the most of the access log's, that is 16 MiB behind a blocked reader.
const QUEUE: usize = 1024;

/// A way to stdout that never blocks.
#[derive(Clone, Debug)]
pub struct Stdout {
    queue: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Item {
    Lines(Vec<u8>),
    Flush(Sender<()>),
}

impl Stdout {
    /// Starts the writer thread, whose own lines are of `shape`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(shape: Shape) -> io::Result<Self> {
        let (queue, items) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = dropped.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&items, &counter, shape))?;
        Ok(Self { queue, dropped })
    }

    /// Queues whole lines; drops and counts them if the queue is full.
    pub fn send(&self, lines: Vec<u8>) {
        if let Err(refused) = self.queue.try_send(Item::Lines(lines))
            && let std::sync::mpsc::TrySendError::Full(Item::Lines(lines)) = refused
        {
            let count = lines.iter().filter(|byte| **byte == b'\n').count();
            self.dropped.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// Waits until everything queued so far is written, at most for `patience`. Whether it was.
    pub fn flush(&self, patience: Duration) -> bool {
        let (done, written) = channel();
        self.queue.try_send(Item::Flush(done)).is_ok() && written.recv_timeout(patience).is_ok()
    }
}

fn write_all(items: &Receiver<Item>, dropped: &AtomicU64, shape: Shape) {
    // In the background of a terminal with `tostop` the kernel would send us SIGTTOU for each write, and as it has a
    // handler, for ever; who blocks it may write (tty_ioctl(4), termios(3)).
    let _ = SigSet::from(Signal::SIGTTOU).thread_block();
    let stdout = io::stdout();
    let stdout = stdout.as_fd();
    let mut timestamp = Timestamp::default();
    while let Ok(item) = items.recv() {
        match item {
            Item::Lines(lines) => write(stdout, &lines),
            Item::Flush(done) => {
                // Whoever asked may have lost patience.
                let _ = done.send(());
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let mut buffer = Vec::new();
            let time = timestamp.of(SystemTime::now());
            let mut line = Line::begin(&mut buffer, shape, time, "WARN", "log lines dropped");
            line.integer("lines", lost);
            line.end();
            write(stdout, &buffer);
        }
    }
}

/// Writes it all; gives up where nobody reads any more. The app shares this descriptor and may have made it non-blocking.
fn write(stdout: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match nix::unistd::write(stdout, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut wait = [PollFd::new(stdout, PollFlags::POLLOUT)];
                let _ = poll(&mut wait, PollTimeout::NONE);
            }
            Err(_) => return,
        }
    }
}

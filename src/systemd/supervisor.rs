//! Whoever started us and wants to know how we are.

use std::{
    cell::RefCell,
    env, io,
    os::unix::net::{SocketAddr, UnixDatagram as Unconnected},
    process,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use tokio::{
    net::UnixDatagram,
    sync::mpsc,
    task::{JoinHandle, spawn_local},
};

use super::{address, watchdog};

/// How long a supervisor may take to take a message in. Its queue is short, and it may be busy starting others.
const PATIENCE: Duration = Duration::from_secs(5);

/// Told of each step in the words of sd_notify(3), if there is one.
#[derive(Debug)]
pub struct Supervisor {
    line: Option<Line>,
    pause: Option<Duration>,
    status: RefCell<Status>,
}

/// The way to it: messages go out in their order, and nobody waits for them.
#[derive(Debug)]
struct Line {
    messages: mpsc::UnboundedSender<String>,
    courier: JoinHandle<()>,
}

/// What `STATUS` says, for people.
#[derive(Debug, Default)]
struct Status {
    ours: String,
    apps: Option<String>,
}

impl Supervisor {
    /// The one that `NOTIFY_SOCKET` names. To be called on the control thread, within its local runtime.
    pub fn from_environment() -> Self {
        let line = env::var_os("NOTIFY_SOCKET").filter(|value| !value.is_empty());
        let line = line.and_then(|value| match address::parse(&value) {
            Ok(address) => Some(Line::to(address)),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used");
                None
            }
        });
        let [usec, meant_for] = ["WATCHDOG_USEC", "WATCHDOG_PID"].map(|name| env::var(name).ok());
        let pause = watchdog::pause(usec.as_deref(), meant_for.as_deref(), process::id());
        Self {
            pause: pause.filter(|_| line.is_some()),
            line,
            status: RefCell::default(),
        }
    }

    /// How often it wants a [sign of life](Self::alive_once); none if it does not.
    pub fn pause(&self) -> Option<Duration> {
        self.pause
    }

    /// We serve.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// We serve on, but are about to become another: [`ready`](Self::ready) follows.
    pub fn reloading(&self) {
        // systemd orders it by this against its own wish to reload.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// We are about to go.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// This may take so long: whatever limit it has passes no sooner.
    pub fn extend(&self, by: Duration) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }

    /// Gives it a sign of life once we have `felt` one ourselves, unless that takes longer than until the next is due.
    pub fn alive_once(&self, felt: impl Future<Output = ()> + 'static) {
        let (Some(line), Some(pause)) = (&self.line, self.pause) else {
            return;
        };
        let messages = line.messages.downgrade();
        spawn_local(async move {
            let felt = tokio::time::timeout(pause, felt).await;
            if let (Ok(()), Some(messages)) = (felt, messages.upgrade()) {
                let _ = messages.send("WATCHDOG=1".to_owned());
            }
        });
    }

    /// What we do, for people.
    pub fn status(&self, ours: impl Into<String>) {
        self.status.borrow_mut().ours = ours.into();
        self.tell_status();
    }

    /// What the app says of itself, for people.
    pub fn app_status(&self, apps: &str) {
        self.status.borrow_mut().apps = Some(apps.to_owned());
        self.tell_status();
    }

    /// Waits until it has all messages, at most until `deadline`.
    pub async fn join(self, deadline: Instant) {
        if let Some(Line { messages, courier }) = self.line {
            drop(messages);
            let _ = tokio::time::timeout_at(deadline.into(), courier).await;
        }
    }

    fn tell_status(&self) {
        if self.line.is_some() {
            self.tell(&format!("STATUS={}", self.status.borrow().text()));
        }
    }

    fn tell(&self, message: &str) {
        if let Some(line) = &self.line {
            // The courier goes last.
            let _ = line.messages.send(message.to_owned());
        }
    }
}

impl Status {
    /// On one line: the next one would be another message.
    fn text(&self) -> String {
        let text = match &self.apps {
            Some(apps) => format!("{}; app: {apps}", self.ours),
            None => self.ours.clone(),
        };
        text.replace(char::is_control, " ")
    }
}

impl Line {
    fn to(address: SocketAddr) -> Self {
        let (messages, mut written) = mpsc::unbounded_channel::<String>();
        let courier = spawn_local(async move {
            let mut complained = false;
            while let Some(message) = written.recv().await {
                if let Err(error) = deliver(&address, message.as_bytes()).await
                    && !std::mem::replace(&mut complained, true)
                {
                    tracing::warn!(%error, "the supervisor at NOTIFY_SOCKET cannot be told");
                }
            }
        });
        Self { messages, courier }
    }
}

/// On a socket of its own each, as sd_notify(3) does: the supervisor may have been replaced since the last.
async fn deliver(address: &SocketAddr, message: &[u8]) -> io::Result<()> {
    let socket = Unconnected::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(address)?;
    let socket = UnixDatagram::from_std(socket)?;
    tokio::time::timeout(PATIENCE, socket.send(message)).await??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_one_line() {
        let mut status = Status {
            ours: "serving".into(),
            apps: None,
        };
        assert_eq!(status.text(), "serving");
        status.apps = Some("3/5 threads\nREADY=1\r".into());
        assert_eq!(status.text(), "serving; app: 3/5 threads READY=1 ");
    }
}

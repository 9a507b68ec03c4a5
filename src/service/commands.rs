//! What is done when somebody asks for it on the control socket.

use std::time::Duration;

use http::Uri;
use tokio::task::{spawn_blocking, spawn_local};
use tracing::Level;

use super::{Event, Service, StartError};
use crate::{
    admin::control::{
        Control, Order, Socket,
        protocol::{Command, LogLevel, Purge, Reply},
    },
    cache::{Cache, Target},
    proxy::Pause,
};

impl Service {
    pub(super) fn take_commands(&mut self, socket: Socket) -> Result<(), StartError> {
        let opened = Control::open(socket, self.source());
        let (control, orders) = opened.map_err(StartError::Commands)?;
        self.control = Some(control);
        self.orders = orders;
        Ok(())
    }

    /// Does as asked, and answers; a purge goes on by itself.
    pub(super) fn obey(&mut self, order: Order) -> Option<Event> {
        tracing::info!(command = ?order.command, "command received");
        let reply = match &order.command {
            Command::Drain => return Some(self.on_drain(order)),
            Command::Purge { .. } => {
                self.purge(order);
                return None;
            }
            Command::Pause { limit, seconds } => self.on_pause(*limit, *seconds),
            Command::Resume => self.on_resume(),
            Command::Maintenance { on, retry_after } => self.on_maintenance(*on, *retry_after),
            Command::LogLevel { level } => {
                self.loudness.set(severity(*level));
                Reply::done("")
            }
            Command::Status | Command::Watch => Reply::refused("nothing is to be done for that"),
        };
        order.answer(reply);
        None
    }

    /// The same as a SIGTERM, and said in the same words.
    fn on_drain(&mut self, order: Order) -> Event {
        let event = self.on_stop(libc::SIGTERM, false);
        tracing::info!(signal = "SIGTERM", terminal = false, "signal received");
        order.answer(Reply::done("stopping"));
        event
    }

    fn on_pause(&self, limit: usize, seconds: u32) -> Reply {
        if self.stop.is_some() {
            return Reply::refused("a stop is on its way: nothing is held back any more");
        }
        let patience = Duration::from_secs(seconds.into());
        self.app.pause(Pause { limit, patience });
        let with_app = self
            .drain
            .tally()
            .requests()
            .saturating_sub(self.app.held());
        Reply::done(format!(
            "paused; {with_app} requests are still with the app"
        ))
    }

    fn on_resume(&self) -> Reply {
        let held = self.app.held();
        match self.app.resume() {
            true => Reply::done(format!("resumed; {held} requests go on")),
            false => Reply::done("there was no pause"),
        }
    }

    fn on_maintenance(&self, on: bool, retry_after: u32) -> Reply {
        self.app.maintain(on.then_some(retry_after));
        Reply::done(match on {
            true => "closed to users; the health check is answered as before",
            false => "open to users",
        })
    }

    /// Looks at all that is stored, which is nothing for this thread.
    fn purge(&self, order: Order) {
        let Command::Purge { what } = order.command.clone() else {
            return;
        };
        if self.cache.settings().size == 0 {
            return order.answer(Reply::refused("there is no cache (CACHE_SIZE is 0)"));
        }
        let cache = self.cache.clone();
        let purged = spawn_blocking(move || purge(&cache, &what));
        spawn_local(async move {
            let failed = |_| Reply::refused("the purge did not end");
            order.answer(purged.await.unwrap_or_else(failed));
        });
    }
}

fn severity(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    }
}

fn purge(cache: &Cache, what: &Purge) -> Reply {
    let count = match what {
        Purge::All => cache.purge_all(),
        Purge::Tags(tags) => cache.purge_tags(tags),
        Purge::Urls(urls) => {
            let parsed: Result<Vec<_>, _> = urls.iter().map(|url| parse(url).ok_or(url)).collect();
            match parsed {
                Ok(uris) => uris.iter().map(|uri| purge_uri(cache, uri)).sum(),
                Err(url) => return Reply::refused(format!("{url:?} is no absolute URL")),
            }
        }
    };
    Reply::done(format!("{count} responses purged"))
}

/// With a scheme and a host.
fn parse(url: &str) -> Option<Uri> {
    let uri: Uri = url.split('#').next()?.parse().ok()?;
    (uri.scheme().is_some() && uri.host().is_some()).then_some(uri)
}

/// Under both schemes: which of them the app is told depends on who is before us.
fn purge_uri(cache: &Cache, uri: &Uri) -> usize {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let of = |scheme: &[u8]| {
        cache.purge_uri(&Target {
            scheme,
            host: host.as_bytes(),
            forwarded_host: None,
            path,
        })
    };
    of(b"http") + of(b"https")
}

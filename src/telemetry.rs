//! The tracing subscriber: lifecycle and errors, in the same shape as the access log.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, SubscriberExt},
    reload,
    util::{SubscriberInitExt, TryInitError},
};

use crate::journal::{Line, Shape, Stdout, Timestamp};

/// Sends our own events of `info` and above, or `debug` and above, to `stdout`. What libraries say of each frame that
/// passes is left out.
///
/// # Errors
/// When this process has a subscriber already.
pub fn init(stdout: Stdout, shape: Shape, debug: bool) -> Result<Loudness, TryInitError> {
    let level = if debug { Level::DEBUG } else { Level::INFO };
    let lines = Lines {
        stdout,
        shape,
        timestamp: Mutex::default(),
    };
    let (filter, handle) = reload::Layer::new(ours(level));
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()?;
    Ok(Loudness(handle))
}

/// How much is said: to be changed at any time.
#[derive(Clone, Debug)]
pub struct Loudness(reload::Handle<Targets, Registry>);

impl Loudness {
    /// Says what is as severe as this, or more.
    pub fn set(&self, level: Level) {
        // It lives as long as the subscriber, which is as long as we do.
        let _ = self.0.reload(ours(level));
    }
}

fn ours(level: Level) -> Targets {
    Targets::new().with_target(env!("CARGO_CRATE_NAME"), LevelFilter::from_level(level))
}

/// Writes each event as a line.
struct Lines {
    stdout: Stdout,
    shape: Shape,
    timestamp: Mutex<Timestamp>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let mut buffer = Vec::with_capacity(256);
        let mut timestamp = self
            .timestamp
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let time = timestamp.of(SystemTime::now());
        let mut line = Line::begin(
            &mut buffer,
            self.shape,
            time,
            level(*event.metadata().level()),
            &message.0,
        );
        event.record(&mut Fields(&mut line));
        line.end();
        self.stdout.send(buffer);
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

/// Picks the message out of the fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Writes all other fields.
struct Fields<'a, 'b>(&'a mut Line<'b>);

impl Visit for Fields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "message" {
            self.0.text(field.name(), format!("{value:?}").as_bytes());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.text(field.name(), value.as_bytes());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.integer(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.plain(field.name(), value);
    }
}

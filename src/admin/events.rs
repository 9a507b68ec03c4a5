//! The status as it changes: server-sent events for the page.
//!
//! `history` comes first, with all points of the charts; `status` each second and with every change of state; `point` with
//! each new point. After the last `status` of our life comes `end`.

use std::{cell::Cell, fmt::Write as _, rc::Rc, time::Duration};

use bytes::Bytes;
use serde::Serialize;
use tokio::{
    sync::mpsc,
    task::spawn_local,
    time::{MissedTickBehavior, interval},
};

use super::{Desk, State};

/// How often the status comes when nothing happens.
const EVERY: Duration = Duration::from_secs(1);

/// A listener's events.
#[derive(Debug)]
pub(super) struct Events {
    desk: Rc<Desk>,
    /// The point that was told last.
    told_ms: u64,
    _seat: Seat,
}

impl Events {
    /// Tells them until the receiver is gone or we are at our end; each is made when there is room for it.
    pub(super) fn of(desk: Rc<Desk>, seat: Seat) -> mpsc::Receiver<Bytes> {
        let (to, events) = mpsc::channel(1);
        let all = Self {
            desk,
            told_ms: 0,
            _seat: seat,
        };
        spawn_local(all.tell(to));
        events
    }

    async fn tell(mut self, to: mpsc::Sender<Bytes>) {
        let mut changes = self.desk.changes.clone();
        changes.mark_unchanged();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut text = self.beginning();
        while let Ok(room) = to.reserve().await {
            tokio::select! {
                _ = ticks.tick() => {}
                Ok(()) = changes.changed() => {}
                () = to.closed() => return,
            }
            let is_over = self.add(&mut text);
            room.send(std::mem::take(&mut text).into());
            if is_over {
                return;
            }
        }
    }

    fn beginning(&mut self) -> String {
        let points = self.desk.history.points();
        self.told_ms = points.last().map_or(0, |point| point.at_ms);
        // A page that loses us looks again soon.
        let mut text = "retry: 1000\n\n".to_owned();
        event(&mut text, "history", &points);
        text
    }

    /// Adds what is new; whether nothing more will be.
    fn add(&mut self, text: &mut String) -> bool {
        if let Some(point) = self.desk.history.latest_but(self.told_ms) {
            self.told_ms = point.at_ms;
            event(text, "point", &point);
        }
        let now = (self.desk.source)();
        event(text, "status", &now);
        let is_over = now.state == State::Stopped;
        if is_over {
            event(text, "end", &());
        }
        is_over
    }
}

/// An event of one line, for JSON has no line breaks.
fn event(text: &mut String, name: &str, data: &impl Serialize) {
    let data = serde_json::to_string(data).unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
}

/// A place among the listeners.
#[derive(Debug)]
pub(super) struct Seat(Rc<Cell<usize>>);

impl Seat {
    /// One of `most`, if one is free.
    pub(super) fn take(taken: &Rc<Cell<usize>>, most: usize) -> Option<Self> {
        let free = taken.get() < most;
        free.then(|| {
            taken.set(taken.get() + 1);
            Self(taken.clone())
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

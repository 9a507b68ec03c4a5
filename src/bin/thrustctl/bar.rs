//! How far a stop has come: a bar for people, a line for logs.

use std::io::{self, IsTerminal, Write};

use thrust::admin::{Snapshot, State};

use super::table::time;

/// How long the bar is, in characters.
const WIDTH: u64 = 24;

/// Where it is drawn: on stderr, over and over on a terminal, and elsewhere once for each state.
#[derive(Debug)]
pub(crate) struct Bar {
    terminal: bool,
    last: Option<State>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            last: None,
        }
    }

    pub(crate) fn show(&mut self, snapshot: &Snapshot) {
        let line = line(snapshot);
        let changed = self.last.replace(snapshot.state) != Some(snapshot.state);
        // Without a stderr there is nobody to tell.
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[2K{line}");
        } else if changed {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Leaves the line.
    pub(crate) fn finish(&self) {
        if self.terminal && self.last.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}

fn line(snapshot: &Snapshot) -> String {
    let open = &snapshot.open;
    let mut text = format!("{:<10}", snapshot.state.as_str());
    let stop = snapshot.stop.as_ref();
    let drain = stop.and_then(|stop| Some((stop.drain_ms?, stop.drain_left_ms?)));
    if let Some((passed, left)) = drain {
        let all = (passed + left).max(1);
        let full = (passed * WIDTH / all).min(WIDTH);
        let (done, rest) = (
            "#".repeat(full as usize),
            ".".repeat((WIDTH - full) as usize),
        );
        // The closing of the listeners was a part of it.
        let all = (all + 500) / 1000 * 1000;
        text += &format!("[{done}{rest}] {} of {}, ", time(passed), time(all));
    }
    text + &format!(
        "{} requests, {} streams, {} tunnels",
        open.in_flight, open.streams, open.tunnels
    )
}

#[cfg(test)]
mod tests {
    use thrust::admin::{OpenView, StopView};

    use super::*;

    #[test]
    fn it_fills_as_the_time_passes() {
        let mut snapshot = Snapshot {
            state: State::Draining,
            open: OpenView {
                in_flight: 3,
                ..OpenView::default()
            },
            ..Snapshot::default()
        };
        assert_eq!(
            line(&snapshot),
            "draining  3 requests, 0 streams, 0 tunnels"
        );
        for (passed, left, bar) in [
            (0, 30_000, "[........................] 0.0 s of 30 s"),
            (15_000, 14_800, "[############............] 15 s of 30 s"),
            (30_000, 0, "[########################] 30 s of 30 s"),
            (0, 0, "[........................] 0.0 s of 0.0 s"),
        ] {
            snapshot.stop = Some(StopView {
                drain_ms: Some(passed),
                drain_left_ms: Some(left),
                ..StopView::default()
            });
            let text = line(&snapshot);
            assert!(text.starts_with(&format!("draining  {bar}, 3 ")), "{text}");
        }
    }
}

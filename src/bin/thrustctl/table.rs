//! A snapshot for people.

use thrust::admin::{AppView, OpenView, PumaView, Snapshot, StopView};

/// A line for each thing that there is to say.
pub(crate) fn of(snapshot: &Snapshot) -> String {
    let ready = match &snapshot.reason {
        None => "yes".to_owned(),
        Some(reason) => format!("no: {reason}"),
    };
    let state = format!("{}, for {}", snapshot.state, time(snapshot.state_ms));
    let version = format!("{}, up {}", snapshot.version, time(snapshot.uptime_ms));
    let mut rows = vec![
        ("state", state),
        ("ready", ready),
        ("version", version),
        ("app", app(&snapshot.app)),
    ];
    rows.extend(snapshot.app.puma.map(|it| ("puma", puma(&it))));
    rows.push(("requests", requests(&snapshot.open)));
    rows.extend(traffic(snapshot).map(|text| ("traffic", text)));
    rows.push(("connections", connections(&snapshot.open)));
    rows.extend(cache(snapshot).map(|text| ("cache", text)));
    rows.extend(certificates(snapshot).map(|text| ("certificate", text)));
    if snapshot.paused || snapshot.held > 0 {
        rows.push(("held", held(snapshot)));
    }
    if snapshot.maintenance {
        rows.push(("maintenance", "on".to_owned()));
    }
    rows.extend(snapshot.stop.as_ref().map(|it| ("stop", stop(it))));
    let line = |(name, text): &(&str, String)| format!("{name:<12} {text}\n");
    rows.iter().map(line).collect()
}

fn app(app: &AppView) -> String {
    let mut parts = Vec::new();
    parts.extend(app.pid.map(|pid| format!("pid {pid}")));
    parts.extend(app.exit.clone());
    parts.push(
        if app.accepting {
            "accepting"
        } else {
            "not accepting"
        }
        .to_owned(),
    );
    if app.restarts > 0 {
        parts.push(format!("back for the {}. time", app.restarts));
    }
    if app.puma.is_none() {
        parts.extend(app.status.clone());
    }
    parts.join(", ")
}

fn puma(puma: &PumaView) -> String {
    let mut text = format!(
        "{} of {} threads busy, backlog {}",
        puma.busy, puma.max_threads, puma.backlog
    );
    if let (Some(booted), Some(workers)) = (puma.workers_booted, puma.workers) {
        text += &format!(", {booted} of {workers} processes booted");
    }
    text
}

fn requests(open: &OpenView) -> String {
    format!(
        "{} in flight, {} streams, {} tunnels",
        open.in_flight, open.streams, open.tunnels
    )
}

fn connections(open: &OpenView) -> String {
    format!(
        "{} of clients ({} idle), {} idle to the app",
        open.connections, open.idle, open.pooled
    )
}

/// As far as it is counted.
fn traffic(snapshot: &Snapshot) -> Option<String> {
    let traffic = snapshot.traffic.as_ref()?;
    Some(format!(
        "{} requests, {:.1} a second",
        traffic.requests, traffic.recent.per_second
    ))
}

fn cache(snapshot: &Snapshot) -> Option<String> {
    let cache = snapshot.cache.as_ref()?;
    let (used, all) = (size(cache.bytes), size(cache.capacity_bytes));
    Some(format!("{} entries, {used} of {all}", cache.entries))
}

fn certificates(snapshot: &Snapshot) -> impl Iterator<Item = String> + '_ {
    let now = snapshot.at_ms / 1000;
    snapshot.certificates.iter().map(move |certificate| {
        let left = certificate.expires.saturating_sub(now);
        format!("{}, for {} more days", certificate.name, left / 86_400)
    })
}

/// In the largest unit that leaves something before the point.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let unit = units.into_iter().find(|(unit, _)| bytes >= *unit);
    match unit {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

fn held(snapshot: &Snapshot) -> String {
    let why = if snapshot.paused {
        "paused"
    } else {
        "until the app is up"
    };
    format!("{} requests, {why}", snapshot.held)
}

fn stop(stop: &StopView) -> String {
    let mut parts = vec![format!(
        "{}, {} ago",
        stop.signal.as_deref().unwrap_or("the app ended"),
        time(stop.elapsed_ms)
    )];
    parts.extend(
        stop.drain_left_ms
            .map(|left| format!("{} left to drain", time(left))),
    );
    parts.push(format!("{} drained, {} cut", stop.drained, stop.cut));
    if stop.oldest_ms > 0 {
        parts.push(format!("the oldest for {}", time(stop.oldest_ms)));
    }
    parts.join("; ")
}

/// The two largest units of a duration.
pub(crate) fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match (days, hours, minutes) {
        (1.., ..) => format!("{days} d {} h", hours % 24),
        (_, 1.., _) => format!("{hours} h {} min", minutes % 60),
        (_, _, 1..) => format!("{minutes} min {} s", seconds % 60),
        _ if seconds < 10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use thrust::admin::State;

    use super::*;

    #[test]
    fn a_duration_is_two_units_long() {
        for (ms, text) in [
            (0, "0.0 s"),
            (1_250, "1.2 s"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(time(ms), text);
        }
    }

    #[test]
    fn a_size_has_the_largest_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KB"),
            (64 << 20, "64.0 MB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn what_there_is_nothing_to_say_about_has_no_line() {
        let mut snapshot = Snapshot {
            version: "1.2.3".into(),
            uptime_ms: 61_000,
            state: State::Serving,
            state_ms: 1_000,
            ready: true,
            app: AppView {
                pid: Some(7),
                accepting: true,
                ..AppView::default()
            },
            ..Snapshot::default()
        };
        let expected = "\
state        serving, for 1.0 s
ready        yes
version      1.2.3, up 1 min 1 s
app          pid 7, accepting
requests     0 in flight, 0 streams, 0 tunnels
connections  0 of clients (0 idle), 0 idle to the app
";
        assert_eq!(of(&snapshot), expected);
        snapshot.maintenance = true;
        snapshot.held = 3;
        snapshot.stop = Some(StopView {
            signal: Some("SIGTERM".into()),
            elapsed_ms: 2_000,
            drain_left_ms: Some(28_000),
            drained: 1,
            ..StopView::default()
        });
        let more = "\
held         3 requests, until the app is up
maintenance  on
stop         SIGTERM, 2.0 s ago; 28 s left to drain; 1 drained, 0 cut
";
        assert_eq!(of(&snapshot), format!("{expected}{more}"));
    }
}

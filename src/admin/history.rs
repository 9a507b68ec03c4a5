//! The last fifteen minutes, for the charts.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::{Recent, Snapshot, Source};
use crate::metrics::{Class, Distribution, Metrics, Totals};

/// How far it reaches back.
const REACH: Duration = Duration::from_secs(15 * 60);

/// How far its points are apart.
const STEP: Duration = Duration::from_secs(5);

/// The points, the latest one last.
#[derive(Debug, Default)]
pub struct History {
    points: RefCell<VecDeque<Point>>,
    recent: RefCell<Recent>,
}

/// What happened between two points, and what was open at the second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// When it was, in milliseconds since 1970.
    pub at_ms: u64,
    /// How it had been since the point before.
    #[serde(flatten)]
    pub recent: Recent,
    /// Responses with 4xx, per second.
    pub refused_per_second: f64,
    /// Ordinary requests in flight.
    pub in_flight: u64,
    /// Clients' connections.
    pub connections: u64,
}

impl History {
    /// Takes down a point now and then, for ever. Returns at once where nothing is counted.
    pub async fn keep(self: Rc<Self>, metrics: Metrics, source: Source) {
        let mut ticks = interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<(Totals, Instant)> = None;
        loop {
            ticks.tick().await;
            let Some(totals) = metrics.totals() else {
                return;
            };
            let now = Instant::now();
            if let Some((then, at)) = &before {
                self.add(then, &totals, now.duration_since(*at), &source());
            }
            before = Some((totals, now));
        }
    }

    fn add(&self, before: &Totals, after: &Totals, took: Duration, snapshot: &Snapshot) {
        let recent = recent(before, after, took);
        *self.recent.borrow_mut() = recent;
        let mut points = self.points.borrow_mut();
        if points.len() >= (REACH.as_secs() / STEP.as_secs()) as usize {
            points.pop_front();
        }
        points.push_back(Point {
            at_ms: snapshot.at_ms,
            recent,
            refused_per_second: rate(before, after, took, Class::ClientError),
            in_flight: snapshot.open.in_flight,
            connections: snapshot.open.connections,
        });
    }

    /// How it was when last looked at.
    pub fn recent(&self) -> Recent {
        *self.recent.borrow()
    }

    /// All points.
    pub fn points(&self) -> Vec<Point> {
        self.points.borrow().iter().copied().collect()
    }

    /// The latest one, if it is not that of `at_ms`.
    pub fn latest_but(&self, at_ms: u64) -> Option<Point> {
        let latest = self.points.borrow().back().copied();
        latest.filter(|point| point.at_ms != at_ms)
    }
}

fn recent(before: &Totals, after: &Totals, took: Duration) -> Recent {
    let all = after.request_duration.since(&before.request_duration);
    let app = after.upstream_duration.since(&before.upstream_duration);
    let requests = after.requests().saturating_sub(before.requests());
    Recent {
        per_second: requests as f64 / took.as_secs_f64(),
        errors_per_second: rate(before, after, took, Class::ServerError),
        p50_ms: millis(&all, 0.5),
        p95_ms: millis(&all, 0.95),
        p99_ms: millis(&all, 0.99),
        app_p50_ms: millis(&app, 0.5),
    }
}

fn rate(before: &Totals, after: &Totals, took: Duration, class: Class) -> f64 {
    let count = after.of_class(class).saturating_sub(before.of_class(class));
    count as f64 / took.as_secs_f64()
}

fn millis(distribution: &Distribution, share: f64) -> Option<f64> {
    let quantile = distribution.quantile(share)?;
    Some(quantile.as_micros() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::CacheResult;

    #[test]
    fn a_point_is_what_happened_since_the_one_before() {
        let metrics = Metrics::new(1);
        let recorder = metrics.seed(0).plant();
        let before = metrics.totals().unwrap();
        for class in [Class::Success, Class::Success, Class::ServerError] {
            recorder.request(class, CacheResult::None);
            recorder.request_took(Duration::from_millis(10));
        }
        let history = History::default();
        let after = metrics.totals().unwrap();
        let snapshot = Snapshot::default();
        history.add(&before, &after, Duration::from_secs(2), &snapshot);
        let recent = history.recent();
        assert_eq!((recent.per_second, recent.errors_per_second), (1.5, 0.5));
        let p99 = recent.p99_ms.unwrap();
        assert!((7.0..=10.0).contains(&p99), "{p99}");
        assert_eq!(recent.app_p50_ms, None);
        history.add(&after, &after, Duration::from_secs(2), &snapshot);
        assert_eq!(history.recent(), Recent::default());
    }

    #[test]
    fn it_reaches_back_a_quarter_of_an_hour_and_no_further() {
        let history = History::default();
        let totals = Totals::default();
        for at_ms in 0..200 {
            let snapshot = Snapshot {
                at_ms,
                ..Snapshot::default()
            };
            history.add(&totals, &totals, STEP, &snapshot);
        }
        let points = history.points();
        assert_eq!((points.len(), points[0].at_ms), (180, 20));
        assert_eq!(history.latest_but(199), None);
        assert_eq!(history.latest_but(198).map(|point| point.at_ms), Some(199));
    }
}

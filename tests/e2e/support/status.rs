//! The status port: who asks there, and what the numbers say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Builder, Client, PATIENCE, Response, Thrust, eventually};

/// With a status port that the kernel chooses.
pub(crate) fn watched() -> Builder {
    with_status(Thrust::builder())
}

pub(crate) fn with_status(builder: Builder) -> Builder {
    builder.env("THRUSTER_STATUS_PORT", "0")
}

pub(crate) fn status_port(thrust: &Thrust) -> u16 {
    let addr = thrust.wait_for("status port open").field("addr");
    let port = addr.rsplit(':').next().and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {addr}"))
}

/// The answer of the status port, on a connection of its own.
pub(crate) fn ask(thrust: &Thrust, path: &str) -> Response {
    Client::connect(status_port(thrust)).get(path)
}

/// What /readyz says: its status, and its line.
pub(crate) fn readiness(thrust: &Thrust) -> (u16, String) {
    let answer = ask(thrust, "/readyz");
    (answer.status, answer.text().trim().to_owned())
}

pub(crate) fn json(thrust: &Thrust, path: &str) -> Value {
    let answer = ask(thrust, path);
    let text = answer.text();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error} in {text}"))
}

/// Everything that /metrics says: each series, as it is written, and its value.
#[derive(Debug)]
pub(crate) struct Metrics(pub(crate) BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn of(thrust: &Thrust) -> Self {
        let answer = ask(thrust, "/metrics");
        assert_eq!(answer.status, 200);
        Self::parse(&answer.text())
    }

    /// Only what the format allows; see [`Self::parse_line`].
    pub(crate) fn parse(text: &str) -> Self {
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("name and value");
            let value = match value {
                "+Inf" => f64::INFINITY,
                value => value.parse().unwrap_or_else(|_| panic!("{line}")),
            };
            let twice = series.insert(name.to_owned(), value);
            assert_eq!(twice, None, "{line}");
        }
        Metrics(series)
    }

    #[track_caller]
    pub(crate) fn get(&self, series: &str) -> f64 {
        let found = self.0.get(series).copied();
        found.unwrap_or_else(|| panic!("no {series} in {:#?}", self.0))
    }
}

/// Waits until a series has this value: what has reached the client is counted a moment later.
#[track_caller]
pub(crate) fn wait_for_metric(thrust: &Thrust, series: &str, value: f64) {
    wait_for_metric_from(thrust, series, value, value);
}

/// Waits until a series is from `least` to `most`.
#[track_caller]
pub(crate) fn wait_for_metric_from(thrust: &Thrust, series: &str, least: f64, most: f64) {
    let mut last = f64::NAN;
    let reached = eventually(PATIENCE, || {
        last = Metrics::of(thrust).get(series);
        (least..=most).contains(&last)
    });
    assert!(reached, "{series} is {last}, not from {least} to {most}");
}

//! Writes metrics, one behind the other.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
};

use super::names::Metric;
use crate::metrics::Distribution;

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;

/// Where they go; once that has failed, nothing more is written.
pub(super) struct Writer<'a> {
    encoder: DescriptorEncoder<'a>,
    result: fmt::Result,
}

impl<'a> Writer<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self {
            encoder,
            result: Ok(()),
        }
    }

    pub(super) fn finish(self) -> fmt::Result {
        self.result
    }

    /// A metric of one series.
    pub(super) fn one(&mut self, metric: Metric, value: f64) {
        self.metric(metric, |mut encoder| number(&mut encoder, metric, value));
    }

    /// A metric with a series for each value of its labels; without any it is not mentioned.
    pub(super) fn each<'l, const N: usize>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], f64)>,
    ) {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return;
        }
        self.metric(metric, |mut encoder| {
            for (labels, value) in series {
                number(&mut encoder.encode_family(&labels)?, metric, value)?;
            }
            Ok(())
        });
    }

    /// How long things took.
    pub(super) fn times(&mut self, metric: Metric, times: &Distribution) {
        let buckets: Vec<_> = times.shown().collect();
        let (sum, count) = (times.sum().as_secs_f64(), times.count());
        self.metric(metric, |mut encoder| {
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        });
    }

    fn metric(&mut self, metric: Metric, write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result) {
        let Metric { name, help, kind } = metric;
        let encoder = &mut self.encoder;
        self.result = self
            .result
            .and_then(|()| encoder.encode_descriptor(name, help, None, kind))
            .and_then(write);
    }
}

/// Whole numbers as such: most are, and 5.0 requests read oddly.
fn number(encoder: &mut MetricEncoder<'_>, metric: Metric, value: f64) -> fmt::Result {
    let whole = value as u64;
    let is_whole = whole as f64 == value;
    match (metric.kind, is_whole) {
        (MetricType::Counter, true) => encoder.encode_counter(&whole, NO_EXEMPLAR),
        (MetricType::Counter, false) => encoder.encode_counter(&value, NO_EXEMPLAR),
        (_, true) => encoder.encode_gauge(&whole),
        (_, false) => encoder.encode_gauge(&value),
    }
}

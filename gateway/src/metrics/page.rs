//! The page that is scraped, as families of samples, and its text (OpenMetrics 1.0).

use std::fmt;

use hookweir_event::Spread;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text::encode},
    metrics::MetricType,
    registry::Registry,
};

/// The media type of the text.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names and values beside a sample.
pub(super) type Labels = Vec<(&'static str, String)>;

/// One metric with its samples. There may be none.
#[derive(Debug)]
struct Family {
    /// Without the ending that its kind brings.
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

/// What was measured.
#[derive(Debug)]
enum Value {
    Count(u64),
    Sum(f64),
    Gauge(f64),
    /// With how many of its units there are in one of the metric's.
    Spread(Spread, f64),
    Info,
}

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<Family>);

/// A metric that is being written.
pub(super) struct Samples<'p>(&'p mut Family);

impl Page {
    /// A number that only grows; its name gets `_total`.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> Samples<'_> {
        self.family(name, help, MetricType::Counter)
    }

    /// A number as it is now.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Samples<'_> {
        self.family(name, help, MetricType::Gauge)
    }

    /// How numbers are spread.
    pub(super) fn histogram(&mut self, name: &'static str, help: &'static str) -> Samples<'_> {
        self.family(name, help, MetricType::Histogram)
    }

    /// A constant 1, for its labels; its name gets `_info`.
    pub(super) fn info(&mut self, name: &'static str, help: &'static str, labels: Labels) {
        self.family(name, help, MetricType::Info).0.samples.push((labels, Value::Info));
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: MetricType) -> Samples<'_> {
        self.0.push(Family { name, help, kind, samples: Vec::new() });
        Samples(self.0.last_mut().expect("invariant: one was pushed"))
    }

    /// The text.
    pub(super) fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(32 << 10);
        encode(&mut text, &registry).expect("invariant: a string takes all that is written");
        text
    }
}

impl Samples<'_> {
    /// A count.
    pub(super) fn count(&mut self, labels: Labels, count: u64) {
        self.0.samples.push((labels, Value::Count(count)));
    }

    /// A sum that is no whole number.
    pub(super) fn sum(&mut self, labels: Labels, sum: f64) {
        self.0.samples.push((labels, Value::Sum(sum)));
    }

    /// Something as it is now.
    #[expect(clippy::cast_precision_loss, reason = "bytes up to 2^53 are exact")]
    pub(super) fn is(&mut self, labels: Labels, number: u64) {
        self.measures(labels, number as f64);
    }

    /// The same, of what is no whole number.
    pub(super) fn measures(&mut self, labels: Labels, number: f64) {
        self.0.samples.push((labels, Value::Gauge(number)));
    }

    /// A spread, of which `scale` are one of the metric's unit: 1000 of milliseconds, for seconds.
    pub(super) fn spread(&mut self, labels: Labels, spread: Spread, scale: f64) {
        self.0.samples.push((labels, Value::Spread(spread, scale)));
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, kind, samples } in &self.0 {
            let mut family = encoder.encode_descriptor(name, help, None, *kind)?;
            for (labels, value) in samples {
                match value {
                    Value::Info => family.encode_info(labels)?,
                    value if labels.is_empty() => write(&mut family, value)?,
                    value => write(&mut family.encode_family(labels)?, value)?,
                }
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "what is summed up stays below 2^53")]
fn write(metric: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Count(count) => metric.encode_counter::<NoLabelSet, _, f64>(count, None),
        Value::Sum(sum) => metric.encode_counter::<NoLabelSet, _, f64>(sum, None),
        Value::Gauge(number) => metric.encode_gauge(number),
        Value::Spread(spread, scale) => {
            let bound = |bound: Option<u64>| bound.map_or(f64::INFINITY, |b| b as f64 / scale);
            let ranges: Vec<_> =
                spread.ranges().map(|(upper, count)| (bound(upper), count)).collect();
            let (sum, count) = (spread.sum() as f64 / scale, spread.count());
            metric.encode_histogram::<NoLabelSet>(sum, count, &ranges, None)
        }
        Value::Info => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use hookweir_event::Histogram;

    use super::*;

    #[test]
    fn a_page_reads_as_open_metrics_has_it() {
        let mut page = Page::default();
        page.info("a_build", "What runs", vec![("version", "0.1".into())]);
        let mut counter = page.counter("a_requests", "Requests");
        counter.count(vec![("source", "a\"b\\\n".into())], 7);
        page.gauge("a_room_bytes", "Room").is(Vec::new(), 3);
        let histogram = Histogram::new(&[1, 1000]);
        histogram.count(500);
        let mut spread = page.histogram("a_time_seconds", "Time");
        spread.spread(vec![("plugin", "x".into())], histogram.spread(), 1000.0);
        page.counter("a_nothing", "Nothing yet");
        insta::assert_snapshot!(page.text());
    }
}

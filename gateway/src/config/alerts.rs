//! `[alerts]`, and `[plugins.NAME.alerts]` and `[sources.NAME.alerts]` over it: from where on something is
//! wrong.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    read::{Node, Section},
    server::set,
    units,
};

/// Thresholds. Without one nothing is said of what it is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlertsConfig {
    /// Over what time shares and latencies are judged, and how long what was cleared is not raised again.
    pub window: Duration,
    /// So many attempts, deliveries or requests have to be in it for something to be raised.
    pub at_least: u64,
    /// The handling latency that one delivery in twenty may exceed.
    pub latency: Option<Duration>,
    /// The share of attempts that may end otherwise than done.
    pub error_rate: Option<f64>,
    /// How long a delivery may be due before it is attempted.
    pub queue_age: Option<Duration>,
    /// How many dead letters a plugin may have.
    pub dead_letters: Option<u64>,
    /// The share of a source's requests that may be refused.
    pub refusal_rate: Option<f64>,
    /// Bytes that should be left on the store's disk.
    pub disk_free: Option<u64>,
}

/// A window of less would be one look; one of more would remember what nobody does.
const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

impl Default for AlertsConfig {
    fn default() -> Self {
        let window = Duration::from_secs(300);
        Self {
            window,
            at_least: 20,
            latency: Some(Duration::from_millis(5000)),
            error_rate: Some(0.01),
            queue_age: Some(window),
            dead_letters: Some(10),
            refusal_rate: Some(0.1),
            // Four times what has to be left for events to be taken.
            disk_free: Some(1 << 30),
        }
    }
}

impl AlertsConfig {
    pub(super) fn read(section: Option<&Section<'_, '_>>) -> Self {
        let mut config = Self::default();
        let Some(section) = section else { return config };
        config.read_window(section);
        config.read_plugin(section);
        config.read_source(section);
        let disk = section.get("disk_free").and_then(|node| unless_off(&node, size));
        set(&mut config.disk_free, disk);
        section.finish();
        config
    }

    /// The same for one plugin.
    pub(super) fn of_plugin(mut self, section: Option<&Section<'_, '_>>) -> Self {
        let Some(section) = section else { return self };
        self.read_window(section);
        self.read_plugin(section);
        section.finish();
        self
    }

    /// The same for one source.
    pub(super) fn of_source(mut self, section: Option<&Section<'_, '_>>) -> Self {
        let Some(section) = section else { return self };
        self.read_window(section);
        self.read_source(section);
        section.finish();
        self
    }

    /// Whether anything is watched that is counted for this alone.
    pub(super) fn judges_attempts(&self) -> bool {
        self.latency.is_some() || self.error_rate.is_some()
    }

    fn read_window(&mut self, section: &Section<'_, '_>) {
        let window = section.get("window").and_then(|node| {
            let window = duration(&node)?;
            let fits = WINDOW.contains(&window);
            if !fits {
                node.fault("is between 1s and 1d");
            }
            fits.then_some(window)
        });
        set(&mut self.window, window);
        let least = section.get("at_least").and_then(|node| node.number(1..1_000_001));
        set(&mut self.at_least, least);
    }

    fn read_plugin(&mut self, section: &Section<'_, '_>) {
        let get = |key| section.get(key);
        set(&mut self.latency, get("latency").and_then(|node| unless_off(&node, duration)));
        set(&mut self.error_rate, get("error_rate").and_then(|node| unless_off(&node, share)));
        set(&mut self.queue_age, get("queue_age").and_then(|node| unless_off(&node, duration)));
        let count = |node: &Node<'_, '_>| node.number(0..1_000_001);
        set(&mut self.dead_letters, get("dead_letters").and_then(|node| unless_off(&node, count)));
    }

    fn read_source(&mut self, section: &Section<'_, '_>) {
        let refusals = section.get("refusal_rate").and_then(|node| unless_off(&node, share));
        set(&mut self.refusal_rate, refusals);
    }
}

/// A threshold, or none if it is `"off"`. What can't be read stays as it was.
fn unless_off<T>(
    node: &Node<'_, '_>,
    read: impl FnOnce(&Node<'_, '_>) -> Option<T>,
) -> Option<Option<T>> {
    match node.is_text() && node.text() == Some("off") {
        true => Some(None),
        false => read(node).map(Some),
    }
}

fn duration(node: &Node<'_, '_>) -> Option<Duration> {
    node.parsed(units::duration)
}

fn size(node: &Node<'_, '_>) -> Option<u64> {
    node.parsed(units::size)
}

fn share(node: &Node<'_, '_>) -> Option<f64> {
    node.share()
}

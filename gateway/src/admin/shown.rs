//! How events, deliveries and attempts look.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hookweir_event::{Event as Whole, LogLine, OrderKey};
use hookweir_store::{ExchangeCounts, Shown, ShownAttempt, ShownDelivery};
use serde::Serialize;
use utoipa::ToSchema;

use super::reply::Time;

/// An event with its deliveries. Its content is there when one event is asked for, not in lists.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    /// Its id, a UUID version 7.
    id: String,
    /// Where it comes from: a source, `plugin.NAME` or `gateway`.
    source: String,
    /// What happened.
    #[serde(rename = "type")]
    event_type: String,
    /// When it was received or made.
    received_at: Time,
    /// For an output: the event whose delivery made it.
    parent: Option<String>,
    /// For an output: the webhook at the start of the chain.
    root: Option<String>,
    /// How many plugins it has passed through.
    hops: u8,
    /// The length of its body.
    bytes: u64,
    /// How often it was sent again within its window.
    duplicates: u32,
    /// When it was last.
    duplicated_at: Option<Time>,
    /// One for each plugin it was routed to, and for each replay.
    deliveries: Vec<Delivery>,
    /// The request's method.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// The request's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The request's query.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// The request's headers, as names and values. Credentials read `[redacted]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Vec<[String; 2]>>,
    /// What the gateway knows of it beside that, as names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Vec<[String; 2]>>,
    /// The body, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The body, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Why its content can't be read: it has rotted on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unreadable: Option<String>,
}

/// One event for one plugin.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delivery {
    /// Its id: the event's, a slash and a number.
    id: String,
    /// Whose it is.
    plugin: String,
    /// Where it stands: `due`, `behind` (others with its order key come first), `held` (its source is),
    /// `leased` (it is being attempted), `done`, `dead` or `discarded` (dead, and put aside).
    state: &'static str,
    /// The key that it is ordered by.
    order_key: Option<String>,
    /// Whether it is dead, and later ones with its order key wait for an operator.
    blocks: bool,
    /// When it is, or was, due.
    due_at: Time,
    /// When it was done or dead.
    settled_at: Option<Time>,
    /// When an operator had the event replayed, if that made this delivery.
    replayed_at: Option<Time>,
    /// When an operator put it aside.
    discarded_at: Option<Time>,
    /// How often a process died while it held it.
    lost_leases: u32,
    /// The attempts that ended, the first one first.
    attempts: Vec<Attempt>,
}

/// One run of a plugin on a delivery.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    /// Counted from 1.
    number: u32,
    /// When the delivery was leased for it.
    started_at: Time,
    /// What came of it, as one word: `done`, `retry`, `reject`, `trap`, `timeout`, ..
    outcome: &'static str,
    /// What the plugin or the gateway said of it.
    message: Option<String>,
    /// The plugin's version that ran: the SHA-256 of its file, in hex.
    version: Option<String>,
    /// How long it took, in microseconds.
    wall_micros: u64,
    /// The processor time that it took, in microseconds.
    cpu_micros: u64,
    /// What the plugin logged.
    logs: Vec<Line>,
    /// How many requests are kept with it, by `record_requests`; null: none are to be.
    requests: Option<RequestCounts>,
}

/// How many requests of an attempt are kept with it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestCounts {
    /// Those that are.
    kept: u32,
    /// Those that were sent as well.
    omitted: u32,
}

/// What a plugin logged.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Line {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    level: &'static str,
    /// The line.
    text: String,
}

impl Event {
    /// The same with what was received.
    pub(super) fn with_content(self, whole: Whole) -> Self {
        let Whole { method, path, query, headers, body, attributes, .. } = whole;
        let header =
            |(name, value): (String, Vec<u8>)| [name, String::from_utf8_lossy(&value).into_owned()];
        let (body, body_base64) = match String::from_utf8(body) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(BASE64_STANDARD.encode(error.as_bytes()))),
        };
        Self {
            method: Some(method),
            path: Some(path),
            query,
            headers: Some(headers.into_iter().map(header).collect()),
            attributes: Some(attributes.into_iter().map(<[String; 2]>::from).collect()),
            body,
            body_base64,
            ..self
        }
    }
}

impl From<Shown> for Event {
    fn from(shown: Shown) -> Self {
        let Shown { event, deliveries, duplicates, duplicated_at } = shown;
        Self {
            id: event.id.to_string(),
            source: event.origin.to_string(),
            event_type: event.event_type.to_string(),
            received_at: Time(event.received_at),
            parent: event.parent.map(|id| id.to_string()),
            root: event.root.map(|id| id.to_string()),
            hops: event.hops.0,
            bytes: event.body_len,
            duplicates,
            duplicated_at: duplicated_at.map(Time),
            deliveries: deliveries.into_iter().map(Delivery::from).collect(),
            method: None,
            path: None,
            query: None,
            headers: None,
            attributes: None,
            body: None,
            body_base64: None,
            unreadable: None,
        }
    }
}

impl From<ShownDelivery> for Delivery {
    fn from(delivery: ShownDelivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            plugin: delivery.plugin.to_string(),
            state: delivery.state.as_str(),
            order_key: delivery.order_key.as_ref().map(OrderKey::as_str).map(str::to_owned),
            blocks: delivery.blocks,
            due_at: Time(delivery.due_at),
            settled_at: delivery.settled_at.map(Time),
            replayed_at: delivery.replayed_at.map(Time),
            discarded_at: delivery.discarded_at.map(Time),
            lost_leases: delivery.lost_leases,
            attempts: delivery.attempts.into_iter().map(Attempt::from).collect(),
        }
    }
}

impl From<ShownAttempt> for Attempt {
    fn from(shown: ShownAttempt) -> Self {
        let ShownAttempt { number, started_at, attempt, exchanges } = shown;
        let counts = |counts| {
            let ExchangeCounts { kept, left_out } = counts;
            RequestCounts { kept, omitted: left_out }
        };
        let micros =
            |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let line = |line: LogLine| Line { level: line.level.as_str(), text: line.text };
        Self {
            number,
            started_at: Time(started_at),
            outcome: attempt.outcome.as_str(),
            message: attempt.message,
            version: attempt.version.map(|version| version.to_string()),
            wall_micros: micros(attempt.wall),
            cpu_micros: micros(attempt.cpu),
            logs: attempt.logs.into_iter().map(line).collect(),
            requests: exchanges.map(counts),
        }
    }
}

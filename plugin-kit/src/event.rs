//! Events for tests, as a source would make them.

use hookweir_event::{EventId, Hops};
use hookweir_host::Sample;
use serde::Serialize;

use crate::time::START;

/// An event, and which attempt on it is made.
#[derive(Debug, Clone)]
pub struct Event {
    pub(crate) event: hookweir_event::Event,
    pub(crate) attempt: u32,
}

impl Event {
    /// An event of this source and type: first attempt, `POST`, no body, and the id that all of a test's
    /// events share unless they say otherwise.
    ///
    /// # Panics
    /// If source or type are none. A plugin's outputs come from `plugin.NAME`.
    #[track_caller]
    pub fn new(source: &str, event_type: &str) -> Self {
        let (Ok(origin), Ok(event_type)) = (source.parse(), event_type.parse()) else {
            panic!("{source}/{event_type} is no source and type of an event");
        };
        let event = hookweir_event::Event {
            id: EventId::new(START, [0; 10]),
            origin,
            event_type,
            received_at: START,
            method: "POST".to_owned(),
            path: format!("/webhooks/{source}"),
            query: None,
            headers: Vec::new(),
            body: Vec::new(),
            attributes: Vec::new(),
            hops: Hops::default(),
        };
        Self { event, attempt: 1 }
    }

    /// Another id, a UUID.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        let Ok(id) = id.parse() else { panic!("{id} is no UUID") };
        self.event.id = id;
        self
    }

    /// Which attempt this is, counted from 1.
    #[must_use]
    pub fn attempt(self, attempt: u32) -> Self {
        Self { attempt, ..self }
    }

    /// A query, without the `?`.
    #[must_use]
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.event.query = Some(query.into());
        self
    }

    /// One header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.event.headers.push((name.to_lowercase(), value.into()));
        self
    }

    /// One attribute more.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.event.attributes.push((name.into(), value.into()));
        self
    }

    /// The raw body: a captured one, say, by `include_bytes!("../samples/push.json")`.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.event.body = body.as_ref().to_vec();
        self
    }

    /// The body as JSON, with the content type that says so.
    ///
    /// # Panics
    /// If `value` can't be written as JSON.
    #[track_caller]
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => panic!("the body can't be written as JSON: {error}"),
        }
    }
}

impl From<hookweir_event::Event> for Event {
    /// As a gateway has it; first attempt.
    fn from(event: hookweir_event::Event) -> Self {
        Self { event, attempt: 1 }
    }
}

impl From<&Sample> for Event {
    fn from(sample: &Sample) -> Self {
        Self { event: sample.rehearsal.event.clone(), attempt: sample.rehearsal.attempt }
    }
}

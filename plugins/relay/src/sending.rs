//! One event for one endpoint, as it waits in the gateway: an output whose body is what will be sent, to the
//! byte, and whose headers say to whom.

use hookweir_sdk::prelude::*;

/// What is published makes one of these for each endpoint.
pub(crate) const DELIVER: &str = "relay.deliver";
/// One of those that failed once: what is tried again, for as long as the gateway does so.
pub(crate) const RETRY: &str = "relay.retry";

const ENDPOINT: &str = "relay-endpoint";
const WEBHOOK_ID: &str = "relay-webhook-id";
const NOT_BEFORE: &str = "relay-not-before-ms";

/// To whom, and under which id.
pub(crate) struct Sending {
    pub(crate) endpoint: String,
    /// The same however often it is sent, so that the receiver can tell that it has it already.
    pub(crate) webhook_id: String,
    /// Unix time; 0 for at once.
    pub(crate) not_before_ms: u64,
}

impl Sending {
    /// A new one.
    pub(crate) fn new(event: &Event, endpoint: &str) -> Self {
        // Without a dot, as the specification wants it: one ends the id in what is signed.
        let webhook_id = format!("msg_{}_{endpoint}", event.id());
        Self { endpoint: endpoint.to_owned(), webhook_id, not_before_ms: 0 }
    }

    /// What an event of the plugin's own says.
    pub(crate) fn of(event: &Event) -> Result<Self, Failure> {
        let said = |name: &str| event.header(name).map(str::to_owned);
        let needed = |name| said(name).ok_or(format!("no header `{name}`")).or_reject();
        let not_before_ms = said(NOT_BEFORE).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Self { endpoint: needed(ENDPOINT)?, webhook_id: needed(WEBHOOK_ID)?, not_before_ms })
    }

    /// The output that comes back as an event.
    pub(crate) fn output(&self, event_type: &str, body: impl Into<Vec<u8>>) -> Output {
        let output = Output::new(event_type, body)
            .header("content-type", "application/json")
            .header(ENDPOINT, self.endpoint.as_str())
            .header(WEBHOOK_ID, self.webhook_id.as_str());
        match self.not_before_ms {
            0 => output,
            time => output.header(NOT_BEFORE, time.to_string()),
        }
    }
}

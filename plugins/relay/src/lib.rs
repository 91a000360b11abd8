//! Relay: publish and subscribe. Systems register endpoints for event types, and get what happens as webhooks
//! that are signed after the Standard Webhooks specification.
//!
//! What is published becomes an output for each endpoint that wants it, and comes back as an event of its own,
//! `plugin.relay/relay.deliver`: so the gateway retries each endpoint alone, whatever becomes of the others.

mod deliver;
mod endpoint;
mod health;
mod payload;
mod publish;
mod rest;
mod secret;
mod sending;
mod settings;

use hookweir_sdk::prelude::*;
use jiff::Timestamp;

use settings::Settings;

/// The source of this plugin's own outputs: its file is `relay.wasm`.
const OWN: &str = "plugin.relay";

#[plugin(subscribe = ["erp/*", "plugin.relay/relay.*"], http = ["https://*"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    match (event.source(), event.event_type()) {
        (OWN, sending::DELIVER | sending::RETRY) => deliver::deliver(&event),
        _ => publish::publish(&event),
    }
}

/// Endpoints, below `/api/relay/endpoints`.
#[api]
fn respond(request: Request) -> Result<Response, Failure> {
    rest::respond(&request)
}

/// A config with a slip in it does not go live.
#[init]
fn init(settings: Settings) -> Result<(), String> {
    settings.check()
}

fn now() -> Result<Timestamp, Failure> {
    Timestamp::from_millisecond(clock::now_ms().cast_signed()).or_retry()
}

#[cfg(test)]
mod tests;

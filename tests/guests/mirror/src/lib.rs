//! A guest that says all that it was told: headers, body and attributes as they came, and the rest in attributes
//! of its own before them.

use hookweir_sdk::prelude::*;

#[plugin(subscribe = ["test/mirror"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    let mut output = Output::new("mirrored", event.body())
        .attribute("id", event.id())
        .attribute("source", event.source())
        .attribute("type", event.event_type())
        .attribute("attempt", event.attempt().to_string())
        .attribute("received-at-ms", event.received_at_ms().to_string())
        .attribute("method", event.method())
        .attribute("path", event.path());
    if let Some(query) = event.query() {
        output = output.attribute("query", query);
    }
    for (name, value) in event.headers() {
        output = output.header(name, value);
    }
    for (name, value) in event.attributes() {
        output = output.attribute(name, value);
    }
    Ok(outputs![output])
}

//! Alerts: what the gateway says of itself is said in the team's chat.
//!
//! An event of the gateway's own, `gateway/alert.*`, becomes one message to an incoming webhook as Slack,
//! Mattermost, Rocket.Chat and others have it. The webhook's URL is all that one needs to write there, so it is a
//! secret and stands in no config, log or failure.

mod text;

use hookweir_sdk::prelude::*;
use serde_json::json;

#[plugin(
    subscribe = ["gateway/alert.*"],
    http = ["https://*"],
    secrets = ["WEBHOOK_URL"]
)]
fn handle(event: Event) -> Result<Outputs, Failure> {
    let gateway = config::get("gateway").unwrap_or_else(|| "the gateway".to_owned());
    let text = text::of(&gateway, event.event_type(), &event.json()?);
    http::post(secrets::get("WEBHOOK_URL")?)
        .json(&json!({ "text": text }))?
        .send()?
        .ok_or_retry()?; // 429: Slack says when it will listen again
    log::info!("said in the chat");
    Ok(outputs![])
}

#[cfg(test)]
mod tests;

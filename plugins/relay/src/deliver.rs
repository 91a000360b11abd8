//! Sends one event to one endpoint.
//!
//! Of an attempt that fails nothing is kept, so it could say nowhere that the endpoint fails. The first one
//! ends well all the same, and leaves two outputs: `relay.failed`, which is noted, and `relay.retry`, which the
//! gateway tries again and again. An attempt that has sent relies on the endpoint alone: whatever else it read,
//! another one could change meanwhile, and then it would be run again, and send again.

use std::time::Duration;

use hookweir_sdk::prelude::*;

use crate::{
    endpoint::{Disabled, Endpoint},
    failed::{Failed, is_too_long},
    health::Health,
    now,
    sending::{RETRY, Sending},
    settings::Settings,
};

/// The longest that a `Retry-After` is heeded before the second attempt; for later ones the gateway's config says it.
const LEFT_ALONE_MAX: Duration = Duration::from_secs(86_400);
/// An event that has failed for less says nothing of how long its endpoint does.
const BLIP_MAX: Duration = Duration::from_secs(3_600);
/// Characters of a failure that are kept.
const WHY_MAX: usize = 200;
/// What an endpoint's owner is told. Where a name leads to, and what is granted, is the operator's to know.
pub(crate) const DENIED: &str = "the gateway may not send to this URL; its operator can allow it";

/// What became of one request.
enum Answer {
    Taken(u16),
    /// 410: the endpoint wants no more of them.
    Gone,
    /// All else but 2xx. It may pass.
    Failed {
        /// None: there was no answer.
        status: Option<u16>,
        why: String,
        wait: Option<Duration>,
    },
    /// The gateway did not send it, in its own words. What is denied today the operator may grant tomorrow.
    Denied(String),
}

/// Handles an event of the plugin's own.
pub(crate) fn deliver(event: &Event) -> Result<Outputs, Failure> {
    let sending = Sending::of(event)?;
    let id = &sending.endpoint;
    let Some(endpoint) = Endpoint::load(id)? else {
        log::info!(endpoint = id, "not sent: the endpoint was deleted");
        return Ok(outputs![]);
    };
    if let Some(Disabled { because, .. }) = &endpoint.disabled {
        return Err(Failure::reject(format!("endpoint {id} is disabled: {because}")));
    }
    if event.event_type() == RETRY && event.attempt() == 1 {
        return Err(wait_first(&sending));
    }
    match send(event, &sending, &endpoint)? {
        Answer::Taken(status) => {
            // It must not be sent again for want of room to note it.
            if let Err(failure) = Health::note_taken(id, status) {
                log::warn!(endpoint = id, "sent, but not noted: {failure}");
            }
            Ok(outputs![])
        }
        Answer::Gone => {
            let told = endpoint.disable(id, "it answered 410 Gone".to_owned())?;
            // Becomes a dead letter, which can be sent when the endpoint is enabled again.
            Ok(outputs![told, sending.output(RETRY, event.body())])
        }
        Answer::Failed { status, why, wait } => failed(event, sending, status, why, wait),
        Answer::Denied(detail) => denied(event, &sending, &detail),
    }
}

/// An output has no time of its own: what failed a moment ago waits by an attempt that sends nothing, for as long
/// as the endpoint asked, or as the gateway has any first failure wait. An endpoint that hangs would hold a place
/// at once again otherwise, for each event.
fn wait_first(sending: &Sending) -> Failure {
    let failure = Failure::retry("sends nothing yet: the endpoint failed a moment ago");
    match sending.not_before_ms.saturating_sub(clock::now_ms()) {
        0 => failure,
        early => failure.after(Duration::from_millis(early)),
    }
}

fn send(event: &Event, sending: &Sending, endpoint: &Endpoint) -> Result<Answer, Failure> {
    let (now, id) = (now()?, &sending.webhook_id);
    let request = http::post(&endpoint.url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", now.as_second().to_string())
        .header("webhook-signature", endpoint.secrets.sign(now, id, event.body())?)
        // The gateway's own would be another one after the first attempt.
        .header("idempotency-key", id)
        .body(event.body());
    let error = match request.send() {
        Ok(answer) if answer.is_ok() => return Ok(Answer::Taken(answer.status())),
        Ok(answer) if answer.status() == 410 => return Ok(Answer::Gone),
        Ok(answer) => {
            let (status, wait) = (answer.status(), answer.retry_after());
            let why = format!("answered with {status}");
            return Ok(Answer::Failed { status: Some(status), why, wait });
        }
        Err(error) => error,
    };
    match error.code() {
        "denied" => Ok(Answer::Denied(error.message().to_owned())),
        // It is the same the next time, and the endpoint has no part in it.
        "limit" | "invalid" => {
            let id = &sending.endpoint;
            Err(Failure::reject(format!("can't be sent to endpoint {id}: {}", error.message())))
        }
        _ => {
            let why = error.message().chars().take(WHY_MAX).collect();
            Ok(Answer::Failed { status: None, why, wait: None })
        }
    }
}

fn failed(
    event: &Event,
    mut sending: Sending,
    status: Option<u16>,
    why: String,
    wait: Option<Duration>,
) -> Result<Outputs, Failure> {
    let endpoint = sending.endpoint.clone();
    let is_retry = event.event_type() == RETRY;
    let lasting = is_retry && is_lasting(event, &endpoint)?;
    if is_retry && !lasting {
        let failure = Failure::retry(format!("endpoint {endpoint}: {why}"));
        return Err(match wait {
            Some(wait) => failure.after(wait),
            None => failure,
        });
    }
    log::warn!(endpoint = endpoint, "{why}");
    let wait = wait.unwrap_or_default().min(LEFT_ALONE_MAX).as_millis();
    sending.not_before_ms = match u64::try_from(wait).or_retry()? {
        0 => 0,
        wait => clock::now_ms().saturating_add(wait),
    };
    let failed = Failed { endpoint, at: now()?, status, why, denied: false, lasting };
    Ok(outputs![failed.output()?, sending.output(RETRY, event.body())])
}

fn denied(event: &Event, sending: &Sending, detail: &str) -> Result<Outputs, Failure> {
    let endpoint = sending.endpoint.clone();
    if event.event_type() == RETRY {
        return Err(Failure::retry(format!("endpoint {endpoint}: {detail}")));
    }
    log::warn!(endpoint = endpoint, "{detail}");
    let why = DENIED.to_owned();
    let failed = Failed { endpoint, at: now()?, status: None, why, denied: true, lasting: false };
    Ok(outputs![failed.output()?, sending.output(RETRY, event.body())])
}

/// Whether this event has failed for a while, and its endpoint, as far as a listing tells, for too long.
fn is_lasting(event: &Event, endpoint: &str) -> Result<bool, Failure> {
    let least = Settings::load()?.disable_after()?.min(BLIP_MAX);
    let failing = clock::now_ms().saturating_sub(event.received_at_ms());
    if u128::from(failing) < least.as_millis() {
        return Ok(false);
    }
    match Health::listed_since(endpoint)? {
        Some(since) => is_too_long(since, now()?),
        None => Ok(false),
    }
}

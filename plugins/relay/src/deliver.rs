//! Sends one event to one endpoint.
//!
//! Of an attempt that fails nothing is kept, so it could note nowhere that the endpoint fails. The first one
//! ends well all the same: it notes the failure and leaves an output, `relay.retry`, which the gateway
//! tries again and again. A later one that finds the endpoint has failed for too long ends well once more,
//! and disables it.

use std::time::Duration;

use hookweir_sdk::prelude::*;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    endpoint::{Disabled, Endpoint},
    health::Health,
    now,
    sending::{RETRY, Sending},
    settings::Settings,
};

/// The longest that a `Retry-After` is heeded before the second attempt; for later ones the gateway's config says it.
const LEFT_ALONE_MAX: Duration = Duration::from_secs(86_400);

/// What became of one request.
enum Answer {
    Taken(u16),
    /// 410: the endpoint wants no more of them.
    Gone,
    Failed(Failed),
}

struct Failed {
    /// None: there was no answer.
    status: Option<u16>,
    why: String,
    wait: Option<Duration>,
}

/// Handles an event of the plugin's own.
pub(crate) fn deliver(event: &Event) -> Result<Outputs, Failure> {
    let sending = Sending::of(event)?;
    let Some(endpoint) = Endpoint::load(&sending.endpoint)? else {
        log::info!(endpoint = sending.endpoint, "not sent: the endpoint was deleted");
        return Ok(outputs![]);
    };
    if let Some(Disabled { because, .. }) = &endpoint.disabled {
        let id = &sending.endpoint;
        return Err(Failure::reject(format!("endpoint {id} is disabled: {because}")));
    }
    let early = sending.not_before_ms.saturating_sub(clock::now_ms());
    // Behind the first attempt it is the gateway that has waited, for as long as it may.
    if early > 0 && event.attempt() == 1 {
        let failure = Failure::retry("the endpoint asked to be left alone for a while");
        return Err(failure.after(Duration::from_millis(early)));
    }
    match send(event, &sending, &endpoint)? {
        Answer::Taken(status) => {
            // It must not be sent again for want of room to note it.
            if let Err(failure) = Health::note_taken(&sending.endpoint, status) {
                log::warn!(endpoint = sending.endpoint, "sent, but not noted: {failure}");
            }
            Ok(outputs![])
        }
        Answer::Gone => {
            let because = "it answered 410 Gone".to_owned();
            Ok(outputs![disable(&sending.endpoint, endpoint, because)?])
        }
        Answer::Failed(failed) => settle(event, sending, endpoint, failed),
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
    Ok(match request.send() {
        Ok(answer) if answer.is_ok() => Answer::Taken(answer.status()),
        Ok(answer) if answer.status() == 410 => Answer::Gone,
        Ok(answer) => Answer::Failed(Failed {
            status: Some(answer.status()),
            why: format!("answered with {}", answer.status()),
            wait: answer.retry_after(),
        }),
        // Whatever it is: what is denied today the operator may grant tomorrow.
        Err(error) => {
            Answer::Failed(Failed { status: None, why: error.message().to_owned(), wait: None })
        }
    })
}

/// What a failure leads to: all but 2xx is one, and may pass.
fn settle(
    event: &Event,
    mut sending: Sending,
    endpoint: Endpoint,
    failed: Failed,
) -> Result<Outputs, Failure> {
    let Failed { status, why, wait } = failed;
    let (id, now) = (sending.endpoint.clone(), now()?);
    let health = Health::load(&id)?;
    if let Some(since) = health.failing_since()
        && is_too_long(since, now)?
    {
        let because = format!("it has failed since {since}, the last time so: {why}");
        health.note_failed(&id, status, &why)?;
        let told = disable(&id, endpoint, because)?;
        // Becomes a dead letter, which can be sent when the endpoint is enabled again.
        sending.not_before_ms = 0;
        return Ok(outputs![told, sending.output(RETRY, event.body())]);
    }
    if event.event_type() == RETRY {
        let failure = Failure::retry(format!("endpoint {id}: {why}"));
        return Err(match wait {
            Some(wait) => failure.after(wait),
            None => failure,
        });
    }
    log::warn!(endpoint = id, "{why}");
    health.note_failed(&id, status, &why)?;
    let wait = wait.unwrap_or_default().min(LEFT_ALONE_MAX).as_millis();
    sending.not_before_ms = match u64::try_from(wait).or_retry()? {
        0 => 0,
        wait => clock::now_ms().saturating_add(wait),
    };
    Ok(outputs![sending.output(RETRY, event.body())])
}

fn is_too_long(since: Timestamp, now: Timestamp) -> Result<bool, Failure> {
    let most = SignedDuration::try_from(Settings::load()?.disable_after()?).or_retry()?;
    Ok(now.duration_since(since) >= most)
}

/// What other plugins can be told: `plugin.relay/endpoint.disabled`.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    url: &'a str,
    because: &'a str,
}

fn disable(id: &str, mut endpoint: Endpoint, because: String) -> Result<Output, Failure> {
    log::warn!(endpoint = id, "disabled: {because}");
    let told =
        Output::json("endpoint.disabled", &Told { id, url: &endpoint.url, because: &because })?;
    endpoint.disabled = Some(Disabled { at: now()?, because });
    endpoint.save(id)?;
    Ok(told)
}

//! What a delivery that failed says of its endpoint, and what comes of that.
//!
//! The attempt that sent notes no failure. Those of many events come at the same time, and whichever read what
//! another one has changed meanwhile would be run again, and send again. It leaves an output instead, `relay.failed`:
//! who handles that sends nothing, and may be run again as often as it takes.

use hookweir_sdk::prelude::*;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{endpoint::Endpoint, health::Health, settings::Settings};

pub(crate) const FAILED: &str = "relay.failed";

/// One failure.
#[derive(Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) endpoint: String,
    pub(crate) at: Timestamp,
    /// None: there was no answer.
    pub(crate) status: Option<u16>,
    pub(crate) why: String,
    /// The gateway sent nothing, so it says nothing of the endpoint.
    pub(crate) denied: bool,
    /// Its event has failed for a while: if the endpoint has failed for too long, it is disabled.
    pub(crate) lasting: bool,
}

impl Failed {
    pub(crate) fn output(&self) -> Result<Output, Failure> {
        Output::json(FAILED, self)
    }
}

/// Notes a failure, and disables the endpoint if it is one too many.
pub(crate) fn note(event: &Event) -> Result<Outputs, Failure> {
    let failed: Failed = event.json()?;
    let id = &failed.endpoint;
    let Some(endpoint) = Endpoint::load(id)? else { return Ok(outputs![]) };
    let since = Health::load(id)?.note_failed(&failed)?;
    match since.filter(|_| failed.lasting && endpoint.disabled.is_none()) {
        Some(since) if is_too_long(since, failed.at)? => {
            let because = format!("it has failed since {since}, the last time so: {}", failed.why);
            Ok(outputs![endpoint.disable(id, because)?])
        }
        _ => Ok(outputs![]),
    }
}

/// Whether what has failed since then has done so for longer than the operator lets it.
pub(crate) fn is_too_long(since: Timestamp, now: Timestamp) -> Result<bool, Failure> {
    let most = SignedDuration::try_from(Settings::load()?.disable_after()?).or_retry()?;
    Ok(now.duration_since(since) >= most)
}

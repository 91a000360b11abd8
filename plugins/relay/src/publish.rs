//! Fans out what is published: nothing is sent here, so that no endpoint waits for another.

use hookweir_sdk::prelude::*;

use crate::{
    endpoint::{self, Endpoint},
    payload,
    sending::{DELIVER, Sending},
};

/// An output for each endpoint that wants events of this type.
pub(crate) fn publish(event: &Event) -> Result<Outputs, Failure> {
    let mut to = Vec::new();
    for id in endpoint::ids()? {
        // A listing is of its moment: one may have gone since.
        if Endpoint::load(&id)?.is_some_and(|endpoint| endpoint.wants(event.event_type())) {
            to.push(id);
        }
    }
    if to.is_empty() {
        return Ok(outputs![]);
    }
    let body = payload::of(event)?;
    log::info!(endpoints = to.len(), "published");
    Ok(to.iter().map(|id| Sending::new(event, id).output(DELIVER, body.clone())).collect())
}

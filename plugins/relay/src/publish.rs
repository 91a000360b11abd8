//! Fans out what is published: nothing is sent here, so that what becomes of one endpoint
//! is nothing to the others. They share the places of the plugin, and each request takes one.

use hookweir_sdk::prelude::*;

use crate::{
    endpoint::{self, Endpoint},
    payload,
    sending::{DELIVER, Sending},
};

/// An output for each endpoint that wants events of this type.
pub(crate) fn publish(event: &Event) -> Result<Outputs, Failure> {
    let wants =
        |(id, endpoint): (String, Endpoint)| endpoint.wants(event.event_type()).then_some(id);
    let to: Vec<_> = endpoint::all()?.into_iter().filter_map(wants).collect();
    if to.is_empty() {
        return Ok(outputs![]);
    }
    let body = payload::of(event)?;
    log::info!(endpoints = to.len(), "published");
    Ok(to.iter().map(|id| Sending::new(event, id).output(DELIVER, body.clone())).collect())
}

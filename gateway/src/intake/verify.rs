//! The second stage: proves who sent the request. What fails here is neither stored nor shown to
//! anyone; the reason goes to the audit log alone.

use std::sync::Arc;

use hookweir_event::Timestamp;
use hookweir_verify::Verified;

use super::{
    Refusal,
    receive::{Received, RequestId},
};
use crate::live::Source;

/// A request whose sender is proven.
pub(super) struct Proven {
    pub(super) source: Arc<Source>,
    pub(super) verified: Verified,
    pub(super) received_at: Timestamp,
}

pub(super) fn verify(received: Received, request: RequestId) -> Result<Proven, Refusal> {
    let Received { source, incoming, received_at } = received;
    let config = &source.config;
    // Other methods are for handshakes, and this was none.
    if incoming.method != "POST" {
        return Err(Refusal::MethodNotAllowed);
    }
    match config.scheme.verify(&source.name, &config.secrets, incoming, received_at) {
        Ok(verified) => {
            let facts = verified.facts();
            // Who rotates a secret wants to know when the old one is no longer used.
            tracing::debug!(
                target: "hookweir::audit",
                request_id = %request, source = %source.name, scheme = config.scheme.name(),
                secret = facts.secret_index, skew_ms = facts.skew_ms,
                body_authenticated = facts.body_authenticated, "verified"
            );
            Ok(Proven { source, verified, received_at })
        }
        Err(rejection) => {
            tracing::warn!(
                target: "hookweir::audit",
                request_id = %request, source = %source.name, scheme = config.scheme.name(),
                reason = rejection.reason(), "not verified: {rejection}"
            );
            Err(if rejection.is_authentic() {
                Refusal::Malformed(rejection.to_string())
            } else {
                Refusal::Unauthenticated
            })
        }
    }
}

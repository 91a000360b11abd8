//! The second stage: proves who sent the request. What fails here is neither stored nor shown to
//! anyone; the reason goes to the audit log alone.

use std::sync::Arc;

use hookweir_event::Timestamp;
use hookweir_verify::{Rejection, Verified};

use super::{
    Refusal,
    desk::Desk,
    door::{Clerk, Door},
    receive::{Received, RequestId},
};
use crate::{budget::Hold, keys::Keys, live::Source};

/// A request whose sender is proven.
pub(super) struct Proven {
    pub(super) source: Arc<Source>,
    pub(super) verified: Verified,
    pub(super) received_at: Timestamp,
    pub(super) hold: Hold,
}

/// Who can be asked whether a request is genuine, where its source's secrets do not tell.
pub(super) struct Referees<'a> {
    pub(super) keys: &'a Keys,
    pub(super) door: &'a Door,
    pub(super) desk: &'a Desk,
}

pub(super) async fn verify(
    Referees { keys, door, desk }: Referees<'_>,
    received: Received,
    request: RequestId,
) -> Result<Proven, Refusal> {
    let Received { source, incoming, received_at, mut hold } = received;
    let config = &source.config;
    // Other methods are for handshakes, and this was none.
    if incoming.method != "POST" {
        return Err(Refusal::MethodNotAllowed);
    }
    let (scheme, secrets) = (&config.scheme, source.secrets());
    let verdict = if let Some(plugin) = &config.verifier {
        let clerk = Clerk { door, desk, plugin, request };
        scheme.verify_by(&source.name, secrets, &clerk, incoming, received_at).await
    } else if secrets.is_empty() && scheme.finds_keys() {
        scheme.verify_with(&source.name, keys, incoming, received_at).await
    } else {
        scheme.verify(&source.name, secrets, incoming, received_at)
    };
    match verdict {
        Ok(verified) => {
            // What it was packed into is gone.
            hold.settle(verified.body().len() as u64);
            let facts = verified.facts();
            // Who rotates a secret wants to know when the old one is no longer used.
            if let Some(secret) = facts.secret_index {
                source.record.matched(secret, received_at);
            }
            tracing::debug!(
                target: "hookweir::audit",
                request_id = %request, source = %source.name, scheme = config.scheme.name(),
                secret = facts.secret_index, skew_ms = facts.skew_ms,
                body_authenticated = facts.body_authenticated, "verified"
            );
            Ok(Proven { source, verified, received_at, hold })
        }
        Err(rejection) => Err(refusal(rejection)),
    }
}

fn refusal(rejection: Rejection) -> Refusal {
    match rejection {
        Rejection::KeyUnavailable(why) => Refusal::KeyUnavailable(why),
        rejection @ Rejection::VerifierUnavailable(_) => Refusal::VerifierUnavailable(rejection),
        rejection @ Rejection::VerifierFailed(_) => Refusal::VerifierFailed(rejection),
        Rejection::ContentTooLarge(max) => Refusal::BodyTooLarge(max),
        rejection if rejection.is_authentic() => Refusal::Malformed(rejection.to_string()),
        rejection => Refusal::Unauthenticated(rejection),
    }
}

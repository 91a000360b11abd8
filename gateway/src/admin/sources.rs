//! What operators see of sources.

use serde_json::{Value, json};

use super::time;
use crate::{
    live::{Live, Source},
    record::{Record, Refused},
};

/// All sources, in the order of their names.
pub(super) fn list(live: &Live) -> Value {
    let mut sources: Vec<_> = live.sources().collect();
    sources.sort_by_key(|source| &source.name);
    json!({ "items": sources.into_iter().map(|source| show(source)).collect::<Vec<_>>() })
}

fn show(source: &Source) -> Value {
    let proofs = source.record.proofs().into_iter().map(|proofs| {
        json!({ "secret": proofs.secret, "count": proofs.count, "last": time(proofs.last) })
    });
    let config = &source.config;
    json!({
        "name": source.name.as_str(),
        "path": config.path,
        "scheme": config.scheme.name(),
        "insecure": config.scheme.is_insecure(),
        "secrets": source.secrets().len(),
        "verified": proofs.collect::<Vec<_>>(),
        "refused": source.record.refused_by_reason(),
    })
}

/// The last refusals of a source or of a plugin's api, the newest first.
pub(super) fn refusals(record: &Record) -> Value {
    let refusal = |refused: Refused| {
        json!({
            "at": time(refused.at),
            "requestId": refused.request_id,
            "client": refused.client,
            "code": refused.code,
            "reason": refused.reason,
            "detail": refused.detail,
        })
    };
    let items: Vec<_> = record.refusals().into_iter().map(refusal).collect();
    json!({ "items": items })
}

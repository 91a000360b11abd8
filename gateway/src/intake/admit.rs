//! The third stage: a verified request pays its source's token. It comes after the signature, so
//! that forgeries can't spend what belongs to the sender.

use std::sync::Arc;

use hookweir_event::Timestamp;
use hookweir_verify::Verified;

use super::{Refusal, desk::Desk, verify::Proven};
use crate::live::Source;

/// A verified request within its source's limit: the only thing that can be appended.
pub(super) struct Admitted {
    source: Arc<Source>,
    verified: Verified,
    received_at: Timestamp,
}

pub(super) fn admit(desk: &Desk, proven: Proven) -> Result<Admitted, Refusal> {
    let Proven { source, verified, received_at } = proven;
    desk.source(&source.name).take().map_err(Refusal::RateLimited)?;
    Ok(Admitted { source, verified, received_at })
}

impl Admitted {
    pub(super) fn into_parts(self) -> (Arc<Source>, Verified, Timestamp) {
        (self.source, self.verified, self.received_at)
    }
}

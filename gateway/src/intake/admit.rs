//! The third stage: a verified request finds a place in front of the store and pays its source's token. It
//! comes after the signature, so that forgeries can't spend what belongs to the sender.

use std::sync::Arc;

use hookweir_event::Timestamp;
use hookweir_verify::Verified;

use super::{Refusal, desk::Desk, verify::Proven};
use crate::{
    budget::{Hold, Place, Places},
    limits::{Allowance, NotPassed},
    live::Source,
};

/// A verified request within its source's limits: the only thing that can be appended.
pub(super) struct Admitted {
    source: Arc<Source>,
    verified: Verified,
    received_at: Timestamp,
    held: Held,
    allowance: Option<Allowance>,
}

/// What an event holds of what all share, until it is on disk.
pub(super) struct Held {
    _hold: Hold,
    _place: Place,
}

pub(super) fn admit(desk: &Desk, proven: Proven) -> Result<Admitted, Refusal> {
    let Proven { source, verified, received_at, hold } = proven;
    let parties = (desk.budget.clone(), source.shares.clone());
    let place = Places::take(parties, &desk.live.config.server, source.config.priority);
    // Before the token: who is shed has not spent one.
    let held = Held { _hold: hold, _place: place.map_err(Refusal::Overloaded)? };
    // The source's own first: what it is refused by that must not cost the others.
    let allowance = desk.source(&source.name).take().map_err(not_passed)?;
    desk.verified.take().map_err(not_passed)?;
    Ok(Admitted { source, verified, received_at, held, allowance })
}

/// A gateway that is out of touch with the others is so with the store, which would refuse it next.
fn not_passed(why: NotPassed) -> Refusal {
    match why {
        NotPassed::Limited(limited) => Refusal::RateLimited(limited),
        NotPassed::OutOfTouch => Refusal::StoreRefuses,
    }
}

impl Admitted {
    /// What is left of its source's rate.
    pub(super) fn allowance(&self) -> Option<Allowance> {
        self.allowance.clone()
    }

    pub(super) fn into_parts(self) -> (Arc<Source>, Verified, Timestamp, Held) {
        (self.source, self.verified, self.received_at, self.held)
    }
}

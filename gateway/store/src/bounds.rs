//! What no store keeps more of, and what an attempt is of which no plugin made an end: the same with each engine.

use std::time::Duration;

use hookweir_event::{Attempt, Outcome};

/// The most deliveries an event can have: as many as SQLite's engine has keys for.
pub(crate) const DELIVERIES_MAX: usize = 1023;
/// The most attempts a delivery can have, for the same reason; no limit on attempts comes near.
pub(crate) const ATTEMPTS_MAX: u32 = 1023;
/// A delivery whose process died this often is dead: it may be the event that kills it.
const LOST_LEASES_MAX: u32 = 3;
/// The most bytes of one event, envelope and body: with what lies beside it in its row, what the databases take in one
/// value.
const EVENT_MAX: usize = 512 << 20;

/// Whether an event can have so many deliveries; if not, why.
pub(crate) fn deliveries_fit(deliveries: usize) -> Result<(), String> {
    match deliveries {
        ..=DELIVERIES_MAX => Ok(()),
        _ => Err(format!("an event can have {DELIVERIES_MAX} deliveries at most")),
    }
}

/// Whether an event of so many bytes can be kept; if not, why.
pub(crate) fn bytes_fit(bytes: usize) -> Result<(), String> {
    match bytes {
        ..=EVENT_MAX => Ok(()),
        _ => Err(format!("an event of {bytes} bytes; at most {EVENT_MAX} are kept")),
    }
}

/// Whether a delivery is dead that lost its lease so often, in its attempt of that number.
pub(crate) fn dies_of_loss(lost_leases: u32, number: u32) -> bool {
    lost_leases >= LOST_LEASES_MAX || number >= ATTEMPTS_MAX
}

/// The attempt whose process ended during it.
pub(crate) fn lost() -> Attempt {
    nothing_ran(Outcome::Lost, "the process ended during the attempt")
}

/// The only attempt of a delivery whose event went too far.
pub(crate) fn too_far() -> Attempt {
    nothing_ran(Outcome::HopLimit, "the event passed through too many plugins")
}

/// The attempt of a delivery whose event has rotted.
pub(crate) fn unreadable() -> Attempt {
    nothing_ran(Outcome::Unreadable, "the event can't be read any more: the store is damaged")
}

/// The record of an attempt in which no plugin ran to an end.
fn nothing_ran(outcome: Outcome, message: &str) -> Attempt {
    Attempt {
        outcome,
        message: Some(message.to_owned()),
        version: None,
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        logs: Vec::new(),
    }
}

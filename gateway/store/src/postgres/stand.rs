//! Where a delivery stands, as the database says it: one expression for what is shown and for what is searched by, so
//! that the two can't differ.
//!
//! One that is due is said to be so until a lease has come upon it and set it aside for the hold of its source.

use tokio_postgres::Row;

use super::{Fault, columns::Columns};
use crate::{DeliveryState, ShownDelivery, Standpoint};

/// The word for where the delivery `d` stands; `h` is the hold that it is aside for, if there is one.
macro_rules! state {
    () => {
        "CASE WHEN d.settled_at IS NOT NULL
              THEN CASE d.dead WHEN 0 THEN 'done' WHEN 2 THEN 'discarded' ELSE 'dead' END
              WHEN d.boot IS NOT NULL THEN 'leased'
              WHEN d.standing = 1 THEN 'behind'
              WHEN d.held IS NOT NULL AND h.lifted_at IS NULL THEN 'held'
              ELSE 'due' END"
    };
}

/// The condition that `deliveries` is open, in its place or the first of its line, and not aside: that of the index
/// `deliveries_open`.
macro_rules! open {
    () => {
        "settled_at IS NULL AND standing IS DISTINCT FROM 1 AND held IS NULL"
    };
}

/// The deliveries `d` of some events: those named by `$1`, all of them between `$2` and `$3`.
pub(super) const DELIVERIES_OF: &str = concat!(
    "SELECT d.event, d.ordinal, d.plugin, ",
    state!(),
    " AS state, d.order_key,
            coalesce(d.standing = 2, false) AS blocks,
            greatest(d.due_at, d.let_go_at, h.lifted_at) AS due_at,
            d.replayed_at, d.settled_at, d.discarded_at, d.lost_leases
     FROM deliveries AS d LEFT JOIN holds AS h ON h.origin = d.held
     WHERE d.event = ANY($1) AND d.event BETWEEN $2 AND $3 ORDER BY d.event, d.ordinal"
);

pub(super) use {open, state};

/// A row's [`state!`].
pub(super) fn state_of(row: &Row) -> Result<DeliveryState, Fault> {
    match row.parsed("state")? {
        Standpoint::Delivery(state) => Ok(state),
        Standpoint::Unrouted | Standpoint::Blocks => Err(Fault::unreadable("state")),
    }
}

/// The word by which a search asks for it.
pub(super) fn word(standpoint: Standpoint) -> &'static str {
    match standpoint {
        Standpoint::Unrouted => "unrouted",
        Standpoint::Blocks => "blocks",
        Standpoint::Delivery(state) => state.as_str(),
    }
}

/// Whether a delivery stands there.
pub(super) fn stands(delivery: &ShownDelivery, at: Standpoint) -> bool {
    match at {
        Standpoint::Unrouted => false,
        Standpoint::Blocks => delivery.blocks,
        Standpoint::Delivery(state) => delivery.state == state,
    }
}

//! What every engine must do, through the store's public face: each guarantee it makes to the rooms
//! above.
//!
//! An engine has a test binary of its own, which takes this module in by its path and has beside it a
//! module `ground` with a `Ground`: where the engine under test keeps one store.
//!
//! - `new()`: a place of its own for each test, without a store.
//! - `location()`: what a store is opened with.
//! - `crash()`: what is on disk now is what the next store finds; one that runs goes on, unseen.
//! - `IN_ORDER`: whether verbs that nobody waited between are done in the order in which they were asked.
//! - `AGED_BY_GATEWAYS`: whether an event's age is counted from when its gateway says that it came, or from its commit.
//! - `count()`: how much is left of what listings don't show ([`Hidden`]), to see that it goes.

mod confer;
mod deliver;
mod exchanges;
mod hold;
mod keep;
pub(crate) mod model;
mod notices;
mod open;
mod operate;
mod order;
mod replay;
mod retain;
mod search;
mod state;
pub(crate) mod support;
mod time;

/// What is kept for events, and goes with them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hidden {
    /// The events, in whatever they are kept.
    Events,
    /// Their deliveries.
    Deliveries,
    /// Their attempts.
    Attempts,
    /// What those sent.
    Exchanges,
    /// The ids of events that are gone, and whose claims hold still.
    Departed,
}

//! Makes events durable: the store's contract and its SQLite engine.
//!
//! Storage is a noun with four verbs: [`append`](Store::append) keeps an event and the deliveries it
//! is owed, [`lease`](Store::lease) hands deliveries out, [`settle`](Store::settle) records what came
//! of one, outputs included, and [`give_back`](Store::give_back) returns one unused. What a verb
//! answered is on disk; what failed left nothing behind. A [`Reader`] looks on without being in the way.
#![forbid(unsafe_code)]

pub mod care;
mod contract;
mod error;
mod reader;
mod room;
mod search;
mod sqlite;
mod store;

pub use contract::{
    Basis, Change, DeliveryId, Health, Keep, Lease, LeaseKey, Leased, Mend, NewEvent, Options,
    Output, Receipt, Replay, Retention, Route, Settled, Settlement, StateChange, StateEntry, Want,
};
pub use error::{OpenError, ReadError, StoreError};
pub use reader::{
    Blocked, Counts, DeliveryState, Reader, Shown, ShownAttempt, ShownDelivery, Summary,
};
pub use room::Room;
pub use search::{Cursor, Filter, Page, Standpoint};
pub use store::Store;

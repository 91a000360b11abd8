//! The SQLite engine. Its constraints and invariants:
//!
//! - One thread owns the one connection that writes; a lock file keeps other processes out.
//! - What waits in the queue is taken together: one transaction, one sync of the log, then the answers.
//!   Nothing is answered before that sync; if the commit fails, every operation in it fails.
//! - An operation fails alone: only if one is itself at fault is its batch rolled back and run again
//!   with a savepoint around each, since savepoints cost and such operations are rare.
//! - The events of a commit are one row (`parcels`), packed (`pack`).
//! - A delivery has a row only when something out of the ordinary happened to it (`fresh`). One with a row
//!   is open while `settled_at` is null, and leased while `boot` is not null. The one index on deliveries
//!   covers open ones only, and no column that a lease changes.
//! - What a hold keeps is in no index that leases read (`hold`).
//! - How many deliveries of each plugin stand where is kept, not counted (`depths`).
//! - Event, delivery and attempt share one key space (`schema`): their tables grow at the end.
//! - A claim is one more random page. New ones are kept in memory and in a table that grows at its end,
//!   and reach their table in the order of keys, many to a page (`claims`).
//! - Time is the store's own and never goes back (`steady`).
//! - What is over is forgotten in small steps, in the transactions of other work (`retain`).
//! - What waits for each plugin is counted where it is written, so that nobody walks it (`fresh`, `queues`).
//! - What events are searched by is written once for each thousand (`blocks`).
//! - Pages go from the log to the database file on another thread; the writer itself copies only the
//!   short rest, after which the log starts anew. That bounds the log at 64 MiB.
//! - After a failed sync nobody knows what is on disk: the engine is poisoned and touches nothing more.

mod anchor;
mod append;
mod asked;
mod blocks;
pub mod care;
mod checkpoint;
mod claims;
mod deliver;
mod depths;
mod engine;
mod exchanges;
mod fault;
mod filter;
mod fresh;
mod hold;
mod known;
mod listing;
mod look;
mod memory;
mod mend;
mod notices;
mod open;
mod order;
mod outgoing;
mod pack;
mod parcels;
mod pauses;
mod queues;
mod recount;
mod retain;
mod rotten;
mod schema;
mod search;
mod stand;
mod state;
pub(crate) mod window;
mod writer;

use self::open::{folder_of, lock, recognise};
pub(crate) use self::{engine::open, outgoing::Outgoing};
use crate::{
    codec, steady,
    verbs::{Append, Done, Op, Reply, Signals, Verb},
};

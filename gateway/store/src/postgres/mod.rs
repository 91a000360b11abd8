//! The PostgreSQL engine, for many gateways at one database. Its constraints and invariants:
//!
//! - Whatever is promised is promised by the database's commit; nothing that counts is in a gateway's memory.
//! - What waits in the queue is taken together: one transaction of a few statements, each with as many rows as it
//!   takes (`batch`). Several are under way at once, so operations that nobody waited between are done in any order.
//! - An operation fails alone: a batch that one of its operations is at fault for is rolled back, and each is done in a
//!   transaction of its own.
//! - Whoever doesn't know whether a commit took place does it again: everything that is appended or settled has a name
//!   of its own, by which it is found that it is there already (`append`, `settle`).
//! - A lease is a row's `boot` and `turn`. It ends when it is settled or given back, or when its boot is declared gone, by
//!   whoever watched it say nothing new for a while (`alive`, `boots`). When something is due is told by the database's clock.
//! - Locks are taken in one order: the boot, deliveries, plugins, lines, claims; rows of one kind in the order of their
//!   keys. Where that does not do, the database ends one of those that wait for each other, and it is done again.
//! - What is over goes by whole days, whose partitions are dropped (`days`); what outlives its day goes row by row
//!   (`retain`).
//! - What gateways share of plugins' versions has verbs and connections of its own (`published`), and one row that is locked
//!   first by whoever changes any of it.
//! - Two kinds of rows everybody would want to write, the totals and the depths: each writer has some of its own
//!   (`totals`).

mod address;
mod alive;
mod append;
mod batch;
mod boots;
mod columns;
mod confer;
mod days;
mod depths;
mod end;
mod engine;
mod entries;
mod fault;
mod found;
mod fronts;
mod hold;
mod hosts;
mod incoming;
mod lease;
mod link;
mod listen;
mod listing;
mod look;
mod mend;
mod news;
mod notices;
mod published;
mod queues;
mod retain;
mod rows;
mod schema;
mod search;
mod settle;
mod shown;
mod stand;
mod standby;
mod state;
mod tables;
mod tls;
mod told;
mod totals;
pub(crate) mod window;
mod worker;

pub(crate) use self::{confer::Council, engine::open, incoming::Incoming, published::Publishing};
use self::{
    fault::Fault,
    link::{Link, Moment},
};

//! Makes events durable: the store's contract and its engines, SQLite and PostgreSQL.
//!
//! Storage is a noun with four verbs: [`append`](Store::append) keeps an event and the deliveries it
//! is owed, [`lease`](Store::lease) hands deliveries out, [`settle`](Store::settle) records what came
//! of one, outputs included, and [`give_back`](Store::give_back) returns one unused. What a plugin changes
//! of its state without an event goes in by [`write_state`](Store::write_state), what the gateway itself has to
//! tell by [`notice`](Store::notice). Gateways at one database [`confer`](Store::confer), and [`Publishing`] has the
//! versions of plugins that are live on all of them. What a verb
//! answered is on disk; what failed left nothing behind. A [`Reader`] looks on without being in the way.
#![forbid(unsafe_code)]

mod bounds;
mod codec;
mod confer;
mod contract;
mod copy;
mod desk;
mod error;
mod exchanges;
mod figures;
mod pause;
mod postgres;
mod published;
mod reader;
mod room;
mod search;
mod shown;
mod sqlite;
mod steady;
mod store;
mod survey;
mod term;
mod totals;
mod verbs;

pub use confer::{Bid, BreakerWord, HOLDS, Heard, Others, Said, WHOLE};
pub use contract::{
    DeliveryId, Health, Keep, Lease, LeaseKey, Leased, Location, Mend, NewEvent, NewNotice,
    Options, Output, PostgresDatabase, Receipt, Replay, Retention, Route, Settled, Settlement,
    SqliteFile, Time, Want, Written,
};
pub use copy::{Copied, CopyError, CopyOutcome, CopyProgress, CopyStage, Copying};
pub use error::{OpenError, ReadError, StoreError};
pub use figures::{Figures, StoreVerb};
pub use pause::{Pausable, Pause};
pub use published::{
    Away, Decision, GatewayWord, KnownVersion, PROPOSAL_TIME, Proposal, Proposed, Proposing,
    Published, PublishedPlugin, PublishedVersion, Publishing, Refused, Runs, SharingGateway, Word,
    decide,
};
pub use reader::Reader;
pub use room::Room;
pub use search::{Cursor, Filter, News, Page, Standpoint};
pub use shown::{
    Blocked, Counts, DeliveryState, ExchangeCounts, Exported, Listed, Queue, Shown, ShownAttempt,
    ShownDelivery, ShownEntry, Summary,
};
pub use sqlite::care;
pub use store::Store;
pub use survey::{Depth, Notice, Standbys, Survey};

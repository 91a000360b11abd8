//! Copies a store from one engine into another: from a file into a database, for a gateway that one machine no longer
//! does for.
//!
//! Everything goes over: events in the order of their commits, with their ids; deliveries where they stand; attempts,
//! what they sent, state with its versions, dedupe keys with what is left of their windows, holds, pauses, notices. Nobody
//! has the file open meanwhile, and it stays as it is.
//!
//! A page at a time is read, and committed together with how far that came: whoever is killed goes on from there. Until
//! all is there, and was read again on both sides and found to be the same, no gateway opens the copy.

mod page;
mod rows;

use thiserror::Error;

pub(crate) use self::{
    page::{Identity, KINDS, Marks, Page, Part, Position, Sums, TOTALS},
    rows::{
        AttemptRow, ClaimRow, DeliveryRow, DuplicatesRow, EntryRow, EventRow, ExchangesRow, Fields,
        HoldRow, Id, NoticeRow, PauseRow, PluginRow,
    },
};
use crate::{
    Location, OpenError, PostgresDatabase, SqliteFile,
    postgres::Incoming,
    sqlite::{Outgoing, care::CareError},
};

/// Events, or entries of state, that are committed together: with less the round trips cost more than the rows.
const STEP: usize = 2000;

/// A store to be copied, and where to.
#[derive(Debug, Clone)]
pub struct Copying {
    /// A file of SQLite's, which no gateway has open.
    pub from: Location,
    /// A database of PostgreSQL's, in which there is no store yet, or what an earlier try left of this copy.
    pub to: Location,
    /// At most so many events, or entries of state, are one transaction.
    pub step: usize,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// What is done now.
    pub stage: CopyStage,
    /// Events and entries of state that are through it.
    pub done: u64,
    /// All of them.
    pub all: u64,
}

/// What is done for a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyStage {
    /// They are copied.
    Copying,
    /// They are read again, in the store.
    Reading,
    /// They are read again, in the copy.
    Verifying,
}

/// What a copy has that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Events.
    pub events: u64,
    /// Their deliveries.
    pub deliveries: u64,
    /// Attempts at these.
    pub attempts: u64,
    /// Dedupe keys.
    pub claims: u64,
    /// Entries of plugins' state.
    pub entries: u64,
}

/// What has come of copying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyOutcome {
    /// It is all there, and was found to be the same.
    Whole(Copied),
    /// It was whole before: there was nothing to do.
    WasWhole,
}

/// Why a store could not be copied.
#[derive(Debug, Error)]
pub enum CopyError {
    /// From a database, or into a file.
    #[error(
        "a store is copied from a file (sqlite:..) into a database (postgres://..); other ways are not there"
    )]
    Direction,
    /// The store can't be read, or a gateway has it open.
    #[error(transparent)]
    Source(#[from] CareError),
    /// The database can't be used.
    #[error(transparent)]
    Target(#[from] OpenError),
    /// An earlier version wrote the store.
    #[error(
        "the store has schema {found}; start its gateway once, with this version, which brings it to {known}"
    )]
    OlderSchema {
        /// Its schema.
        found: i64,
        /// The one that is needed.
        known: i64,
    },
    /// There is something in the way that is not overwritten.
    #[error(
        "{place} of the database has a store already, or a gateway has it open; name another schema, or drop this one"
    )]
    Taken {
        /// Which of the database's schemas.
        place: String,
    },
    /// It has what is left of another copy.
    #[error(
        "{place} of the database has an unfinished copy of another store; name another schema, or drop this one"
    )]
    OfAnother {
        /// Which of the database's schemas.
        place: String,
    },
    /// The store is not any more what it was when the copy was begun.
    #[error(
        "a gateway had the store open since this copy was begun; drop {place} of the database, and begin again"
    )]
    Changed {
        /// Which of the database's schemas.
        place: String,
    },
    /// Somebody else copies as well.
    #[error("somebody else copies this store into the same place")]
    Another,
    /// The database failed. What was committed is there.
    #[error("the database failed: {0}; the same command goes on where this one was")]
    Database(String),
    /// The copy is not the same.
    #[error("the copy is not the same, and no gateway opens it; drop its schema, and begin again: {}", .0.join("; "))]
    Differs(Vec<String>),
    /// What copies could not be set up.
    #[error("can't begin: {0}")]
    Runtime(#[from] std::io::Error),
}

impl Copying {
    /// A copy of this store, 2000 events at a time.
    pub fn new(from: impl Into<Location>, to: impl Into<Location>) -> Self {
        Self { from: from.into(), to: to.into(), step: STEP }
    }

    /// Copies, from where an earlier try was if there was one, and verifies. Blocks: it is not to be called by a task.
    ///
    /// # Errors
    /// If one of the two can't be used, something is in the way, the connection breaks, or the copy is not the same.
    /// Whatever was committed by then is gone on from the next time.
    pub fn run(&self, progress: &mut dyn FnMut(CopyProgress)) -> Result<CopyOutcome, CopyError> {
        let (Location::Sqlite(from), Location::Postgres(to)) = (&self.from, &self.to) else {
            return Err(CopyError::Direction);
        };
        // Nobody else is on it, so what reads the file may block.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.go(from, to, progress))
    }

    async fn go(
        &self,
        from: &SqliteFile,
        to: &PostgresDatabase,
        progress: &mut dyn FnMut(CopyProgress),
    ) -> Result<CopyOutcome, CopyError> {
        let source = Outgoing::open(from)?;
        let (target, begun) = Incoming::begin(to, source.identity()).await?;
        let Some(mut position) = begun else { return Ok(CopyOutcome::WasWhole) };
        source.prepare()?;
        let (all, step) = (source.size()?, self.step.max(1));
        let mut copied = target.size().await?;
        let mut tell = |stage, done| progress(CopyProgress { stage, done, all });
        while position.part != Part::End {
            let (page, next) = source.page(position, step)?;
            target.take(&page, (position, next), source.marks()).await?;
            position = next;
            copied += page.len() as u64;
            tell(CopyStage::Copying, copied);
        }
        let copied = verify((&source, &target), step, &mut tell).await?;
        target.publish().await?;
        Ok(CopyOutcome::Whole(copied))
    }
}

/// Reads both sides from their beginnings to their ends.
async fn verify(
    (source, target): (&Outgoing, &Incoming),
    step: usize,
    tell: &mut dyn FnMut(CopyStage, u64),
) -> Result<Copied, CopyError> {
    let (mut sums, mut fields, mut seen) = (Sums::default(), Fields::default(), 0);
    let mut position = Position::start(Part::Events);
    while position.part != Part::End {
        let (page, next) = source.page(position, step)?;
        sums.add(&page, &mut fields);
        position = next;
        seen += page.len() as u64;
        tell(CopyStage::Reading, seen);
    }
    let (mut found, mut seen) = (Sums::default(), 0);
    let books = target
        .walk(step, &mut |page| {
            found.add(page, &mut fields);
            seen += page.len() as u64;
            tell(CopyStage::Verifying, seen);
        })
        .await?;
    let mut differing = sums.differing(&found);
    differing.extend(books.differing(&source.totals()?, &found.rows()));
    if !differing.is_empty() {
        return Err(CopyError::Differs(differing));
    }
    let [events, deliveries, attempts, _, _, claims, entries, ..] = sums.rows();
    Ok(Copied { events, deliveries, attempts, claims, entries })
}

//! Takes over what another engine kept (`copy`).
//!
//! The row of `copied` says what is taken over, and how far: each page is committed together with that. While it does not
//! say that the copy is whole, no gateway opens this database; and a copy begins only where nobody has one open. The two
//! look under the lock that the tables are made under, one after the other.
//!
//! Leases that the store had are those of a boot that is gone: the first gateway that opens the copy frees them as lost, as
//! the store's own would have.

mod read;
mod write;

use std::time::Duration;

use deadpool_postgres::Object;

use super::{Fault, Link, Moment, engine::loses, schema};
use crate::{
    OpenError, PostgresDatabase,
    copy::{CopyError, Identity, Marks, Page, Part, Position},
};

/// So long a statement may take here: a page is large, and nobody waits for an answer.
const STATEMENT: Duration = Duration::from_secs(600);

/// A database that a store is copied into.
pub(crate) struct Incoming {
    link: Link,
    /// In `boots`, gone.
    boot: i64,
}

impl From<Fault> for CopyError {
    fn from(fault: Fault) -> Self {
        Self::Database(fault.reason())
    }
}

/// Whether the store is a copy that is not whole yet. To be asked under the lock of [`schema::migrate`].
pub(super) async fn is_unfinished(moment: &Moment<'_>) -> Result<bool, Fault> {
    let rows = moment.rows_of("SELECT 1 FROM copied WHERE NOT whole", &[]).await?;
    Ok(!rows.is_empty())
}

impl Incoming {
    /// Makes the tables, if they are missing, and finds out how far a copy of this store is; none if it is whole.
    pub(crate) async fn begin(
        database: &PostgresDatabase,
        store: &Identity,
    ) -> Result<(Self, Option<Position>), CopyError> {
        let link = Link::new(database, 1)?;
        let refused = |fault: Fault| OpenError::Server { reason: fault.reason() };
        let mut connection = link.connect().await.map_err(refused)?;
        let moment = write(&mut connection).await.map_err(refused)?;
        if !database.may_lose
            && let Some(setting) = loses(&moment).await?
        {
            return Err(OpenError::MayLose { setting }.into());
        }
        let place = format!("schema {}", database.schema);
        let found =
            schema::migrate(&moment, &database.schema, &store.store).await.map_err(refused)?;
        if found > schema::NEWEST {
            let known = schema::NEWEST;
            return Err(OpenError::NewerSchema { place, found, known }.into());
        }
        let (boot, position) = match go_on(&moment, store, &place).await? {
            Some(begun) => begun,
            None => (start(&moment, store, place).await?, Some(Position::start(Part::Events))),
        };
        moment.commit().await?;
        drop(connection);
        Ok((Self { link, boot }, position))
    }

    /// How many events and entries of state it has.
    pub(crate) async fn size(&self) -> Result<u64, CopyError> {
        let mut connection = self.link.connect().await?;
        let moment = write(&mut connection).await?;
        let sql = "SELECT (SELECT coalesce(sum(events), 0)::bigint FROM totals) + (SELECT count(*) FROM state)";
        let size: i64 = moment.the_row(sql, &[]).await?.get(0);
        Ok(size.unsigned_abs())
    }

    /// Takes what is between two positions: all of it is committed, or nothing.
    pub(crate) async fn take(
        &self,
        page: &Page,
        (from, to): (Position, Position),
        marks: &Marks,
    ) -> Result<(), CopyError> {
        let mut connection = self.link.connect().await?;
        let moment = write(&mut connection).await?;
        let sql =
            "UPDATE copied SET part = $3, place = $4 WHERE part = $1 AND place = $2 AND NOT whole";
        let [old, new] = [from, to].map(|position| position.part as i16);
        if moment.run(sql, &[&old, &from.at, &new, &to.at]).await? != 1 {
            return Err(CopyError::Another);
        }
        write::page(&moment, page, self.boot).await?;
        if to.part == Part::End {
            write::end(&moment, marks).await?;
        }
        Ok(moment.commit().await?)
    }

    /// It is whole: gateways may open it.
    pub(crate) async fn publish(&self) -> Result<(), CopyError> {
        let mut connection = self.link.connect().await?;
        let moment = write(&mut connection).await?;
        let sql = "UPDATE copied SET whole = true WHERE part = $1 AND NOT whole";
        if moment.run(sql, &[&(Part::End as i16)]).await? != 1 {
            return Err(CopyError::Another);
        }
        Ok(moment.commit().await?)
    }
}

/// A transaction that may take its time.
async fn write(connection: &mut Object) -> Result<Moment<'_>, Fault> {
    let moment = Moment::write(connection).await?;
    unhurried(&moment).await?;
    Ok(moment)
}

async fn unhurried(moment: &Moment<'_>) -> Result<(), Fault> {
    let limit = STATEMENT.as_millis();
    let sql = format!(
        "SET LOCAL statement_timeout = {limit};
         SET LOCAL idle_in_transaction_session_timeout = {limit}"
    );
    moment.script(&sql).await
}

/// The boot and the position of a copy that was begun. The position is none if it is whole.
async fn go_on(
    moment: &Moment<'_>,
    store: &Identity,
    place: &str,
) -> Result<Option<(i64, Option<Position>)>, CopyError> {
    let sql = "SELECT store, state, boot, part, place, whole FROM copied";
    let Some(row) = moment.row(sql, &[]).await? else { return Ok(None) };
    let (place, whole): (String, bool) = (place.to_owned(), row.get(5));
    let same_store = row.get::<_, &[u8]>(0) == store.store;
    let same_state = row.get::<_, &[u8]>(1) == store.state.as_bytes();
    match (same_store, same_state) {
        (true, true) => {}
        // Whoever used it since has events of his own in it.
        _ if whole => return Err(CopyError::Taken { place }),
        (true, false) => return Err(CopyError::Changed { place }),
        (false, _) => return Err(CopyError::OfAnother { place }),
    }
    let part = Part::of(row.get(3)).ok_or_else(|| Fault::unreadable("copied"))?;
    let position = Position { part, at: row.get(4) };
    Ok(Some((row.get(2), (!whole).then_some(position))))
}

/// Begins a copy, if there is nothing in the way, and answers its boot.
async fn start(moment: &Moment<'_>, store: &Identity, place: String) -> Result<i64, CopyError> {
    let sql = "SELECT EXISTS (SELECT FROM boots) OR EXISTS (SELECT FROM events) OR EXISTS (SELECT FROM claims)
                   OR EXISTS (SELECT FROM plugins) OR EXISTS (SELECT FROM pauses) OR EXISTS (SELECT FROM holds)
                   OR EXISTS (SELECT FROM notices)";
    if moment.the_row(sql, &[]).await?.get(0) {
        return Err(CopyError::Taken { place });
    }
    let owner = &store.store[..];
    let sql = "INSERT INTO boots (owner, gone) VALUES ($1, true) RETURNING key";
    let boot: i64 = moment.the_row(sql, &[&owner]).await?.get(0);
    let sql =
        "INSERT INTO copied (key, store, state, boot, part, place) VALUES (1, $1, $2, $3, $4, 0)";
    let (state, part) = (&store.state.as_bytes()[..], Part::Events as i16);
    moment.run(sql, &[&owner, &state, &boot, &part]).await?;
    Ok(boot)
}

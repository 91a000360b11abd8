//! The tables' versions. Several gateways may start at once on a database that has none, or old ones: one brings it
//! up to date, the others wait for that.

use super::{Fault, Moment, link::quoted};

/// Schema N is made by the first N of these. A released one never changes: add another.
const MIGRATIONS: [&str; 2] = [include_str!("schema-1.sql"), include_str!("schema-2.sql")];

/// The newest schema that this version knows.
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// What the database's advisory lock is named by, while it is brought up to date: `HKWR`.
const LOCK: i64 = 0x484b_5752;

/// The schema that the tables have; none if there are none.
pub(super) async fn found(moment: &Moment<'_>, name: &str) -> Result<Option<i64>, Fault> {
    let sql =
        "SELECT 1 FROM information_schema.tables WHERE table_schema = $1 AND table_name = 'meta'";
    if moment.row(sql, &[&name]).await?.is_none() {
        return Ok(None);
    }
    let rows = moment.rows_of("SELECT schema FROM meta", &[]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Brings the tables to the newest schema, all in one transaction, in which one gateway at a time is. Answers the schema
/// that it found, which may be a newer one.
pub(super) async fn migrate(
    moment: &Moment<'_>,
    name: &str,
    store: &[u8; 16],
) -> Result<i64, Fault> {
    // However long another one is at it.
    moment
        .script(&format!("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({LOCK})"))
        .await?;
    let found = found(moment, name).await?.unwrap_or(0);
    if found >= NEWEST {
        return Ok(found);
    }
    moment.script(&format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(name))).await?;
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        moment.script(step).await?;
    }
    let sql = "INSERT INTO meta (key, schema, store, clock) VALUES (1, $1, $2, 0)
               ON CONFLICT (key) DO UPDATE SET schema = excluded.schema";
    moment.rows_of(sql, &[&NEWEST, &&store[..]]).await?;
    Ok(NEWEST)
}

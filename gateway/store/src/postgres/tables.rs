//! Rows as those write them who make them and those who copy them from another store: one list of columns for each
//! table. What only one of them writes, or each in its own way, is where that is done.
//!
//! Where there are many columns each `unnest` stands in a list of columns. Behind `FROM` they would be put together in
//! memory before the first row is read, which took a tenth of the time that it takes to write events.

use std::borrow::Cow;

use tokio_postgres::Row;

use super::{Fault, Moment};

/// Writes events.
macro_rules! insert_events {
    () => {
        "INSERT INTO events (id, seq, tx, origin, type, received_at, committed_at, hops, parent, root, claims, bytes,
             body_len, envelope, body)
         SELECT id, seq, (SELECT pg_current_xact_id()::text::bigint + tx_offset FROM meta), origin, type, received_at,
             committed_at, hops, parent, root, claims, length(envelope) + length(body), length(body), envelope, body
         FROM (SELECT unnest($1::bytea[]) AS id, unnest($2::bigint[]) AS seq, unnest($3::text[]) AS origin,
                   unnest($4::text[]) AS type, unnest($5::bigint[]) AS received_at,
                   unnest($6::bigint[]) AS committed_at, unnest($7::bigint[]) AS hops, unnest($8::bytea[]) AS parent,
                   unnest($9::bytea[]) AS root, unnest($10::bytea[]) AS claims, unnest($11::bytea[]) AS envelope,
                   unnest($12::bytea[]) AS body) AS e"
    };
}

/// A column: of each row that which is said.
pub(super) fn each<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

/// An event.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) id: &'a [u8],
    pub(super) seq: i64,
    pub(super) origin: &'a str,
    pub(super) event_type: &'a str,
    pub(super) received_at: i64,
    pub(super) committed_at: i64,
    pub(super) hops: i64,
    /// For outputs: the event whose delivery made it, and the first of the chain.
    pub(super) from: [Option<&'a [u8]>; 2],
    pub(super) claims: &'a [u8],
    pub(super) envelope: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Event<'_> {
    pub(super) const INSERT: &'static str = insert_events!();

    /// Writes events of which none is there.
    pub(super) async fn insert(moment: &Moment<'_>, rows: &[Self]) -> Result<(), Fault> {
        Self::insert_by(moment, Self::INSERT, rows).await.map(|_| ())
    }

    /// Writes those that are not there, and answers which those were.
    pub(super) async fn insert_new(moment: &Moment<'_>, rows: &[Self]) -> Result<Vec<Row>, Fault> {
        let sql = concat!(insert_events!(), " ON CONFLICT (id) DO NOTHING RETURNING id");
        Self::insert_by(moment, sql, rows).await
    }

    async fn insert_by(
        moment: &Moment<'_>,
        sql: &'static str,
        rows: &[Self],
    ) -> Result<Vec<Row>, Fault> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        moment
            .rows(
                sql,
                &[
                    &each(rows, |row| row.id),
                    &each(rows, |row| row.seq),
                    &each(rows, |row| row.origin),
                    &each(rows, |row| row.event_type),
                    &each(rows, |row| row.received_at),
                    &each(rows, |row| row.committed_at),
                    &each(rows, |row| row.hops),
                    &each(rows, |row| row.from[0]),
                    &each(rows, |row| row.from[1]),
                    &each(rows, |row| row.claims),
                    &each(rows, |row| row.envelope),
                    &each(rows, |row| row.body),
                ],
            )
            .await
    }
}

/// A dedupe key that nobody has.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) claim: &'a [u8],
    pub(super) event: &'a [u8],
    pub(super) expires_at: i64,
}

impl Claim<'_> {
    pub(super) const INSERT: &'static str = "INSERT INTO claims (claim, event, expires_at)
        SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[])";

    pub(super) async fn insert(moment: &Moment<'_>, rows: &[Self]) -> Result<(), Fault> {
        if rows.is_empty() {
            return Ok(());
        }
        let claims = each(rows, |row| row.claim);
        let (events, until) = (each(rows, |row| row.event), each(rows, |row| row.expires_at));
        moment.run(Self::INSERT, &[&claims, &events, &until]).await?;
        Ok(())
    }
}

/// The record of an attempt.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) event: &'a [u8],
    pub(super) ordinal: i64,
    pub(super) number: i64,
    /// The boot and the turn of the lease that it was made under.
    pub(super) lease: (i64, i64),
    pub(super) started_at: i64,
    pub(super) ended_at: i64,
    pub(super) outcome: &'a str,
    pub(super) message: Option<&'a [u8]>,
    pub(super) version: Option<&'a [u8]>,
    pub(super) wall_us: i64,
    pub(super) cpu_us: i64,
    pub(super) logs: Option<Cow<'a, [u8]>>,
}

impl Attempt<'_> {
    pub(super) async fn insert(moment: &Moment<'_>, rows: &[Self]) -> Result<(), Fault> {
        if rows.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO attempts (event, ordinal, number, boot, turn, started_at, ended_at, outcome, message,
                       version, wall_us, cpu_us, logs)
                   SELECT unnest($1::bytea[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]),
                       unnest($5::bigint[]), unnest($6::bigint[]), unnest($7::bigint[]), unnest($8::text[]),
                       unnest($9::bytea[]), unnest($10::bytea[]), unnest($11::bigint[]), unnest($12::bigint[]),
                       unnest($13::bytea[])";
        moment
            .run(
                sql,
                &[
                    &each(rows, |row| row.event),
                    &each(rows, |row| row.ordinal),
                    &each(rows, |row| row.number),
                    &each(rows, |row| row.lease.0),
                    &each(rows, |row| row.lease.1),
                    &each(rows, |row| row.started_at),
                    &each(rows, |row| row.ended_at),
                    &each(rows, |row| row.outcome),
                    &each(rows, |row| row.message),
                    &each(rows, |row| row.version),
                    &each(rows, |row| row.wall_us),
                    &each(rows, |row| row.cpu_us),
                    &each(rows, |row| row.logs.as_deref()),
                ],
            )
            .await?;
        Ok(())
    }
}

/// What an attempt sent and was answered.
#[derive(Debug)]
pub(super) struct Exchanges<'a> {
    pub(super) event: &'a [u8],
    pub(super) ordinal: i64,
    pub(super) number: i64,
    pub(super) kept: i64,
    pub(super) left_out: i64,
    pub(super) content: &'a [u8],
}

impl Exchanges<'_> {
    pub(super) async fn insert(moment: &Moment<'_>, rows: &[Self]) -> Result<(), Fault> {
        if rows.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO exchanges (event, ordinal, number, kept, left_out, content)
                   SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
                       $6::bytea[])";
        moment
            .run(
                sql,
                &[
                    &each(rows, |row| row.event),
                    &each(rows, |row| row.ordinal),
                    &each(rows, |row| row.number),
                    &each(rows, |row| row.kept),
                    &each(rows, |row| row.left_out),
                    &each(rows, |row| row.content),
                ],
            )
            .await?;
        Ok(())
    }
}

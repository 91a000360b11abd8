//! Writes a page: a statement for each kind of row, and what is counted of them.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{Fault, Marks, Moment, Page};
use crate::{
    copy::{
        AttemptRow, ClaimRow, DeliveryRow, DuplicatesRow, EntryRow, EventRow, ExchangesRow,
        HoldRow, NoticeRow, PauseRow, PluginRow,
    },
    postgres::{
        rows::BEHIND,
        tables::{self, each},
        totals::{Counted, Totals},
    },
};

/// Where what is copied is counted: nothing else is, meanwhile.
const SHARD: i32 = 0;

/// Writes all rows of a page. `boot` has the leases.
pub(super) async fn page(moment: &Moment<'_>, page: &Page, boot: i64) -> Result<(), Fault> {
    events(moment, &page.events).await?;
    deliveries(moment, &page.deliveries, boot).await?;
    attempts(moment, &page.attempts).await?;
    exchanges(moment, &page.exchanges).await?;
    duplicates(moment, &page.duplicates).await?;
    claims(moment, &page.claims).await?;
    entries(moment, &page.entries).await?;
    plugins(moment, &page.plugins).await?;
    pauses(moment, &page.pauses).await?;
    holds(moment, &page.holds).await?;
    notices(moment, &page.notices).await?;
    let mut counted = Counted::default();
    count(&mut counted, page);
    counted.write(moment, SHARD).await?;
    Ok(())
}

/// What can be said only when all is there: the lines, and where counts go on. Then the database looks at what it has, so
/// that it finds its way from the beginning.
pub(super) async fn end(moment: &Moment<'_>, marks: &Marks) -> Result<(), Fault> {
    let sql = "INSERT INTO lines (plugin, order_key, last, length)
               SELECT plugin, order_key, max(place), count(standing) FROM deliveries
               WHERE order_key IS NOT NULL GROUP BY plugin, order_key HAVING count(standing) > 0";
    moment.run(sql, &[]).await?;
    let sql = "SELECT setval('event_seq', $1, false), setval('state_version', $2, false)";
    moment.the_row(sql, &[&marks.next_event, &marks.next_version]).await?;
    let sql = "UPDATE meta SET clock = greatest(clock, $1)";
    moment.run(sql, &[&marks.clock.as_millis()]).await?;
    moment.script("ANALYZE events, deliveries, attempts, exchanges, claims, state, lines").await
}

async fn events(moment: &Moment<'_>, rows: &[EventRow]) -> Result<(), Fault> {
    tables::Event::insert(moment, &each(rows, event)).await
}

fn event(row: &EventRow) -> tables::Event<'_> {
    let from = |nth: usize| row.from.as_ref().map(|ids| &ids[nth][..]);
    tables::Event {
        id: &row.id,
        seq: row.seq,
        origin: &row.origin,
        event_type: &row.event_type,
        received_at: row.received_at,
        committed_at: row.committed_at,
        hops: row.hops,
        from: [from(0), from(1)],
        claims: &row.claims,
        envelope: &row.envelope,
        body: &row.body,
    }
}

async fn deliveries(moment: &Moment<'_>, rows: &[DeliveryRow], boot: i64) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO deliveries (event, ordinal, seq, origin, plugin, due_at, boot, turn, leased_at, attempts,
                   lost_leases, excused, settled_at, dead, order_key, place, standing, replayed_at, discarded_at, held,
                   let_go_at)
               SELECT event, ordinal, seq, origin, plugin, due_at, CASE WHEN leased THEN $22::bigint END, turn,
                   leased_at, attempts, lost_leases, excused, settled_at, dead, order_key, place, standing, replayed_at,
                   discarded_at, held, let_go_at
               FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[],
                           $7::boolean[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
                           $13::bigint[], $14::bigint[], $15::bytea[], $16::bigint[], $17::bigint[], $18::bigint[],
                           $19::bigint[], $20::text[], $21::bigint[])
                   AS d(event, ordinal, seq, origin, plugin, due_at, leased, turn, leased_at, attempts, lost_leases,
                        excused, settled_at, dead, order_key, place, standing, replayed_at, discarded_at, held,
                        let_go_at)";
    moment
        .run(
            sql,
            &[
                &each(rows, |row| &row.event[..]),
                &each(rows, |row| row.ordinal),
                &each(rows, |row| row.seq),
                &each(rows, |row| row.origin.as_str()),
                &each(rows, |row| row.plugin.as_str()),
                &each(rows, |row| row.due_at),
                &each(rows, |row| row.leased),
                &each(rows, |row| row.turn),
                &each(rows, |row| row.leased_at),
                &each(rows, |row| row.attempts),
                &each(rows, |row| row.lost_leases),
                &each(rows, |row| row.excused),
                &each(rows, |row| row.settled_at),
                &each(rows, |row| row.dead),
                &each(rows, |row| row.order_key.as_deref()),
                &each(rows, |row| row.place),
                &each(rows, |row| row.standing),
                &each(rows, |row| row.replayed_at),
                &each(rows, |row| row.discarded_at),
                &each(rows, |row| row.held.as_deref()),
                &each(rows, |row| row.let_go_at),
                &boot,
            ],
        )
        .await?;
    Ok(())
}

async fn attempts(moment: &Moment<'_>, rows: &[AttemptRow]) -> Result<(), Fault> {
    tables::Attempt::insert(moment, &each(rows, attempt)).await
}

/// Under which lease it was made nobody will ask: that boot is not of this database.
fn attempt(row: &AttemptRow) -> tables::Attempt<'_> {
    tables::Attempt {
        event: &row.event,
        ordinal: row.ordinal,
        number: row.number,
        lease: (0, 0),
        started_at: row.started_at,
        ended_at: row.ended_at,
        outcome: &row.outcome,
        message: row.message.as_deref(),
        version: row.version.as_deref(),
        wall_us: row.wall_us,
        cpu_us: row.cpu_us,
        logs: row.logs.as_deref().map(Cow::Borrowed),
    }
}

async fn exchanges(moment: &Moment<'_>, rows: &[ExchangesRow]) -> Result<(), Fault> {
    let sent = each(rows, |row| tables::Exchanges {
        event: &row.event,
        ordinal: row.ordinal,
        number: row.number,
        kept: row.kept,
        left_out: row.left_out,
        content: &row.content,
    });
    tables::Exchanges::insert(moment, &sent).await
}

async fn duplicates(moment: &Moment<'_>, rows: &[DuplicatesRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO duplicates (event, count, last_at)
               SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[])";
    let events = each(rows, |row| &row.event[..]);
    let (counts, last) = (each(rows, |row| row.count), each(rows, |row| row.last_at));
    moment.run(sql, &[&events, &counts, &last]).await?;
    Ok(())
}

async fn claims(moment: &Moment<'_>, rows: &[ClaimRow]) -> Result<(), Fault> {
    let claims = each(rows, |row| tables::Claim {
        claim: &row.claim,
        event: &row.event,
        expires_at: row.expires_at,
    });
    tables::Claim::insert(moment, &claims).await
}

async fn entries(moment: &Moment<'_>, rows: &[EntryRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO state (plugin, name, version, value, expires_at)
               SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bytea[], $5::bigint[])";
    moment
        .run(
            sql,
            &[
                &each(rows, |row| row.plugin.as_str()),
                &each(rows, |row| &row.name[..]),
                &each(rows, |row| row.version),
                &each(rows, |row| &row.value[..]),
                &each(rows, |row| row.expires_at),
            ],
        )
        .await?;
    Ok(())
}

async fn plugins(moment: &Moment<'_>, rows: &[PluginRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql =
        "INSERT INTO plugins (name, state_bytes) SELECT * FROM unnest($1::text[], $2::bigint[])";
    let (names, bytes) = (each(rows, |row| row.name.as_str()), each(rows, |row| row.state_bytes));
    moment.run(sql, &[&names, &bytes]).await?;
    Ok(())
}

async fn pauses(moment: &Moment<'_>, rows: &[PauseRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO pauses (kind, name, since, by_whom, why)
               SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[])";
    moment
        .run(
            sql,
            &[
                &each(rows, |row| row.kind.as_str()),
                &each(rows, |row| row.name.as_str()),
                &each(rows, |row| row.since),
                &each(rows, |row| &row.by[..]),
                &each(rows, |row| row.why.as_deref()),
            ],
        )
        .await?;
    Ok(())
}

async fn holds(moment: &Moment<'_>, rows: &[HoldRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql =
        "INSERT INTO holds (origin, lifted_at) SELECT * FROM unnest($1::text[], $2::bigint[])";
    let (origins, lifted) =
        (each(rows, |row| row.origin.as_str()), each(rows, |row| row.lifted_at));
    moment.run(sql, &[&origins, &lifted]).await?;
    Ok(())
}

async fn notices(moment: &Moment<'_>, rows: &[NoticeRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO notices (name, raised_at, cleared_at, event, body)
               SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])";
    moment
        .run(
            sql,
            &[
                &each(rows, |row| &row.name[..]),
                &each(rows, |row| row.raised_at),
                &each(rows, |row| row.cleared_at),
                &each(rows, |row| &row.event[..]),
                &each(rows, |row| &row.body[..]),
            ],
        )
        .await?;
    Ok(())
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

/// Counts what is in a page, whoever it comes from: what is there of an event is in the page of the event.
pub(super) fn count(counted: &mut Counted, page: &Page) {
    let routed: HashSet<_> = page.deliveries.iter().map(|row| row.event).collect();
    let mut bytes_of = HashMap::new();
    for event in &page.events {
        let bytes = length(&event.envelope) + length(&event.body);
        bytes_of.insert(event.id, bytes);
        let Totals { events, outputs, unrouted, bytes: all, .. } = &mut counted.totals;
        *events += 1;
        *outputs += i64::from(event.from.is_some());
        *unrouted += i64::from(!routed.contains(&event.id));
        *all += bytes;
    }
    let mut sent_by: HashMap<_, i64> = HashMap::new();
    for row in &page.exchanges {
        let bytes = length(&row.content);
        *sent_by.entry((row.event, row.ordinal)).or_default() += bytes;
        counted.totals.bytes += bytes;
    }
    for row in &page.deliveries {
        let sent = sent_by.get(&(row.event, row.ordinal)).copied().unwrap_or(0);
        let bytes = bytes_of.get(&row.event).copied().unwrap_or(0) + sent;
        count_delivery(counted, row, bytes);
    }
    counted.totals.duplicates += page.duplicates.iter().map(|row| row.count).sum::<i64>();
}

/// One that is dead keeps so many bytes.
fn count_delivery(counted: &mut Counted, row: &DeliveryRow, bytes: i64) {
    let plugin = row.plugin.as_str();
    match (row.settled_at, row.dead) {
        (Some(_), 0) => counted.totals.done += 1,
        (Some(_), dead) => {
            counted.totals.dead_bytes += bytes;
            if dead == 1 {
                counted.totals.dead += 1;
                counted.of(plugin).dead += 1;
            } else {
                counted.totals.discarded += 1;
            }
        }
        (None, _) if row.leased => {
            counted.totals.leased += 1;
            counted.of(plugin).leased += 1;
        }
        (None, _) => {
            counted.totals.due += 1;
            match (&row.held, row.standing) {
                (Some(origin), _) => counted.aside(plugin, origin).held += 1,
                (None, Some(standing)) if standing == i64::from(BEHIND) => {
                    counted.of(plugin).behind += 1;
                }
                (None, _) => counted.of(plugin).due += 1,
            }
        }
    }
}

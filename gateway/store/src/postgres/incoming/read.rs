//! Reads all of it again, and counts it: what the copy is verified by.

use tokio_postgres::Row;

use super::{Fault, Incoming, Moment, unhurried, write::count};
use crate::{
    copy::{
        AttemptRow, ClaimRow, CopyError, DeliveryRow, DuplicatesRow, EntryRow, EventRow,
        ExchangesRow, HoldRow, Id, KINDS, NoticeRow, Page, PauseRow, PluginRow, TOTALS,
    },
    postgres::{
        columns::Columns,
        totals::{Counted, Totals},
    },
};

/// The table that each kind of rows is in, in the order of [`KINDS`].
const TABLES: [&str; KINDS.len()] = [
    "events",
    "deliveries",
    "attempts",
    "exchanges",
    "duplicates",
    "claims",
    "state",
    "plugins",
    "pauses",
    "holds",
    "notices",
];

/// What a copy says of itself, and what there is.
pub(crate) struct Books {
    /// What is written down, and what was counted: in the order of [`TOTALS`].
    written: [i64; TOTALS.len()],
    counted: [i64; TOTALS.len()],
    /// Whether what is written down of each plugin is what was counted.
    depths_agree: bool,
    /// So many lines are not as the deliveries in them say.
    lines_off: i64,
    /// How many rows there are in each table, whether or not they belong to an event.
    rows: [u64; KINDS.len()],
}

impl Books {
    /// What is wrong with them, where the store has these totals and so many rows were seen of each kind.
    pub(crate) fn differing(
        &self,
        store: &[i64; TOTALS.len()],
        seen: &[u64; KINDS.len()],
    ) -> Vec<String> {
        let mut differing = Vec::new();
        for (at, name) in TOTALS.iter().enumerate() {
            let (store, written, counted) = (store[at], self.written[at], self.counted[at]);
            if store != counted || written != counted {
                differing.push(format!(
                    "the total of {name}: {store} in the store, {written} in the copy, {counted} when counted"
                ));
            }
        }
        if !self.depths_agree {
            differing.push("the totals of plugins' deliveries".to_owned());
        }
        if self.lines_off != 0 {
            differing.push(format!("the lines of order keys: {}", self.lines_off));
        }
        for (at, kind) in KINDS.iter().enumerate() {
            let (rows, seen) = (self.rows[at], seen[at]);
            if rows != seen {
                differing.push(format!("{kind}: {rows} in all, {seen} where they belong"));
            }
        }
        differing
    }
}

impl Incoming {
    /// Goes through all there is, in pages of so many rows, and then through the books.
    pub(crate) async fn walk(
        &self,
        rows: usize,
        each: &mut dyn FnMut(&Page),
    ) -> Result<Books, CopyError> {
        let mut connection = self.link.connect().await?;
        let moment = Moment::look(&mut connection).await?;
        unhurried(&moment).await?;
        let limit = i64::try_from(rows.max(1)).unwrap_or(i64::MAX);
        let mut counted = Counted::default();
        let mut seen = |page: &Page| {
            count(&mut counted, page);
            each(page);
        };
        let mut after = 0;
        while let Some(last) = last_of_page(&moment, after, limit).await? {
            seen(&events(&moment, after, last).await?);
            after = last;
        }
        claims(&moment, limit, &mut seen).await?;
        state(&moment, limit, &mut seen).await?;
        seen(&rest(&moment).await?);
        Ok(books(&moment, &counted).await?)
    }
}

/// Up to where the events behind one make a page: so many, or as many as have some MiB.
async fn last_of_page(moment: &Moment<'_>, after: i64, limit: i64) -> Result<Option<i64>, Fault> {
    let sql = "SELECT seq, bytes FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
    let (mut last, mut page) = (None, Page::default());
    for row in moment.rows(sql, &[&after, &limit]).await? {
        if page.is_full(usize::MAX) {
            break;
        }
        last = Some(row.value("seq")?);
        page.bytes += usize::try_from(row.number("bytes")?).unwrap_or(usize::MAX);
    }
    Ok(last)
}

/// Events between two, with everything that belongs to them.
async fn events(moment: &Moment<'_>, after: i64, last: i64) -> Result<Page, Fault> {
    let sql = "SELECT seq, id, origin, type, received_at, committed_at, hops::bigint, parent, root, claims, envelope, body
               FROM events WHERE seq > $1 AND seq <= $2 ORDER BY seq";
    let rows = moment.rows(sql, &[&after, &last]).await?;
    let events: Vec<_> = rows.iter().map(event).collect::<Result<_, _>>()?;
    let ids: Vec<&[u8]> = events.iter().map(|event| &event.id[..]).collect();
    let mut page = Page::default();
    let sql = "SELECT event, ordinal::bigint, seq, origin, plugin, due_at, boot IS NOT NULL AS leased, turn, leased_at,
                   attempts::bigint, lost_leases::bigint, excused::bigint, settled_at, dead::bigint, order_key, place,
                   standing::bigint, replayed_at, discarded_at, held, let_go_at
               FROM deliveries WHERE event = ANY($1)";
    for row in moment.rows(sql, &[&ids]).await? {
        page.deliveries.push(delivery(&row)?);
    }
    let sql = "SELECT event, ordinal::bigint, number::bigint, started_at, ended_at, outcome, message, version, wall_us,
                   cpu_us, logs
               FROM attempts WHERE event = ANY($1)";
    for row in moment.rows(sql, &[&ids]).await? {
        page.attempts.push(attempt(&row)?);
    }
    let sql = "SELECT event, ordinal::bigint, number::bigint, kept::bigint, left_out, content
               FROM exchanges WHERE event = ANY($1)";
    for row in moment.rows(sql, &[&ids]).await? {
        page.exchanges.push(ExchangesRow {
            event: id(&row, "event")?,
            ordinal: row.value("ordinal")?,
            number: row.value("number")?,
            kept: row.value("kept")?,
            left_out: row.value("left_out")?,
            content: row.value("content")?,
        });
    }
    let sql = "SELECT event, count, last_at FROM duplicates WHERE event = ANY($1)";
    for row in moment.rows(sql, &[&ids]).await? {
        let (count, last_at) = (row.value("count")?, row.value("last_at")?);
        page.duplicates.push(DuplicatesRow { event: id(&row, "event")?, count, last_at });
    }
    page.events = events;
    Ok(page)
}

fn id(row: &Row, column: &str) -> Result<Id, Fault> {
    Ok(*row.id(column)?.as_bytes())
}

fn event(row: &Row) -> Result<EventRow, Fault> {
    let ids = row.id_if_any("parent")?.zip(row.id_if_any("root")?);
    Ok(EventRow {
        seq: row.value("seq")?,
        id: id(row, "id")?,
        origin: row.value("origin")?,
        event_type: row.value("type")?,
        received_at: row.value("received_at")?,
        committed_at: row.value("committed_at")?,
        hops: row.value("hops")?,
        from: ids.map(|(parent, root)| [parent, root].map(|id| *id.as_bytes())),
        claims: row.value("claims")?,
        envelope: row.value("envelope")?,
        body: row.value("body")?,
    })
}

fn delivery(row: &Row) -> Result<DeliveryRow, Fault> {
    Ok(DeliveryRow {
        event: id(row, "event")?,
        ordinal: row.value("ordinal")?,
        seq: row.value("seq")?,
        origin: row.value("origin")?,
        plugin: row.value("plugin")?,
        due_at: row.value("due_at")?,
        leased: row.value("leased")?,
        turn: row.value("turn")?,
        leased_at: row.value("leased_at")?,
        attempts: row.value("attempts")?,
        lost_leases: row.value("lost_leases")?,
        excused: row.value("excused")?,
        settled_at: row.value("settled_at")?,
        dead: row.value("dead")?,
        order_key: row.value("order_key")?,
        place: row.value("place")?,
        standing: row.value("standing")?,
        replayed_at: row.value("replayed_at")?,
        discarded_at: row.value("discarded_at")?,
        held: row.value("held")?,
        let_go_at: row.value("let_go_at")?,
    })
}

fn attempt(row: &Row) -> Result<AttemptRow, Fault> {
    Ok(AttemptRow {
        event: id(row, "event")?,
        ordinal: row.value("ordinal")?,
        number: row.value("number")?,
        started_at: row.value("started_at")?,
        ended_at: row.value("ended_at")?,
        outcome: row.value("outcome")?,
        message: row.value("message")?,
        version: row.value("version")?,
        wall_us: row.value("wall_us")?,
        cpu_us: row.value("cpu_us")?,
        logs: row.value("logs")?,
    })
}

async fn claims(
    moment: &Moment<'_>,
    limit: i64,
    seen: &mut impl FnMut(&Page),
) -> Result<(), Fault> {
    let sql =
        "SELECT claim, event, expires_at FROM claims WHERE claim > $1 ORDER BY claim LIMIT $2";
    let mut after = Vec::new();
    loop {
        let mut page = Page::default();
        for row in moment.rows(sql, &[&after, &limit]).await? {
            page.claims.push(ClaimRow {
                claim: row.value("claim")?,
                event: id(&row, "event")?,
                expires_at: row.value("expires_at")?,
            });
        }
        let Some(last) = page.claims.last() else { return Ok(()) };
        after.clone_from(&last.claim);
        seen(&page);
    }
}

/// Pages end by the bytes of values, so that these are asked for first.
async fn state(moment: &Moment<'_>, limit: i64, seen: &mut impl FnMut(&Page)) -> Result<(), Fault> {
    let (mut plugin, mut name) = (String::new(), Vec::<u8>::new());
    loop {
        let sql = "SELECT plugin, name, octet_length(value)::bigint AS bytes FROM state
                   WHERE (plugin, name) > ($1, $2) ORDER BY plugin, name LIMIT $3";
        let (mut last, mut page) = (None, Page::default());
        for row in moment.rows(sql, &[&plugin, &name, &limit]).await? {
            if page.is_full(usize::MAX) {
                break;
            }
            last = Some((row.value("plugin")?, row.value("name")?));
            page.bytes += usize::try_from(row.number("bytes")?).unwrap_or(usize::MAX);
        }
        let Some((last_plugin, last_name)) = last else { return Ok(()) };
        let sql = "SELECT plugin, name, version, value, expires_at FROM state
                   WHERE (plugin, name) > ($1, $2) AND (plugin, name) <= ($3, $4)";
        let between = moment.rows(sql, &[&plugin, &name, &last_plugin, &last_name]).await?;
        for row in between {
            page.entries.push(EntryRow {
                plugin: row.value("plugin")?,
                name: row.value("name")?,
                version: row.value("version")?,
                value: row.value("value")?,
                expires_at: row.value("expires_at")?,
            });
        }
        seen(&page);
        (plugin, name) = (last_plugin, last_name);
    }
}

async fn rest(moment: &Moment<'_>) -> Result<Page, Fault> {
    let mut page = Page::default();
    for row in moment.rows("SELECT name, state_bytes FROM plugins", &[]).await? {
        let state_bytes = row.value("state_bytes")?;
        page.plugins.push(PluginRow { name: row.value("name")?, state_bytes });
    }
    for row in moment.rows("SELECT kind, name, since, by_whom, why FROM pauses", &[]).await? {
        page.pauses.push(PauseRow {
            kind: row.value("kind")?,
            name: row.value("name")?,
            since: row.value("since")?,
            by: row.value("by_whom")?,
            why: row.value("why")?,
        });
    }
    for row in moment.rows("SELECT origin, lifted_at FROM holds", &[]).await? {
        let lifted_at = row.value("lifted_at")?;
        page.holds.push(HoldRow { origin: row.value("origin")?, lifted_at });
    }
    let sql = "SELECT name, raised_at, cleared_at, event, body FROM notices";
    for row in moment.rows(sql, &[]).await? {
        page.notices.push(NoticeRow {
            name: row.value("name")?,
            raised_at: row.value("raised_at")?,
            cleared_at: row.value("cleared_at")?,
            event: id(&row, "event")?,
            body: row.value("body")?,
        });
    }
    Ok(page)
}

async fn books(moment: &Moment<'_>, counted: &Counted) -> Result<Books, Fault> {
    let sums = TOTALS.map(|name| format!("coalesce(sum({name}), 0)::bigint AS {name}"));
    let found = moment.rows_of(&format!("SELECT {} FROM totals", sums.join(", ")), &[]).await?;
    let row = found.first().ok_or_else(|| Fault::unreadable("totals"))?;
    let mut written = [0; TOTALS.len()];
    for (total, name) in written.iter_mut().zip(TOTALS) {
        *total = row.value(name)?;
    }
    let Totals { events, outputs, unrouted, due, leased, done, .. } = counted.totals;
    let Totals { dead, discarded, duplicates, bytes, dead_bytes, .. } = counted.totals;
    let totals = [
        events, outputs, unrouted, due, leased, done, dead, discarded, duplicates, bytes,
        dead_bytes,
    ];
    // Of the lines that have a row, and of those that should.
    let sql = "SELECT count(*) FROM (
                   SELECT plugin, order_key, max(place) AS last, count(standing) AS length FROM deliveries
                   WHERE order_key IS NOT NULL GROUP BY plugin, order_key HAVING count(standing) > 0) AS d
               FULL JOIN lines AS l ON l.plugin = d.plugin AND l.order_key = d.order_key
               WHERE (l.last, l.length) IS DISTINCT FROM (d.last, d.length)";
    let lines_off = moment.the_row(sql, &[]).await?.get(0);
    let mut rows = [0; KINDS.len()];
    for (count, table) in rows.iter_mut().zip(TABLES) {
        let found = moment.rows_of(&format!("SELECT count(*) FROM {table}"), &[]).await?;
        *count = found.first().map_or(Ok(0), |row| row.number("count"))?;
    }
    let depths_agree = counted.agrees(moment).await?;
    Ok(Books { written, counted: totals, depths_agree, lines_off, rows })
}

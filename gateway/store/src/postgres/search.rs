//! Finds what a filter means: by an index where there is one for what is asked, else by looking at one event after
//! another, the newest first.
//!
//! The database looks at so many events at a time as are wanted, and answers those that are meant; what it can't tell
//! is looked at here: patterns, and text, for which contents have to be fetched.
//!
//! There is no index by origin, type or plugin, nor one by the order keys of what is over: each would be one more row to
//! write for each event or delivery, half of what an append writes, for what operators ask now and then. A page ends
//! when so many events were looked at, so that none takes long.

use hookweir_event::{EventId, EventType, PluginName, Timestamp};
use memchr::memmem::Finder;
use tokio_postgres::{Row, types::ToSql};

use super::{
    Fault, Moment,
    columns::{Columns, count},
    look::PAGE_MAX,
    shown::{self, Content, Entry, Place, columns},
    stand::{open, state, word},
    window::Window,
};
use crate::{Cursor, DeliveryState, Filter, Page, ReadError, Shown, Standpoint};

/// How many events are looked at for one page: some 50 ms, or 200 where it is their deliveries that matter.
pub(super) const LOOK_MAX: usize = 20_000;
/// How many bytes of bodies and headers are searched for one page.
const TEXT_MAX: usize = 64 << 20;
/// How many of them are fetched at a time.
const TEXT_STEP: usize = 4 << 20;
/// Up to so many of what is seldom are taken from its index and put in order; of more, each few events have one.
const FEW: u64 = 20_000;
/// A page ends behind the one with which it has so many bytes. All that is said of one event is on one page, and
/// is bounded by its plugins' limits: so many attempts, and of each so much that is logged.
const PAGE_BYTES: usize = 4 << 20;

impl Window {
    /// A page of events with their deliveries.
    pub(crate) async fn search(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Shown>, ReadError> {
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let mut found = find(&moment, filter, from, limit.clamp(1, PAGE_MAX)).await?;
        let shown = found.shown(&moment).await?;
        Ok(Page { found: shown, next: found.next() })
    }

    /// A page of ids.
    pub(crate) async fn search_ids(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<EventId>, ReadError> {
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let found = find(&moment, filter, from, limit.clamp(1, PAGE_MAX)).await?;
        let ids = found.entries.iter().map(|entry| entry.summary.id).collect();
        Ok(Page { found: ids, next: found.next() })
    }

    /// How many events the filter means. Looks at as many as it has to, in one moment after another.
    pub(crate) async fn count(&self, filter: &Filter) -> Result<u64, ReadError> {
        let (mut count, mut from) = (0, None);
        loop {
            let mut connection = self.connect().await?;
            let moment = connection.moment().await?;
            let found = find(&moment, filter, from, LOOK_MAX).await?;
            count += found.entries.len() as u64;
            from = found.next();
            if from.is_none() {
                return Ok(count);
            }
        }
    }
}

/// What a search came to.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// The last event that was looked at; none if none was.
    pub(super) last: Option<Place>,
    /// Whether there are more behind it.
    pub(super) more: bool,
}

impl Found {
    /// Where a search goes on.
    pub(super) fn next(&self) -> Option<Cursor> {
        self.last.filter(|_| self.more).map(|place| Cursor::at(place.seq))
    }

    /// Ends the page behind so many.
    pub(super) fn keep(&mut self, length: usize) {
        if length < self.entries.len() {
            self.entries.truncate(length);
            self.last = self.entries.last().map(|entry| entry.place);
            self.more = true;
        }
    }

    /// The events with their deliveries. The page is shorter if they are large.
    pub(super) async fn shown(&mut self, moment: &Moment<'_>) -> Result<Vec<Shown>, Fault> {
        let logged = shown::logged(moment, &self.entries).await?;
        let of = |entry: &Entry| logged.get(&entry.summary.id).copied().unwrap_or(0);
        self.keep(within_a_page(self.entries.iter().map(of)));
        let mut shown = shown::shown(moment, &self.entries).await?;
        self.keep(within_a_page(shown.iter().map(Shown::bytes)));
        shown.truncate(self.entries.len());
        Ok(shown)
    }
}

/// How many of what has so many bytes each are on one page.
pub(super) fn within_a_page(bytes: impl Iterator<Item = usize>) -> usize {
    let mut so_far = 0_usize;
    let fits = |bytes: &usize| {
        let fits = so_far < PAGE_BYTES;
        so_far = so_far.saturating_add(*bytes);
        fits
    };
    bytes.take_while(fits).count()
}

/// Up to `limit` events, the newest first.
pub(super) async fn find(
    moment: &Moment<'_>,
    filter: &Filter,
    from: Option<Cursor>,
    limit: usize,
) -> Result<Found, Fault> {
    let Filter { plugin, order_key, state, .. } = filter;
    if *state == Some(Standpoint::Unrouted) && (plugin.is_some() || order_key.is_some()) {
        // It has no delivery that could be of one.
        return Ok(Found { entries: Vec::new(), last: None, more: false });
    }
    let from = Place { tx: 0, seq: from.map_or(i64::MAX, |cursor| cursor.event) };
    let search = || Search::new(moment, filter, limit);
    if filter.claim.is_some() {
        // That which has it now. Older ones may have had it before it expired.
        let holder = search().run(&keyed(HOLDER), Order::NewestFirst, from).await?;
        if holder.last.is_some() {
            return Ok(Found { more: true, ..holder });
        }
    }
    let source = source(moment, filter).await?;
    search().run(&source, Order::NewestFirst, from).await
}

/// In which order events are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// That of searches.
    NewestFirst,
    /// That of what is new: of transactions before one.
    AsCommitted { before: i64 },
}

/// Events that may be meant: a statement that answers the columns of up to `$1` of them, from `$2` on, the newest
/// first.
async fn source(moment: &Moment<'_>, filter: &Filter) -> Result<String, Fault> {
    use DeliveryState::{Dead, Discarded, Done, Held};
    Ok(match filter.state {
        // Nothing is faster than to look at all of them.
        _ if filter.claim.is_some() => ALL.to_owned(),
        _ if filter.duplicated && are_few(moment, "SELECT 1 FROM duplicates").await? => {
            keyed(DUPLICATED)
        }
        Some(Standpoint::Delivery(Dead)) => keyed(&of_each_plugin("", "dead = 1")),
        Some(Standpoint::Blocks) => keyed(&of_each_plugin("", "standing = 2")),
        Some(Standpoint::Delivery(Held)) => {
            let holds = "CROSS JOIN (SELECT origin FROM holds WHERE lifted_at IS NULL) AS h";
            keyed(&of_each_plugin(holds, "held = h.origin"))
        }
        Some(Standpoint::Delivery(Discarded)) => keyed(DISCARDED),
        Some(Standpoint::Unrouted | Standpoint::Delivery(Done)) | None => ALL.to_owned(),
        Some(Standpoint::Delivery(_)) => match open_deliveries(moment).await? {
            ..=FEW => keyed(OPEN),
            _ => ALL.to_owned(),
        },
    })
}

async fn are_few(moment: &Moment<'_>, rows: &str) -> Result<bool, Fault> {
    let sql = format!("SELECT count(*) AS count FROM ({rows} LIMIT {FEW} + 1) AS r");
    let counted = moment.rows_of(&sql, &[]).await?;
    Ok(counted.first().map_or(Ok(0), |row| row.number("count"))? <= FEW)
}

async fn open_deliveries(moment: &Moment<'_>) -> Result<u64, Fault> {
    let sql = "SELECT coalesce(sum(due + leased), 0)::bigint AS count FROM totals";
    Ok(count(moment.the_row(sql, &[]).await?.value("count")?))
}

/// All events.
const ALL: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events AS e WHERE e.seq < $2 ORDER BY e.seq DESC LIMIT $1"
);

/// That which has the claim, as far as claims are kept.
const HOLDER: &str = "SELECT e.seq, c.event FROM claims AS c JOIN events AS e ON e.id = c.event
                      WHERE c.claim = $7 AND e.seq < $2 LIMIT $1";

/// Those that were sent again.
const DUPLICATED: &str = "SELECT e.seq, x.event FROM duplicates AS x
         CROSS JOIN LATERAL (SELECT seq FROM events WHERE id = x.event OFFSET 0) AS e
     WHERE e.seq < $2 ORDER BY e.seq DESC LIMIT $1";

/// Those with a delivery that was put aside.
const DISCARDED: &str = "SELECT DISTINCT ON (seq) seq, event FROM deliveries
                         WHERE dead = 2 AND seq < $2 ORDER BY seq DESC LIMIT $1";

/// Those with a delivery that is not over, or in the way of others. No index has these in order.
const OPEN: &str = concat!(
    "SELECT DISTINCT ON (seq) seq, event FROM (
         SELECT seq, event FROM deliveries WHERE ",
    open!(),
    "
         UNION ALL SELECT seq, event FROM deliveries WHERE held IS NOT NULL
         UNION ALL SELECT seq, event FROM deliveries WHERE standing IS NOT NULL) AS d
     WHERE seq < $2 ORDER BY seq DESC LIMIT $1"
);

/// Those with a delivery for which a condition holds that there is an index for: the newest of each plugin, and of
/// these the newest. Each plugin has as many as are wanted, so that none is left out.
fn of_each_plugin(and: &str, condition: &str) -> String {
    format!(
        "SELECT DISTINCT ON (d.seq) d.seq, d.event FROM plugins AS p {and} CROSS JOIN LATERAL (
             SELECT DISTINCT ON (seq) seq, event FROM deliveries
             WHERE plugin = p.name AND {condition} AND seq < $2 ORDER BY seq DESC LIMIT $1) AS d
         WHERE $9::text IS NULL OR p.name = $9 ORDER BY d.seq DESC LIMIT $1"
    )
}

/// The events that others name. One by one by their ids: put together otherwise the database might read all events.
fn keyed(keys: &str) -> String {
    format!(
        "SELECT {} FROM ({keys}) AS k
             CROSS JOIN LATERAL (SELECT * FROM events WHERE id = k.event OFFSET 0) AS e
         ORDER BY e.seq DESC",
        columns!()
    )
}

/// Of up to `$1` events of a source, those that are meant, and with each row which was the last and how many it was:
/// at least one row, if the source has any. `{source}` and `{order}` are put in.
const LOOK: &str = concat!(
    "WITH looked AS MATERIALIZED (
         SELECT s.*, row_number() OVER (ORDER BY {order}) AS nth FROM ({source}) AS s)
     SELECT l.nth AS looked, l.tx AS last_tx, l.seq AS last_seq, e.*
     FROM (SELECT nth, tx, seq FROM looked ORDER BY nth DESC LIMIT 1) AS l LEFT JOIN (
         SELECT e.* FROM looked AS e CROSS JOIN LATERAL (
             SELECT count(*) AS owed, count(*) FILTER (WHERE
                 ($9::text IS NULL OR d.plugin = $9)
                 AND ($10::bytea IS NULL OR d.order_key = $10)
                 AND ($11::text IS NULL
                      OR CASE $11 WHEN 'blocks' THEN d.standing = 2 ELSE ",
    state!(),
    " = $11 END)) AS meant
             FROM deliveries AS d LEFT JOIN holds AS h ON h.origin = d.held
             WHERE d.event = e.id
                 AND ($9::text IS NOT NULL OR $10::bytea IS NOT NULL OR $11::text IS NOT NULL)) AS d
         WHERE ($3::text IS NULL OR e.origin = $3) AND ($4::text IS NULL OR e.type = $4)
             AND ($5::bigint IS NULL OR e.received_at >= $5)
             AND ($6::bigint IS NULL OR e.received_at < $6)
             AND ($7::bytea IS NULL OR position($7 IN e.claims) % 16 = 1)
             AND (NOT $8::boolean OR EXISTS (SELECT 1 FROM duplicates AS x WHERE x.event = e.id))
             AND CASE WHEN $11 = 'unrouted' THEN d.owed = 0
                      ELSE d.meant > 0 OR ($9 IS NULL AND $10 IS NULL AND $11 IS NULL) END
         ) AS e ON true
     ORDER BY e.nth"
);

/// One search for one page.
pub(super) struct Search<'a> {
    moment: &'a Moment<'a>,
    filter: &'a Filter,
    text: Option<Finder<'a>>,
    limit: usize,
    found: Vec<Entry>,
    looked: usize,
    /// Bytes of bodies and headers that were read so far.
    read: usize,
}

/// What was looked at in one go.
struct Chunk {
    meant: Vec<Entry>,
    looked: usize,
    last: Place,
}

impl<'a> Search<'a> {
    pub(super) fn new(moment: &'a Moment<'a>, filter: &'a Filter, limit: usize) -> Self {
        let text = filter.text.as_deref().map(Finder::new);
        Self { moment, filter, text, limit, found: Vec::new(), looked: 0, read: 0 }
    }

    /// Looks at the events of a source from behind a place on, until the page is full.
    pub(super) async fn run(
        mut self,
        source: &str,
        order: Order,
        mut from: Place,
    ) -> Result<Found, Fault> {
        let by = match order {
            Order::NewestFirst => "s.seq DESC",
            Order::AsCommitted { .. } => "s.tx, s.seq",
        };
        let sql = LOOK.replace("{source}", source).replace("{order}", by);
        let (mut last, mut more) = (None, false);
        // One more than there is room for, to see whether there are more.
        let mut size = self.limit.saturating_add(1);
        while self.looked < LOOK_MAX {
            let wanted = size.min(LOOK_MAX - self.looked);
            let Some(chunk) = self.chunk(&sql, order, from, wanted).await? else {
                more = false;
                break;
            };
            self.looked += chunk.looked;
            from = chunk.last;
            last = Some(chunk.last);
            // Those behind the last are not known yet.
            more = chunk.looked == wanted;
            if let Some(full) = self.take(chunk.meant).await? {
                more |= full != chunk.last;
                last = Some(full);
                break;
            }
            if !more {
                break;
            }
            size = size.saturating_mul(8);
        }
        Ok(Found { entries: self.found, last, more })
    }

    async fn chunk(
        &self,
        sql: &str,
        order: Order,
        from: Place,
        wanted: usize,
    ) -> Result<Option<Chunk>, Fault> {
        let Filter { origin, pattern, event_type, plugin, order_key, .. } = self.filter;
        let by_pattern = || pattern.as_ref().and_then(|pattern| pattern.origin());
        let origin = origin.as_ref().or_else(by_pattern).map(ToString::to_string);
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let event_type = event_type.as_ref().map(EventType::as_str);
        let [since, until] =
            [self.filter.since, self.filter.until].map(|at| at.map(Timestamp::as_millis));
        let claim = self.filter.claim.as_ref().map(|claim| &claim.as_bytes()[..16]);
        let plugin = plugin.as_ref().map(PluginName::as_str);
        let order_key = order_key.as_ref().map(|key| key.as_str().as_bytes());
        let state = self.filter.state.map(word);
        let mut with: Vec<&(dyn ToSql + Sync)> = vec![
            &wanted,
            &from.seq,
            &origin,
            &event_type,
            &since,
            &until,
            &claim,
            &self.filter.duplicated,
            &plugin,
            &order_key,
            &state,
        ];
        if let Order::AsCommitted { before } = &order {
            with.extend([&from.tx as &(dyn ToSql + Sync), before]);
        }
        let rows = self.moment.rows_of(sql, &with).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let is_meant = |row: &&Row| row.value::<Option<i64>>("nth").is_ok_and(|nth| nth.is_some());
        Ok(Some(Chunk {
            meant: rows.iter().filter(is_meant).map(Entry::of).collect::<Result<_, _>>()?,
            looked: usize::try_from(first.number("looked")?).unwrap_or(usize::MAX),
            last: Place { tx: first.value("last_tx")?, seq: first.value("last_seq")? },
        }))
    }

    /// Takes those that are meant, as far as there is room. Answers the last one that was looked at, if there is none
    /// for more.
    async fn take(&mut self, entries: Vec<Entry>) -> Result<Option<Place>, Fault> {
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let (some, behind) = rest.split_at(self.step(rest));
            rest = behind;
            let contents = match self.text {
                Some(_) => shown::contents(self.moment, some).await?,
                None => Default::default(),
            };
            for entry in some {
                let content = contents.get(&entry.summary.id);
                if self.is_of_kind(entry) && self.has_text(content)? {
                    self.found.push(entry.clone());
                }
                self.read += if content.is_some() { entry.bytes } else { 0 };
                if self.found.len() >= self.limit || self.read >= TEXT_MAX {
                    return Ok(Some(entry.place));
                }
            }
        }
        Ok(None)
    }

    /// How many are looked at together: at least one.
    fn step(&self, entries: &[Entry]) -> usize {
        if self.text.is_none() {
            return entries.len();
        }
        let mut bytes = 0_usize;
        let fits = |entry: &&Entry| {
            bytes = bytes.saturating_add(entry.bytes);
            bytes <= TEXT_STEP
        };
        entries.iter().take_while(fits).count().max(1)
    }

    /// What the database did not look at.
    fn is_of_kind(&self, entry: &Entry) -> bool {
        let (origin, event_type) = (&entry.summary.origin, &entry.summary.event_type);
        let pattern = self.filter.pattern.as_ref();
        pattern.is_none_or(|wanted| wanted.matches(origin, event_type))
    }

    fn has_text(&self, content: Option<&Content>) -> Result<bool, Fault> {
        let Some(text) = &self.text else { return Ok(true) };
        let Some(Content { envelope, body }) = content else { return Ok(false) };
        let holds = |bytes: &[u8]| text.find(bytes).is_some();
        if holds(body) {
            return Ok(true);
        }
        let envelope = envelope.as_ref().ok_or_else(|| Fault::unreadable("an event"))?;
        let in_line = [Some(&envelope.path), envelope.query.as_ref()];
        Ok(in_line.into_iter().flatten().any(|text| holds(text.as_bytes()))
            || envelope.headers.iter().any(|(name, value)| holds(name.as_bytes()) || holds(value)))
    }
}

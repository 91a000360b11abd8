//! Finds what a filter means: by an index where there is one for it, else by the blocks, then one event
//! after another.

use hookweir_event::EventId;
use memchr::memmem::Finder;
use rusqlite::{Connection, Params, params};

use super::{
    blocks::{self, Asked},
    claims, codec,
    deliver::unreadable,
    fresh,
    look::{PAGE_BYTES, PAGE_MAX, View},
    parcels::{self, Entry, Parcel, Part},
    schema::parent_key,
    stand::Stood,
};
use crate::{Cursor, DeliveryState, Filter, Page, Shown, Standpoint, term::Term};

/// How many events are looked at for one page: some 50 ms.
pub(super) const LOOK_MAX: usize = 20_000;
/// How many bytes of bodies and headers are searched for one page.
pub(super) const TEXT_MAX: usize = 64 << 20;
/// Up to so many open deliveries are taken from their index; of more, each few events have one.
const FEW_OPEN: u64 = 20_000;

/// A page of events with their deliveries.
pub(crate) fn page(
    connection: &Connection,
    filter: &Filter,
    from: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<Page<Shown>> {
    let Page { found, next } = find(connection, filter, from, limit)?;
    let (view, mut shown, mut bytes) = (View::new(connection)?, Vec::new(), 0);
    let mut looker = Looker::new(connection, Part::Directory);
    for event in found {
        if bytes >= PAGE_BYTES {
            return Ok(Page { found: shown, next: Some(Cursor::at(event + 1)) });
        }
        let one = looker.look(event, |parcel, entry| view.shown(parcel, entry))?;
        bytes += one.as_ref().map_or(0, Shown::bytes);
        shown.extend(one);
    }
    Ok(Page { found: shown, next })
}

/// A page of ids.
pub(crate) fn ids(
    connection: &Connection,
    filter: &Filter,
    from: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<Page<EventId>> {
    let Page { found, next } = find(connection, filter, from, limit)?;
    let (mut ids, mut looker) = (Vec::new(), Looker::new(connection, Part::Directory));
    for event in found {
        ids.extend(looker.look(event, |_, entry| Ok(entry.id))?);
    }
    Ok(Page { found: ids, next })
}

/// How many are on a page, and where to go on.
pub(crate) fn number(
    connection: &Connection,
    filter: &Filter,
    from: Option<Cursor>,
) -> rusqlite::Result<(u64, Option<Cursor>)> {
    let page = find(connection, filter, from, PAGE_MAX)?;
    Ok((page.found.len() as u64, page.next))
}

/// Looks at one event after another. Those that lie beside each other are read together.
pub(super) struct Looker<'a> {
    connection: &'a Connection,
    part: Part,
    parcel: Option<Parcel>,
    /// Bytes of bodies and headers that were read so far.
    read: usize,
}

impl<'a> Looker<'a> {
    pub(super) fn new(connection: &'a Connection, part: Part) -> Self {
        Self { connection, part, parcel: None, read: 0 }
    }

    /// What `with` makes of an event, if it is kept.
    pub(super) fn look<T>(
        &mut self,
        event: i64,
        with: impl FnOnce(&Parcel, &Entry) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        if self.parcel.as_ref().is_none_or(|parcel| parcel.entry(event).is_none()) {
            self.parcel = parcels::holding(self.connection, event, self.part)?;
            self.read += self.parcel.as_ref().map_or(0, Parcel::content_len);
        }
        let parcel = self.parcel.as_ref();
        let found = parcel.and_then(|parcel| Some((parcel, parcel.entry(event)?)));
        found.map(|(parcel, entry)| with(parcel, entry)).transpose()
    }
}

/// One search for one page.
struct Search<'a> {
    connection: &'a Connection,
    view: View<'a>,
    looker: Looker<'a>,
    meant: Meant<'a>,
    /// The event that has the claim that is looked for, as far as claims tell that hold still.
    holder: Option<i64>,
    limit: usize,
    found: Vec<i64>,
    looked: usize,
}

pub(super) fn find(
    connection: &Connection,
    filter: &Filter,
    from: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<Page<i64>> {
    let newest = "SELECT next_event, due + leased FROM totals";
    let (next_event, open): (i64, i64) =
        connection.query_row(newest, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let holder = match &filter.claim {
        Some(claim) => claims::holder_on_disk(connection, claim)?,
        None => None,
    };
    let meant = Meant::new(filter);
    let mut search = Search {
        connection,
        view: View::new(connection)?,
        looker: Looker::new(connection, meant.part()),
        meant,
        holder,
        limit: limit.clamp(1, PAGE_MAX),
        found: Vec::new(),
        looked: 0,
    };
    // Nothing is behind the last event, whatever a cursor says.
    let from = from.map_or(next_event, |cursor| cursor.event.min(next_event));
    let open = u64::try_from(open).unwrap_or(0);
    let next = match filter.state {
        // One event, by the blocks.
        _ if filter.claim.is_some() => search.walk_blocks(from, 0)?,
        _ if filter.duplicated => {
            let sql = "SELECT event FROM duplicates WHERE event < ?1 ORDER BY event DESC";
            search.walk_index(sql, [from], from)?
        }
        Some(Standpoint::Delivery(DeliveryState::Dead) | Standpoint::Blocks) => {
            match &filter.plugin {
                None => {
                    let sql = "SELECT key >> 10 FROM deliveries INDEXED BY deliveries_dead
                               WHERE dead = 1 AND key < ?1 << 10 ORDER BY key DESC";
                    search.walk_index(sql, [from], from)?
                }
                Some(plugin) => {
                    let sql = "SELECT key >> 10 FROM deliveries INDEXED BY deliveries_dead_of
                               WHERE plugin = (SELECT key FROM plugins WHERE name = ?2)
                               AND dead = 1 AND key < ?1 << 10 ORDER BY key DESC";
                    search.walk_index(sql, params![from, plugin.as_str()], from)?
                }
            }
        }
        Some(Standpoint::Delivery(DeliveryState::Discarded)) => {
            let sql = "SELECT key >> 10 FROM deliveries INDEXED BY deliveries_discarded
                       WHERE dead = 2 AND key < ?1 << 10 ORDER BY key DESC";
            search.walk_index(sql, [from], from)?
        }
        Some(Standpoint::Delivery(state)) if state != DeliveryState::Done && open <= FEW_OPEN => {
            // Those that nobody leased yet lie behind the first of them, and are the newest.
            let newest = fresh::first_due(connection)?.unwrap_or(next_event);
            match search.walk_blocks(from, newest)? {
                Some(next) => Some(next),
                None => search.walk_open(from.min(newest))?,
            }
        }
        _ => search.walk_blocks(from, 0)?,
    };
    Ok(Page { found: search.found, next: next.map(Cursor::at) })
}

impl Search<'_> {
    fn is_full(&self) -> bool {
        self.found.len() == self.limit || self.looked >= LOOK_MAX || self.looker.read >= TEXT_MAX
    }

    /// Over the events that a query names, the newest first. Answers the last event that was looked at, if there are more.
    fn walk_index(
        &mut self,
        sql: &str,
        with: impl Params,
        from: i64,
    ) -> rusqlite::Result<Option<i64>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(with)?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let event = row.get(0)?;
            if last == Some(event) {
                continue;
            }
            if self.is_full() {
                return Ok(Some(last.unwrap_or(from)));
            }
            last = Some(event);
            self.look(event, false)?;
        }
        Ok(None)
    }

    /// Over the events that have an open delivery that has a row or is leased.
    fn walk_open(&mut self, from: i64) -> rusqlite::Result<Option<i64>> {
        let leased: Vec<_> =
            self.view.leased().map(|delivery| parent_key(delivery).to_string()).collect();
        // By these indexes: else SQLite goes through all deliveries that there ever were.
        let sql = "SELECT key >> 10 FROM deliveries INDEXED BY deliveries_open
             WHERE settled_at IS NULL AND standing IS NOT 1 AND held IS NULL AND +key < ?1 << 10
             UNION SELECT key >> 10 FROM deliveries INDEXED BY deliveries_held
             WHERE held IS NOT NULL AND +key < ?1 << 10
             UNION SELECT key >> 10 FROM deliveries INDEXED BY deliveries_in_line
             WHERE standing IS NOT NULL AND +key < ?1 << 10
             UNION SELECT value FROM json_each(?2) WHERE value < ?1 ORDER BY 1 DESC";
        self.walk_index(sql, params![from, format!("[{}]", leased.join(","))], from)
    }

    /// Over all events from the oldest that is wanted on, by blocks. Answers the last event that was looked
    /// at, if there are more.
    fn walk_blocks(&mut self, from: i64, oldest_wanted: i64) -> rusqlite::Result<Option<i64>> {
        let oldest = "SELECT min(key) FROM parcels";
        let oldest: Option<i64> = self.connection.query_row(oldest, [], |row| row.get(0))?;
        let Some(oldest) = oldest.map(|oldest| oldest.max(oldest_wanted)) else { return Ok(None) };
        let asked = self.asked();
        let (mut block, _) = blocks::block_of(from);
        let mut last = from;
        while blocks::first_of(block + 1) > oldest {
            let (places, is_known) = asked.of(self.connection, block)?;
            // Stepping over a block costs about as much as looking at two events.
            self.looked += 2;
            for place in (0..blocks::EVENTS).rev().filter(|place| places.contains(*place)) {
                let event = blocks::first_of(block) + i64::try_from(place).unwrap_or(0);
                if event >= from || event < oldest {
                    continue;
                }
                if self.is_full() {
                    return Ok(Some(last));
                }
                last = event;
                self.look(event, is_known)?;
            }
            last = last.min(blocks::first_of(block));
            block -= 1;
            if self.is_full() && blocks::first_of(block + 1) > oldest {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    fn asked(&self) -> Asked {
        let Filter { origin, event_type, since, until, claim, plugin, order_key, pattern, .. } =
            self.meant.filter;
        let by_pattern = pattern.as_ref().and_then(|pattern| pattern.origin()).map(Term::origin);
        let terms = [
            origin.as_ref().map(Term::origin),
            by_pattern,
            event_type.as_ref().map(Term::event_type),
            claim.as_ref().map(Term::claim),
            plugin.as_ref().map(Term::plugin),
            order_key.as_ref().map(Term::order_key),
        ];
        Asked { terms: terms.into_iter().flatten().collect(), since: *since, until: *until }
    }

    /// Looks at one event. `by_claim`: it was found by its claim, if one is looked for.
    fn look(&mut self, event: i64, by_claim: bool) -> rusqlite::Result<()> {
        self.looked += 1;
        let filter = self.meant.filter;
        if filter.duplicated && !self.is_duplicated(event)? {
            return Ok(());
        }
        let claimed = filter.claim.is_none() || by_claim || self.holder == Some(event);
        let Self { connection, view, looker, meant, .. } = self;
        let found = looker.look(event, |parcel, entry| {
            Ok(claimed && meant.includes(connection, view, parcel, entry)?)
        })?;
        self.found.extend((found == Some(true)).then_some(event));
        Ok(())
    }

    fn is_duplicated(&self, event: i64) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM duplicates WHERE event = ?1)";
        self.connection.prepare_cached(sql)?.query_row([event], |row| row.get(0))
    }
}

/// What a filter says of an event by itself, its dedupe key and its duplicates aside.
pub(super) struct Meant<'a> {
    filter: &'a Filter,
    text: Option<Finder<'a>>,
}

impl<'a> Meant<'a> {
    pub(super) fn new(filter: &'a Filter) -> Self {
        Self { filter, text: filter.text.as_deref().map(Finder::new) }
    }

    /// What has to be read of the events that are looked at.
    pub(super) fn part(&self) -> Part {
        if self.text.is_some() { Part::Whole } else { Part::Directory }
    }

    /// Whether an event is meant.
    pub(super) fn includes(
        &self,
        connection: &Connection,
        view: &View<'_>,
        parcel: &Parcel,
        entry: &Entry,
    ) -> rusqlite::Result<bool> {
        Ok(is_of_kind(connection, self.filter, entry)?
            && has_delivery(view, self.filter, entry)?
            && has_text(self.text.as_ref(), parcel, entry)?)
    }
}

fn is_of_kind(connection: &Connection, filter: &Filter, entry: &Entry) -> rusqlite::Result<bool> {
    let (event_type, at) = (&entry.event_type, entry.received_at);
    if filter.event_type.as_ref().is_some_and(|wanted| wanted != event_type)
        || filter.since.is_some_and(|since| at < since)
        || filter.until.is_some_and(|until| at >= until)
    {
        return Ok(false);
    }
    if filter.origin.is_none() && filter.pattern.is_none() {
        return Ok(true);
    }
    let origin = parcels::origin(connection, entry.origin)?;
    Ok(filter.origin.as_ref().is_none_or(|wanted| *wanted == origin)
        && filter.pattern.as_ref().is_none_or(|wanted| wanted.matches(&origin, event_type)))
}

fn has_delivery(view: &View<'_>, filter: &Filter, entry: &Entry) -> rusqlite::Result<bool> {
    let Filter { plugin, order_key, state, .. } = filter;
    if plugin.is_none() && order_key.is_none() && state.is_none() {
        return Ok(true);
    }
    let stood = view.stood(entry)?;
    for stood in &stood {
        if is_meant(view, filter, stood)? {
            return Ok(true);
        }
    }
    let of_none = plugin.is_none() && order_key.is_none();
    Ok(stood.is_empty() && of_none && *state == Some(Standpoint::Unrouted))
}

/// Whether a delivery is one of those that a filter means, of an event that it means.
pub(super) fn is_meant(view: &View<'_>, filter: &Filter, stood: &Stood) -> rusqlite::Result<bool> {
    let Filter { plugin, order_key, state, .. } = filter;
    let stands = match state {
        None => true,
        Some(Standpoint::Unrouted) => false,
        Some(Standpoint::Blocks) => stood.blocks,
        Some(Standpoint::Delivery(state)) => stood.state == *state,
    };
    Ok(stands
        && order_key.as_ref().is_none_or(|wanted| stood.order_key.as_ref() == Some(wanted))
        && view.is_of(stood, plugin.as_ref())?)
}

fn has_text(text: Option<&Finder<'_>>, parcel: &Parcel, entry: &Entry) -> rusqlite::Result<bool> {
    let Some(text) = text else { return Ok(true) };
    let (envelope, body) = parcel.content_of(entry).ok_or_else(|| unreadable(0))?;
    if text.find(body).is_some() {
        return Ok(true);
    }
    let envelope = codec::read_envelope(envelope).ok_or_else(|| unreadable(0))?;
    let holds = |bytes: &[u8]| text.find(bytes).is_some();
    let in_line = [Some(&envelope.path), envelope.query.as_ref()];
    Ok(in_line.into_iter().flatten().any(|text| holds(text.as_bytes()))
        || envelope.headers.iter().any(|(name, value)| holds(name.as_bytes()) || holds(value)))
}

//! Searches for operators: which events, the newest first, a page at a time.
//!
//! A page ends when it is full or when so many events were looked at, so that none takes long; its cursor
//! says where to go on. Cursors stay good: what comes meanwhile is before all of them.

use std::{fmt, str::FromStr};

use hookweir_event::{
    Digest, EventId, EventType, OrderKey, Origin, Pattern, PluginName, Timestamp,
};
use memchr::memmem::Finder;
use rusqlite::{Connection, Row};

use crate::{
    DeliveryState, ReadError, Reader, Shown,
    reader::{PAGE_MAX, delivery_state, shown},
    sqlite::{
        blocks::{self, Asked, Term},
        claims, codec,
        deliver::{parsed, unreadable},
        order::Standing,
        schema::child_keys,
    },
};

/// How many events are looked at for one page: some 50 ms.
const LOOK_MAX: usize = 20_000;
/// How many bytes of bodies and headers are searched for one page.
const TEXT_MAX: usize = 64 << 20;
/// Up to so many open deliveries are taken from their index; of more, each few events have one.
const FEW_OPEN: u64 = 20_000;

/// Which events are meant: those for which all holds that is said.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Where they come from.
    pub origin: Option<Origin>,
    /// What happened.
    pub event_type: Option<EventType>,
    /// The same, by a pattern.
    pub pattern: Option<Pattern>,
    /// Received then or later.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// They have a dedupe key.
    pub claim: Option<Digest>,
    /// One of their deliveries is of this plugin,
    pub plugin: Option<PluginName>,
    /// has this order key,
    pub order_key: Option<OrderKey>,
    /// and stands so.
    pub state: Option<Standpoint>,
    /// They were sent again within their window.
    pub duplicated: bool,
    /// It is somewhere in the path, the query, a header or the body, as it is written here.
    pub text: Option<String>,
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standpoint {
    /// No plugin wanted it.
    Unrouted,
    /// A delivery of it is in this state.
    Delivery(DeliveryState),
    /// A delivery of it is dead, and others with its order key wait.
    Blocks,
}

impl FromStr for Standpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let state = match text {
            "unrouted" => return Ok(Self::Unrouted),
            "blocks" => return Ok(Self::Blocks),
            "due" => DeliveryState::Due,
            "behind" => DeliveryState::Behind,
            "leased" => DeliveryState::Leased,
            "done" => DeliveryState::Done,
            "dead" => DeliveryState::Dead,
            _ => return Err("expected due, behind, leased, done, dead, blocks or unrouted"),
        };
        Ok(Self::Delivery(state))
    }
}

/// Where a search goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(i64);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = i64::from_str_radix(text, 16).ok().filter(|key| *key > 0);
        key.map(Self).ok_or("is no cursor of a search")
    }
}

/// Some of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The newest first. There may be none, and more to come.
    pub found: Vec<T>,
    /// Where to go on; none if that was all.
    pub next: Option<Cursor>,
}

impl Reader {
    /// Up to `limit` events, 1000 at most, from the cursor on.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn search(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Shown>, ReadError> {
        self.with(|connection| {
            let Page { found, next } = find(connection, filter, from, limit)?;
            let show = |key: &i64| shown(connection, "e.key = ?1 LIMIT ?2", [*key, 1]);
            let found: Vec<_> = found.iter().map(show).collect::<rusqlite::Result<_>>()?;
            Ok(Page { found: found.into_iter().flatten().collect(), next })
        })
    }

    /// The same, by their ids alone.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn search_ids(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<EventId>, ReadError> {
        self.with(|connection| {
            let Page { found, next } = find(connection, filter, from, limit)?;
            let mut statement =
                connection.prepare_cached("SELECT id FROM events WHERE key = ?1")?;
            let id = |key| statement.query_row([key], |row| Ok(EventId::from_bytes(row.get(0)?)));
            Ok(Page { found: found.into_iter().map(id).collect::<rusqlite::Result<_>>()?, next })
        })
    }

    /// How many events the filter means. Looks at as many as it has to, in one snapshot after another.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn count(&self, filter: &Filter) -> Result<u64, ReadError> {
        let (mut count, mut from) = (0, None);
        loop {
            let page = self.with(|connection| find(connection, filter, from, PAGE_MAX))?;
            count += page.found.len() as u64;
            from = page.next;
            if from.is_none() {
                return Ok(count);
            }
        }
    }
}

/// One search for one page.
struct Search<'a> {
    connection: &'a Connection,
    filter: &'a Filter,
    text: Option<Finder<'a>>,
    /// The event that has the claim that is looked for, as far as claims tell that hold still.
    holder: Option<i64>,
    limit: usize,
    found: Vec<i64>,
    looked: usize,
    read: usize,
}

fn find(
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
    let mut search = Search {
        connection,
        filter,
        text: filter.text.as_deref().map(Finder::new),
        holder,
        limit: limit.clamp(1, PAGE_MAX),
        found: Vec::new(),
        looked: 0,
        read: 0,
    };
    let from = from.map_or(next_event, |Cursor(key)| key);
    let open = u64::try_from(open).unwrap_or(0);
    let next = match filter.state {
        // One event, by the blocks.
        _ if filter.claim.is_some() => search.walk_blocks(from)?,
        _ if filter.duplicated => {
            let sql = "SELECT event FROM duplicates WHERE event < ?1 ORDER BY event DESC";
            search.walk_index(sql, from)?
        }
        Some(Standpoint::Delivery(DeliveryState::Dead) | Standpoint::Blocks) => {
            let sql = "SELECT key >> 10 FROM deliveries WHERE dead = 1 AND key < ?1 << 10
                       ORDER BY key DESC";
            search.walk_index(sql, from)?
        }
        Some(Standpoint::Delivery(state)) if state != DeliveryState::Done && open <= FEW_OPEN => {
            let sql = "SELECT key >> 10 FROM deliveries
                       WHERE settled_at IS NULL AND standing IS NOT 1 AND key < ?1 << 10
                       UNION SELECT key >> 10 FROM deliveries
                       WHERE standing IS NOT NULL AND key < ?1 << 10 ORDER BY 1 DESC";
            search.walk_index(sql, from)?
        }
        _ => search.walk_blocks(from)?,
    };
    Ok(Page { found: search.found, next: next.map(Cursor) })
}

impl Search<'_> {
    fn is_full(&self) -> bool {
        self.found.len() == self.limit || self.looked >= LOOK_MAX || self.read >= TEXT_MAX
    }

    /// Over the events that a query names, the newest first. Answers the last event that was looked at, if there are more.
    fn walk_index(&mut self, sql: &str, from: i64) -> rusqlite::Result<Option<i64>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([from])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let event = row.get(0)?;
            if last == Some(event) {
                continue;
            }
            if self.is_full() {
                return Ok(last);
            }
            last = Some(event);
            self.look(event, false)?;
        }
        Ok(None)
    }

    /// Over all events, by blocks. Answers the last event that was looked at, if there are more.
    fn walk_blocks(&mut self, from: i64) -> rusqlite::Result<Option<i64>> {
        let oldest = "SELECT min(key) FROM events";
        let oldest: Option<i64> = self.connection.query_row(oldest, [], |row| row.get(0))?;
        let Some(oldest) = oldest else { return Ok(None) };
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
            self.filter;
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
        let sql = "SELECT o.name, e.type, e.received_at FROM events AS e
                   JOIN origins AS o ON o.key = e.origin WHERE e.key = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([event])?;
        let Some(row) = rows.next()? else { return Ok(()) };
        if self.filter.duplicated && !self.is_duplicated(event)? {
            return Ok(());
        }
        let claimed = self.filter.claim.is_none() || by_claim || self.holder == Some(event);
        if claimed && self.is_of_kind(row)? && self.has_delivery(event)? && self.has_text(event)? {
            self.found.push(event);
        }
        Ok(())
    }

    fn is_duplicated(&self, event: i64) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM duplicates WHERE event = ?1)";
        self.connection.prepare_cached(sql)?.query_row([event], |row| row.get(0))
    }

    fn is_of_kind(&self, row: &Row<'_>) -> rusqlite::Result<bool> {
        let (origin, event_type): (Origin, EventType) = (parsed(row, 0)?, parsed(row, 1)?);
        let at = Timestamp::from_millis(row.get(2)?);
        let filter = self.filter;
        Ok(filter.origin.as_ref().is_none_or(|wanted| *wanted == origin)
            && filter.event_type.as_ref().is_none_or(|wanted| *wanted == event_type)
            && filter.pattern.as_ref().is_none_or(|wanted| wanted.matches(&origin, &event_type))
            && filter.since.is_none_or(|since| at >= since)
            && filter.until.is_none_or(|until| at < until))
    }

    fn has_delivery(&self, event: i64) -> rusqlite::Result<bool> {
        let Filter { plugin, order_key, state, .. } = self.filter;
        if plugin.is_none() && order_key.is_none() && state.is_none() {
            return Ok(true);
        }
        let sql = "SELECT p.name, d.order_key, d.settled_at, d.boot, d.dead, d.standing
                   FROM deliveries AS d JOIN plugins AS p ON p.key = d.plugin
                   WHERE d.key BETWEEN ?1 AND ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let (first, last) = child_keys(event);
        let mut rows = statement.query([first, last])?;
        let mut is_unrouted = true;
        while let Some(row) = rows.next()? {
            is_unrouted = false;
            let wanted = |wanted: Option<&str>, at| -> rusqlite::Result<bool> {
                Ok(wanted.is_none() || row.get_ref(at)?.as_str_or_null()? == wanted)
            };
            let stands = match state {
                None => true,
                Some(Standpoint::Unrouted) => false,
                Some(Standpoint::Blocks) => {
                    row.get::<_, Option<i64>>(5)? == Some(Standing::Blocks as i64)
                }
                Some(Standpoint::Delivery(state)) => delivery_state(row, [2, 3, 4, 5])? == *state,
            };
            if stands
                && wanted(plugin.as_ref().map(PluginName::as_str), 0)?
                && wanted(order_key.as_ref().map(OrderKey::as_str), 1)?
            {
                return Ok(true);
            }
        }
        let of_none = plugin.is_none() && order_key.is_none();
        Ok(is_unrouted && of_none && *state == Some(Standpoint::Unrouted))
    }

    fn has_text(&mut self, event: i64) -> rusqlite::Result<bool> {
        let Some(text) = &self.text else { return Ok(true) };
        let sql = "SELECT envelope, body FROM events WHERE key = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([event])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        let (envelope, body) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        self.read += envelope.len() + body.len();
        if text.find(body).is_some() {
            return Ok(true);
        }
        let envelope = codec::read_envelope(envelope).ok_or_else(|| unreadable(0))?;
        let holds = |bytes: &[u8]| text.find(bytes).is_some();
        let in_line = [Some(&envelope.path), envelope.query.as_ref()];
        Ok(in_line.into_iter().flatten().any(|text| holds(text.as_bytes()))
            || envelope.headers.iter().any(|(name, value)| holds(name.as_bytes()) || holds(value)))
    }
}

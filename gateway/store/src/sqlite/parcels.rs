//! Events lie in parcels: those of one commit in one row, so that a commit costs the tree one insertion
//! and its pages are filled to their ends.
//!
//! A parcel has a directory, with the small fields of each event, and the content: envelopes and bodies,
//! one after another. It is keyed by the key of its first event, so the parcel of an event is the last one
//! that begins at or before it. Retention may write a parcel anew with fewer events, under the same key.
//!
//! An event's id says when it was made (UUID version 7). `moments` tells which parcels have ids of each 16
//! ms, which is one row a commit where an index of ids would be one for each event.

use std::collections::{BTreeMap, VecDeque};

use hookweir_event::{Event, EventId, EventType, Hops, Origin, Timestamp};
use memchr::memmem;
use rusqlite::{Connection, Row, params};

use super::{
    codec,
    deliver::{is_unreadable, parsed, unreadable},
    fault::Fault,
    pack::{Packing, pack, unpack},
};

/// A parcel takes no more when it has so many events or so many bytes: to read one event, its parcel is
/// read. A single event may be larger.
const EVENTS_MAX: usize = 128;
const BYTES_MAX: usize = 256 << 10;
/// Parcels that were written or read last are kept in memory, up to so many bytes of content: what is
/// leased has mostly just come, or lies beside what was leased before.
const RECENT_MAX: usize = 4 << 20;
/// Bits of an id's milliseconds that do not count for its moment.
const MOMENT_BITS: u32 = 4;

/// An event in its parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: i64,
    pub(super) id: EventId,
    /// Its key in `origins`.
    pub(super) origin: i64,
    pub(super) event_type: EventType,
    pub(super) received_at: Timestamp,
    pub(super) hops: Hops,
    /// For an output: the event whose delivery made it, and the first of the chain.
    pub(super) from: Option<[EventId; 2]>,
    /// When the last of its claims expires; none if that was not written down.
    pub(super) claimed_until: Option<Timestamp>,
    /// Of each of its first deliveries, the plugin's key in `plugins`; 0 if the delivery has a row from
    /// the start.
    pub(super) plugins: Vec<i64>,
    pub(super) place: Place,
}

/// Where an event's envelope and, behind it, its body are in the content of its parcel. Known when it is
/// put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    at: usize,
    envelope: usize,
    pub(super) body: usize,
}

impl Entry {
    /// What envelope and body take.
    pub(super) fn bytes(&self) -> i64 {
        (self.place.envelope + self.place.body).cast_signed() as i64
    }
}

/// The events of one commit, or some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    pub(super) key: i64,
    /// The store's time then.
    pub(super) committed_at: Timestamp,
    /// In the order of their keys.
    pub(super) entries: Vec<Entry>,
    /// Empty, if only the directory was read.
    content: Vec<u8>,
}

impl Parcel {
    fn new(key: i64, committed_at: Timestamp) -> Self {
        Self { key, committed_at, entries: Vec::new(), content: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= EVENTS_MAX || self.content.len() >= BYTES_MAX
    }

    fn push(&mut self, mut entry: Entry, envelope: &[u8], body: &[u8]) {
        entry.place = Place { at: self.content.len(), envelope: envelope.len(), body: body.len() };
        self.content.extend_from_slice(envelope);
        self.content.extend_from_slice(body);
        self.entries.push(entry);
    }

    pub(super) fn entry(&self, event: i64) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&event, |entry| entry.key).ok()?;
        Some(&self.entries[at])
    }

    /// The envelope and the body of one of its events.
    pub(super) fn content_of(&self, entry: &Entry) -> Option<(&[u8], &[u8])> {
        let Place { at, envelope, body } = entry.place;
        self.content.get(at..at + envelope + body)?.split_at_checked(envelope)
    }

    /// How many bytes of content were read.
    pub(super) fn content_len(&self) -> usize {
        self.content.len()
    }

    /// The event that an entry stands for.
    pub(super) fn event(&self, entry: &Entry, origin: Origin) -> rusqlite::Result<Event> {
        let content = self.content_of(entry);
        let parts =
            content.and_then(|(envelope, body)| Some((codec::read_envelope(envelope)?, body)));
        let (envelope, body) = parts.ok_or_else(|| unreadable(0))?;
        Ok(Event {
            id: entry.id,
            origin,
            event_type: entry.event_type.clone(),
            received_at: entry.received_at,
            method: envelope.method,
            path: envelope.path,
            query: envelope.query,
            headers: envelope.headers,
            body: body.to_vec(),
            attributes: envelope.attributes,
            hops: entry.hops,
        })
    }

    /// The same with fewer events.
    fn only(&self, keep: impl Fn(i64) -> bool) -> Option<Self> {
        let mut left = Self::new(self.key, self.committed_at);
        for entry in self.entries.iter().filter(|entry| keep(entry.key)) {
            let (envelope, body) = self.content_of(entry)?;
            left.push(entry.clone(), envelope, body);
        }
        Some(left)
    }

    /// The moments of its ids, each once.
    fn moments(&self) -> Vec<i64> {
        let mut moments: Vec<_> = self.entries.iter().map(|entry| moment(entry.id)).collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    fn insert(&self, connection: &Connection) -> Result<(), Fault> {
        let sql = "INSERT INTO parcels (key, committed_at, directory, content)
                   VALUES (?1, ?2, ?3, ?4)";
        connection.prepare_cached(sql)?.execute(params![
            self.key,
            self.committed_at.as_millis(),
            write_directory(&self.entries),
            pack(&self.content)?
        ])?;
        let sql = "INSERT INTO moments (moment, parcel) VALUES (?1, ?2)";
        let mut statement = connection.prepare_cached(sql)?;
        for moment in self.moments() {
            statement.execute([moment, self.key])?;
        }
        Ok(())
    }
}

/// When an id was made: 16 ms have one number.
fn moment(id: EventId) -> i64 {
    let [a, b, c, d, e, f, ..] = *id.as_bytes();
    i64::from_be_bytes([0, 0, a, b, c, d, e, f]) >> MOMENT_BITS
}

/// What is read of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Directory,
    Whole,
}

impl Part {
    fn columns(self) -> &'static str {
        match self {
            Self::Directory => "key, committed_at, directory, NULL",
            Self::Whole => "key, committed_at, directory, content",
        }
    }
}

/// A row as [`Part::columns`] has it.
fn read(row: &Row<'_>) -> rusqlite::Result<Parcel> {
    let (parcel, packing) = read_small(row)?;
    with_content(parcel, packing, row)
}

/// The same without its content, and how that is packed.
fn read_small(row: &Row<'_>) -> rusqlite::Result<(Parcel, Packing)> {
    let directory = row.get_ref(2)?.as_blob()?;
    let (packing, entries) = read_directory(directory).ok_or_else(|| unreadable(2))?;
    let mut parcel = Parcel::new(row.get(0)?, Timestamp::from_millis(row.get(1)?));
    parcel.entries = entries;
    Ok((parcel, packing))
}

fn with_content(mut parcel: Parcel, packing: Packing, row: &Row<'_>) -> rusqlite::Result<Parcel> {
    if let Some(bytes) = row.get_ref(3)?.as_blob_or_null()? {
        let last = parcel.entries.last().map(|entry| entry.place).unwrap_or_default();
        let len = last.at + last.envelope + last.body;
        parcel.content = unpack(packing, bytes, len).ok_or_else(|| unreadable(3))?;
    }
    Ok(parcel)
}

/// The parcel that an event is in, if it is kept.
pub(super) fn holding(
    connection: &Connection,
    event: i64,
    part: Part,
) -> rusqlite::Result<Option<Parcel>> {
    let columns = part.columns();
    let sql = format!("SELECT {columns} FROM parcels WHERE key <= ?1 ORDER BY key DESC LIMIT 1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([event])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (parcel, packing) = read_small(row)?;
    match parcel.entry(event) {
        None => Ok(None),
        Some(_) => with_content(parcel, packing, row).map(Some),
    }
}

/// Goes through the parcels with events from `first` on, in their order, until told to stop. The first
/// one may begin with earlier events.
pub(super) fn walk(
    connection: &Connection,
    first: i64,
    part: Part,
    mut each: impl FnMut(Parcel) -> rusqlite::Result<Walk>,
) -> rusqlite::Result<()> {
    let columns = part.columns();
    let sql = format!(
        "SELECT {columns} FROM parcels WHERE key >=
             coalesce((SELECT max(key) FROM parcels WHERE key <= ?1), ?1) ORDER BY key"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([first])?;
    while let Some(row) = rows.next()? {
        if each(read(row)?)? == Walk::Enough {
            break;
        }
    }
    Ok(())
}

/// Whether a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    On,
    Enough,
}

/// The parcel that has an event with this id, and the event's key.
pub(super) fn with_id(
    connection: &Connection,
    id: EventId,
    part: Part,
) -> rusqlite::Result<Option<(Parcel, i64)>> {
    let columns = part.columns();
    let sql = format!(
        "SELECT {columns} FROM moments CROSS JOIN parcels ON key = parcel WHERE moment = ?1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([moment(id)])?;
    while let Some(row) = rows.next()? {
        // Reading a directory takes longer than to see that the id is not in it.
        if memmem::find(row.get_ref(2)?.as_blob()?, id.as_bytes()).is_none() {
            continue;
        }
        let parcel = read(row)?;
        let key = parcel.entries.iter().find(|entry| entry.id == id).map(|entry| entry.key);
        if let Some(key) = key {
            return Ok(Some((parcel, key)));
        }
    }
    Ok(None)
}

/// The key of the event with this id.
pub(super) fn key_of(connection: &Connection, id: EventId) -> rusqlite::Result<Option<i64>> {
    Ok(with_id(connection, id, Part::Directory)?.map(|(_, key)| key))
}

/// How many events of a parcel can't be read, of which this is the directory.
pub(super) fn unreadable_of(connection: &Connection, parcel: &Parcel) -> rusqlite::Result<usize> {
    let whole = whole(connection, parcel.key)?;
    let is_readable = |entry: &&Entry| {
        let content = whole.as_ref().and_then(|whole| whole.content_of(entry));
        content.and_then(|(envelope, _)| codec::read_envelope(envelope)).is_some()
    };
    Ok(parcel.entries.len() - parcel.entries.iter().filter(is_readable).count())
}

/// Whether an id is looked for in a parcel.
pub(super) fn leads_to(
    connection: &Connection,
    id: EventId,
    parcel: i64,
) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM moments WHERE moment = ?1 AND parcel = ?2)";
    connection.prepare_cached(sql)?.query_row([moment(id), parcel], |row| row.get(0))
}

/// The name of an origin.
pub(super) fn origin(connection: &Connection, key: i64) -> rusqlite::Result<Origin> {
    let sql = "SELECT name FROM origins WHERE key = ?1";
    connection.prepare_cached(sql)?.query_row([key], |row| parsed(row, 0))
}

/// Takes events out of a parcel for which `keep` is false; the whole parcel, if none is left. `before` is
/// its directory. A content that can't be read stays as it is, and can't be read.
pub(super) fn thin_out(
    connection: &Connection,
    before: &Parcel,
    keep: impl Fn(i64) -> bool,
) -> Result<(), Fault> {
    let parcel = before.key;
    let mut left = Parcel::new(parcel, before.committed_at);
    left.entries = before.entries.iter().filter(|entry| keep(entry.key)).cloned().collect();
    let still = left.moments();
    let mut forget =
        connection.prepare_cached("DELETE FROM moments WHERE moment = ?1 AND parcel = ?2")?;
    for moment in before.moments().into_iter().filter(|moment| !still.contains(moment)) {
        forget.execute([moment, parcel])?;
    }
    if left.entries.is_empty() {
        connection.prepare_cached("DELETE FROM parcels WHERE key = ?1")?.execute([parcel])?;
    } else {
        let content = match whole(connection, parcel)?.and_then(|whole| whole.only(keep)) {
            Some(left) => Some(pack(&left.content)?),
            None => None,
        };
        let sql =
            "UPDATE parcels SET directory = ?2, content = coalesce(?3, content) WHERE key = ?1";
        let directory = write_directory(&left.entries);
        connection.prepare_cached(sql)?.execute(params![parcel, directory, content])?;
    }
    Ok(())
}

/// A parcel with its content, if that can be read.
fn whole(connection: &Connection, parcel: i64) -> rusqlite::Result<Option<Parcel>> {
    let sql = format!("SELECT {} FROM parcels WHERE key = ?1", Part::Whole.columns());
    match connection.prepare_cached(&sql)?.query_row([parcel], read) {
        Err(error) if is_unreadable(&error) => Ok(None),
        whole => whole.map(Some),
    }
}

/// The writer's part: puts parcels together, and remembers the last ones.
#[derive(Debug, Default)]
pub(super) struct Parcels {
    /// Those of the transaction in the making. The last one grows.
    new: Vec<Parcel>,
    /// How many of these are in the table.
    written: usize,
    recent: BTreeMap<i64, Parcel>,
    /// The keys of these, the oldest in front.
    order: VecDeque<i64>,
    recent_bytes: usize,
}

/// Where [`Parcels::back_to`] goes back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    parcels: usize,
    /// Of the last one.
    events: usize,
    bytes: usize,
    written: usize,
}

impl Parcels {
    /// An event was accepted in the transaction in the making. Events come in the order of their keys.
    pub(super) fn add(&mut self, now: Timestamp, entry: Entry, envelope: &[u8], body: &[u8]) {
        let open = self.new.last().is_some_and(|parcel| !parcel.is_full());
        if !open || self.new.len() == self.written {
            self.new.push(Parcel::new(entry.key, now));
        }
        let parcel = self.new.last_mut().expect("invariant: there is one to grow");
        parcel.push(entry, envelope, body);
    }

    /// The next delivery of the event that was added last.
    pub(super) fn deliver(&mut self, plugin: i64) {
        let entry = self.new.last_mut().and_then(|parcel| parcel.entries.last_mut());
        entry.expect("invariant: an event was added").plugins.push(plugin);
    }

    /// Writes what is not in the table yet.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), Fault> {
        self.new[self.written..].iter().try_for_each(|parcel| parcel.insert(connection))?;
        self.written = self.new.len();
        Ok(())
    }

    /// Writes those that are full, and lets go of them: for a long row of events.
    pub(super) fn write_full(&mut self, connection: &Connection) -> Result<(), Fault> {
        if self.new.last().is_some_and(Parcel::is_full) {
            self.write(connection)?;
            (self.new, self.written) = (Vec::new(), 0);
        }
        Ok(())
    }

    /// Calls `with` with the parcel of an event and the event's entry, if the event is kept.
    pub(super) fn with<T>(
        &mut self,
        connection: &Connection,
        event: i64,
        with: impl FnOnce(&Parcel, &Entry) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        if let Some((parcel, entry)) = self.in_memory(event) {
            return with(parcel, entry).map(Some);
        }
        let Some(parcel) = holding(connection, event, Part::Whole)? else { return Ok(None) };
        let answer = parcel.entry(event).map(|entry| with(&parcel, entry)).transpose();
        self.remember(parcel);
        answer
    }

    /// The same for what is in the directory, of which nothing is remembered.
    pub(super) fn entry<T>(
        &self,
        connection: &Connection,
        event: i64,
        with: impl FnOnce(&Parcel, &Entry) -> T,
    ) -> rusqlite::Result<Option<T>> {
        if let Some((parcel, entry)) = self.in_memory(event) {
            return Ok(Some(with(parcel, entry)));
        }
        let Some(parcel) = holding(connection, event, Part::Directory)? else { return Ok(None) };
        Ok(parcel.entry(event).map(|entry| with(&parcel, entry)))
    }

    fn in_memory(&self, event: i64) -> Option<(&Parcel, &Entry)> {
        let next = self.new.partition_point(|parcel| parcel.key <= event);
        let new = next.checked_sub(1).map(|at| &self.new[at]);
        let recent = || self.recent.range(..=event).next_back().map(|(_, parcel)| parcel);
        let found = |parcel: &'_ Parcel| parcel.entry(event).is_some();
        let parcel = new.filter(|parcel| found(parcel)).or_else(recent)?;
        Some((parcel, parcel.entry(event)?))
    }

    fn remember(&mut self, parcel: Parcel) {
        self.recent_bytes += parcel.content.len();
        self.order.push_back(parcel.key);
        self.recent.insert(parcel.key, parcel);
        while self.recent_bytes > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
            && let Some(parcel) = self.recent.remove(&oldest)
        {
            self.recent_bytes -= parcel.content.len();
        }
    }

    /// A parcel is not any more what it was, in the table.
    pub(super) fn forget(&mut self, key: i64) {
        if let Ok(at) = self.new.binary_search_by_key(&key, |parcel| parcel.key) {
            self.new.remove(at);
            self.written -= usize::from(at < self.written);
        }
        if let Some(parcel) = self.recent.remove(&key) {
            self.recent_bytes -= parcel.content.len();
            self.order.retain(|other| *other != key);
        }
    }

    pub(super) fn mark(&self) -> Mark {
        let last = self.new.last();
        Mark {
            parcels: self.new.len(),
            events: last.map_or(0, |parcel| parcel.entries.len()),
            bytes: last.map_or(0, |parcel| parcel.content.len()),
            written: self.written,
        }
    }

    /// Lets go of what was added since the mark.
    pub(super) fn back_to(&mut self, mark: Mark) {
        self.new.truncate(mark.parcels);
        if let Some(last) = self.new.last_mut() {
            last.entries.truncate(mark.events);
            last.content.truncate(mark.bytes);
        }
        self.written = mark.written;
    }

    /// The transaction is on disk.
    pub(super) fn committed(&mut self) {
        self.written = 0;
        for parcel in std::mem::take(&mut self.new) {
            self.remember(parcel);
        }
    }

    /// The transaction never was.
    pub(super) fn rolled_back(&mut self) {
        // It may have read what it had written.
        *self = Self::default();
    }
}

/// Begins with how the content is packed.
fn write_directory(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + entries.len() * 72);
    out.push(Packing::Zstd as u8);
    for entry in entries {
        codec::put_key(&mut out, entry.key);
        out.extend_from_slice(entry.id.as_bytes());
        codec::put_key(&mut out, entry.origin);
        codec::put(&mut out, entry.event_type.as_str().as_bytes());
        out.extend_from_slice(&entry.received_at.as_millis().to_le_bytes());
        out.push(entry.hops.0);
        let has = u8::from(entry.from.is_some()) | u8::from(entry.claimed_until.is_some()) << 1;
        out.push(has);
        for id in entry.from.iter().flatten() {
            out.extend_from_slice(id.as_bytes());
        }
        if let Some(until) = entry.claimed_until {
            out.extend_from_slice(&until.as_millis().to_le_bytes());
        }
        codec::put_len(&mut out, entry.plugins.len());
        entry.plugins.iter().for_each(|plugin| codec::put_key(&mut out, *plugin));
        codec::put_len(&mut out, entry.place.envelope);
        codec::put_len(&mut out, entry.place.body);
    }
    out
}

/// Reads a directory back. `None` if it is none, which only a damaged database holds.
fn read_directory(blob: &[u8]) -> Option<(Packing, Vec<Entry>)> {
    let (packing, mut input) = blob.split_first()?;
    let packing = Packing::of(*packing)?;
    let (mut entries, mut at): (Vec<Entry>, usize) = (Vec::new(), 0);
    while !input.is_empty() {
        let entry = read_entry(&mut input, at)?;
        if entries.last().is_some_and(|last| last.key >= entry.key) {
            return None;
        }
        at = at.checked_add(entry.place.envelope)?.checked_add(entry.place.body)?;
        entries.push(entry);
    }
    Some((packing, entries))
}

fn read_entry(input: &mut &[u8], at: usize) -> Option<Entry> {
    let key = codec::key(input)?;
    let id = EventId::from_bytes(array(input)?);
    let origin = codec::key(input)?;
    let event_type = str::from_utf8(codec::bytes(input)?).ok()?.parse().ok()?;
    let received_at = time(input)?;
    let [hops, has] = array(input)?;
    let from = match has & 1 {
        0 => None,
        _ => Some([EventId::from_bytes(array(input)?), EventId::from_bytes(array(input)?)]),
    };
    let claimed_until = if has & 2 == 0 { None } else { Some(time(input)?) };
    let plugins = codec::list(input, codec::key)?;
    let (envelope, body) = (codec::len(input)?, codec::len(input)?);
    Some(Entry {
        key,
        id,
        origin,
        event_type,
        received_at,
        hops: Hops(hops),
        from,
        claimed_until,
        plugins,
        place: Place { at, envelope, body },
    })
}

fn array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    codec::take(input, N)?.first_chunk().copied()
}

fn time(input: &mut &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_millis(i64::from_le_bytes(array(input)?)))
}

//! What is in each block of 1024 events that follow one another: by which a search steps over those
//! that hold nothing it looks for.
//!
//! An index by type or plugin would be one more random page for each event, twice what a commit writes.
//! A block is put together in memory while its events come, and written as one row when the next begins:
//! some 30 bytes an event. Of the last block there is no row; nor are there any of events that are older
//! than this table. A search looks at all events of such a block, and finds none of them by what is
//! nowhere else: a dedupe key whose claim has expired.
//!
//! The backlog of a plugin is found by blocks as well (`fresh`), so that one must never deny what is there.
//! A block may name events that are not there, after a rollback, or that were forgotten: a search looks
//! at each event it finds here before it believes it.

use std::collections::BTreeMap;

use hookweir_event::{Digest, EventType, OrderKey, Origin, PluginName, Timestamp};
use rusqlite::{Connection, params};

use super::{
    deliver::{parsed, unreadable},
    fault::Fault,
    memory,
    parcels::{self, Part, Walk},
    schema::{child_key, parent_key},
};
use crate::{Route, term::Term};

/// How many bits of an event's key are its place in the block.
const BITS: u32 = 10;
/// How many events a block has.
pub(super) const EVENTS: usize = 1 << BITS;

/// Some of a block's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places([u64; EVENTS / 64]);

impl Places {
    pub(super) const ALL: Self = Self([u64::MAX; EVENTS / 64]);
    const NONE: Self = Self([0; EVENTS / 64]);

    fn insert(&mut self, place: u16) {
        self.0[usize::from(place) / 64] |= 1 << (place % 64);
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    pub(super) fn contains(&self, place: usize) -> bool {
        self.0[place / 64] & 1 << (place % 64) != 0
    }

    pub(super) fn keep_those_in(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(ours, theirs)| *ours &= theirs);
    }

    fn iter(&self) -> impl Iterator<Item = u16> {
        (0..EVENTS)
            .filter(|place| self.contains(*place))
            .filter_map(|place| u16::try_from(place).ok())
    }
}

/// The block of an event's key, and its place in it.
pub(super) fn block_of(event: i64) -> (i64, usize) {
    let place = usize::try_from(event & ((1 << BITS) - 1)).unwrap_or(0);
    (event >> BITS, place)
}

/// The key of the first event of a block.
pub(super) fn first_of(block: i64) -> i64 {
    block << BITS
}

/// The block that events are added to.
#[derive(Debug)]
struct Open {
    number: i64,
    first_at: Timestamp,
    last_at: Timestamp,
    common: BTreeMap<u64, Places>,
    rare: Vec<(u64, u16)>,
}

impl Open {
    fn new(number: i64) -> Self {
        let (first_at, last_at) =
            (Timestamp::from_millis(i64::MAX), Timestamp::from_millis(i64::MIN));
        Self { number, first_at, last_at, common: BTreeMap::new(), rare: Vec::new() }
    }

    fn write(&self, connection: &Connection) -> Result<(), Fault> {
        let sql = "INSERT OR REPLACE INTO blocks (key, first_at, last_at, common, rare)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        connection.prepare_cached(sql)?.execute(params![
            self.number,
            self.first_at.as_millis(),
            self.last_at.as_millis(),
            pack_common(&self.common),
            pack_rare(&self.rare)
        ])?;
        Ok(())
    }
}

/// The writer's part: collects what comes.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    open: Option<Open>,
    /// Whole ones that the transaction in the making writes.
    full: Vec<Open>,
}

impl Blocks {
    /// Puts together what an earlier process had of the last block. `claims` are those of its events.
    pub(super) fn read(
        connection: &Connection,
        next_event: i64,
        claims: impl Fn(i64) -> Vec<(u64, i64)>,
    ) -> Result<Self, Fault> {
        let mut blocks = Self::default();
        let first = first_of(block_of(next_event).0);
        parcels::walk(connection, first, Part::Directory, |parcel| {
            for entry in parcel.entries.iter().filter(|entry| entry.key >= first) {
                let origin = parcels::origin(connection, entry.origin)?;
                let mut terms = vec![Term::origin(&origin), Term::event_type(&entry.event_type)];
                for plugin in entry.plugins.iter().filter(|plugin| **plugin != 0) {
                    terms.push(Term::plugin(&memory::plugin_name(connection, *plugin)?));
                }
                blocks.add(entry.key, entry.received_at, terms);
            }
            Ok(Walk::On)
        })?;
        let sql = "SELECT d.key, p.name, d.order_key FROM deliveries AS d
                   JOIN plugins AS p ON p.key = d.plugin WHERE d.key >= ?1";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([child_key(first, 0)])?;
        while let Some(row) = rows.next()? {
            let order_key = row.get_ref(2)?.as_str_or_null().map_err(rusqlite::Error::from)?;
            let order_key = order_key.map(|key| Term::order_key(&OrderKey::new(key)));
            let terms = [Some(Term::plugin(&parsed(row, 1)?)), order_key];
            blocks.name(parent_key(row.get(0)?), terms.into_iter().flatten());
        }
        for (print, event) in claims(first) {
            blocks.name(event, [Term { print, rare: true }]);
        }
        Ok(blocks)
    }

    /// An event was added to the table. Events come in the order of their keys.
    pub(super) fn add(&mut self, event: i64, at: Timestamp, terms: impl IntoIterator<Item = Term>) {
        let (number, _) = block_of(event);
        if self.open.as_ref().is_some_and(|open| open.number != number) {
            self.full.extend(self.open.take());
        }
        let open = self.open.get_or_insert_with(|| Open::new(number));
        (open.first_at, open.last_at) = (open.first_at.min(at), open.last_at.max(at));
        self.name(event, terms);
    }

    /// An event of the block is found by these as well.
    fn name(&mut self, event: i64, terms: impl IntoIterator<Item = Term>) {
        let (number, place) = block_of(event);
        let Some(open) = self.open.as_mut().filter(|open| open.number == number) else { return };
        let place = u16::try_from(place).unwrap_or(0);
        for term in terms {
            match term.rare {
                true => open.rare.push((term.print, place)),
                false => open.common.entry(term.print).or_insert(Places::NONE).insert(place),
            }
        }
    }

    /// An event of any block was routed once more.
    pub(super) fn add_plugin(
        &mut self,
        connection: &Connection,
        event: i64,
        route: &Route,
    ) -> Result<(), Fault> {
        let plugin = Term::plugin(&route.plugin);
        let order_key = route.order_key.as_ref().map(Term::order_key);
        self.name(event, [Some(plugin), order_key].into_iter().flatten());
        let (number, place) = block_of(event);
        let sql = "SELECT common, rare FROM blocks WHERE key = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([number])?;
        let Some(row) = rows.next()? else { return Ok(()) };
        let place = u16::try_from(place).unwrap_or(0);
        let mut common = unpack_common(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)
            .ok_or_else(|| unreadable(0))?;
        common.entry(plugin.print).or_insert(Places::NONE).insert(place);
        let mut rare = unpack_rare(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
        rare.extend(order_key.map(|term| (term.print, place)));
        drop(rows);
        let sql = "UPDATE blocks SET common = ?2, rare = ?3 WHERE key = ?1";
        connection.prepare_cached(sql)?.execute(params![
            number,
            pack_common(&common),
            pack_rare(&rare)
        ])?;
        Ok(())
    }

    /// Where [`back_to`](Self::back_to) goes back to.
    pub(super) fn mark(&self) -> usize {
        self.full.len()
    }

    /// What was added since the mark is not there: it stays named, but a block that became whole by it is
    /// not.
    pub(super) fn back_to(&mut self, mark: usize) {
        if let Some(first) = self.full.drain(mark..).next() {
            self.open = Some(first);
        }
    }

    /// Writes what is whole.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), Fault> {
        self.full.iter().try_for_each(|block| block.write(connection))
    }

    pub(super) fn committed(&mut self) {
        self.full.clear();
    }

    /// What was added is not there, which does no harm; its keys are given to others.
    pub(super) fn rolled_back(&mut self) {
        self.back_to(0);
    }
}

/// What a search asks of a block: all terms must be an event's.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) terms: Vec<Term>,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

impl Asked {
    /// The events of a block that may be meant, and whether anything is known of it; if not, all may be.
    pub(super) fn of(
        &self,
        connection: &Connection,
        block: i64,
    ) -> rusqlite::Result<(Places, bool)> {
        let sql = "SELECT first_at, last_at, common, rare FROM blocks WHERE key = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([block])?;
        let Some(row) = rows.next()? else { return Ok((Places::ALL, false)) };
        let (first_at, last_at) =
            (Timestamp::from_millis(row.get(0)?), Timestamp::from_millis(row.get(1)?));
        let outside = self.since.is_some_and(|since| last_at < since)
            || self.until.is_some_and(|until| first_at >= until);
        if outside {
            return Ok((Places::NONE, true));
        }
        let mut places = Places::ALL;
        for term in &self.terms {
            let at = if term.rare { 3 } else { 2 };
            let packed = row.get_ref(at)?.as_blob()?;
            let found = match term.rare {
                true => find_rare(packed, term.print),
                false => find_common(packed, term.print),
            };
            places.keep_those_in(&found.ok_or_else(|| unreadable(at))?);
        }
        Ok((places, true))
    }
}

/// Up to so many places are a list, more are a bit each.
const LIST_MAX: u16 = 63;

/// Each print with how many places follow, in the order of the prints.
fn pack_common(common: &BTreeMap<u64, Places>) -> Vec<u8> {
    let mut packed = Vec::new();
    for (print, places) in common {
        let count = u16::try_from(places.iter().count()).unwrap_or(u16::MAX);
        packed.extend_from_slice(&print.to_be_bytes());
        packed.extend_from_slice(&count.to_be_bytes());
        if count <= LIST_MAX {
            places.iter().for_each(|place| packed.extend_from_slice(&place.to_be_bytes()));
        } else {
            places.0.iter().for_each(|bits| packed.extend_from_slice(&bits.to_be_bytes()));
        }
    }
    packed
}

/// One print with its places; the input is moved behind it.
fn read_common(input: &mut &[u8]) -> Option<(u64, Places)> {
    let print = u64::from_be_bytes(*input.split_off(..8)?.first_chunk()?);
    let count = u16::from_be_bytes(*input.split_off(..2)?.first_chunk()?);
    let mut places = Places::NONE;
    if count <= LIST_MAX {
        for place in input.split_off(..usize::from(count) * 2)?.as_chunks::<2>().0 {
            places.insert(u16::from_be_bytes(*place) % 1024);
        }
    } else {
        let bits = input.split_off(..EVENTS / 8)?;
        for (bits, packed) in places.0.iter_mut().zip(bits.as_chunks::<8>().0) {
            *bits = u64::from_be_bytes(*packed);
        }
    }
    Some((print, places))
}

fn unpack_common(mut packed: &[u8]) -> Option<BTreeMap<u64, Places>> {
    let mut common = BTreeMap::new();
    while !packed.is_empty() {
        let (print, places) = read_common(&mut packed)?;
        common.insert(print, places);
    }
    Some(common)
}

fn find_common(mut packed: &[u8], print: u64) -> Option<Places> {
    while !packed.is_empty() {
        let (found, places) = read_common(&mut packed)?;
        if found == print {
            return Some(places);
        }
    }
    Some(Places::NONE)
}

/// A print and a place.
const RARE: usize = 10;

fn pack_rare(rare: &[(u64, u16)]) -> Vec<u8> {
    let mut sorted = rare.to_vec();
    sorted.sort_unstable();
    let mut packed = Vec::with_capacity(sorted.len() * RARE);
    for (print, place) in sorted {
        packed.extend_from_slice(&print.to_be_bytes());
        packed.extend_from_slice(&place.to_be_bytes());
    }
    packed
}

fn unpack_rare(packed: &[u8]) -> Vec<(u64, u16)> {
    let split = |row: &[u8; RARE]| {
        let [a, b, c, d, e, f, g, h, place @ ..] = *row;
        (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u16::from_be_bytes(place))
    };
    packed.as_chunks::<RARE>().0.iter().map(split).collect()
}

fn find_rare(packed: &[u8], print: u64) -> Option<Places> {
    let (rows, rest) = packed.as_chunks::<RARE>();
    let print = print.to_be_bytes();
    let from = rows.partition_point(|row| row[..8] < print[..]);
    let mut places = Places::NONE;
    for row in rows[from..].iter().take_while(|row| row[..8] == print[..]) {
        places.insert(u16::from_be_bytes([row[8], row[9]]) % 1024);
    }
    rest.is_empty().then_some(places)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

    use proptest::prelude::*;

    use super::*;

    fn places(of: &[u16]) -> Places {
        let mut places = Places::NONE;
        of.iter().for_each(|place| places.insert(*place));
        places
    }

    proptest! {
        #[test]
        fn what_was_packed_is_found(
            common in prop::collection::btree_map(0..50_u64, prop::collection::vec(0..1024_u16, 1..200), 0..20),
            rare in prop::collection::vec((0..50_u64, 0..1024_u16), 0..100),
        ) {
            let common: BTreeMap<_, _> =
                common.into_iter().map(|(print, of)| (print, places(&of))).collect();
            let (packed, packed_rare) = (pack_common(&common), pack_rare(&rare));
            prop_assert_eq!(unpack_common(&packed).unwrap(), common.clone());
            for print in 0..50 {
                let expected = common.get(&print).cloned().unwrap_or(Places::NONE);
                prop_assert_eq!(find_common(&packed, print).unwrap(), expected);
                let of: Vec<_> = rare.iter().filter(|row| row.0 == print).map(|row| row.1).collect();
                prop_assert_eq!(find_rare(&packed_rare, print).unwrap(), places(&of));
            }
        }

        #[test]
        fn damage_is_no_panic(packed: Vec<u8>, print: u64) {
            let _ = (find_common(&packed, print), find_rare(&packed, print), unpack_common(&packed));
        }
    }
}

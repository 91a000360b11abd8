//! Fresh deliveries: those that nothing has happened to but what happens to most. They are due from the
//! commit of their event on, are leased once, and done by that attempt. Such a delivery has no row in
//! `deliveries`: its event's parcel names the plugin, and the record of its attempt says that it is done.
//!
//! Anything else gives it a row, and from then on it is as all with rows are: a retry, a death, a lease that
//! was lost or given back. Deliveries with an order key, and those of replays, have a row from the start.
//!
//! What is left to keep is small and written with each commit, in the one row of `totals`: where each
//! plugin's deliveries begin that were not leased yet (`fronts`), and which are leased (`leases`). A fresh
//! delivery is done if its attempt is recorded, leased if it is in `leases`, and due otherwise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hookweir_event::{PluginName, Timestamp};
use rusqlite::Connection;

use super::{
    blocks::{Asked, block_of, first_of},
    codec,
    deliver::unreadable,
    fault::Fault,
    parcels::{self, Parcel, Parcels, Part, Walk},
    schema::{child_key, parent_key},
};
use crate::term::Term;

/// So many deliveries of a plugin are known by heart: 16 bytes each. The others are found when these are
/// leased.
const KNOWN_MAX: usize = 4096;
/// So many events are looked through for them at once, and so many blocks are stepped over.
const LOOK_EVENTS: usize = 8192;
const LOOK_BLOCKS: usize = 512;
/// So many leases are kept in `totals`; what is leased beyond that gets a row.
pub(super) const LEASES_MAX: usize = 2048;

/// A fresh delivery that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) delivery: i64,
    /// Since its event was committed.
    pub(super) at: Timestamp,
}

/// A fresh delivery that is leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) plugin: i64,
    pub(super) due_at: Timestamp,
    pub(super) leased_at: Timestamp,
}

/// The due deliveries of one plugin.
#[derive(Debug, Clone, Default)]
struct Line {
    /// In the order of their keys: the first of all that are due.
    known: VecDeque<Due>,
    /// Events from this one on have not been looked at. None: all have.
    unseen: Option<i64>,
}

/// Where a plugin's due deliveries begin, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Front {
    pub(super) plugin: i64,
    /// The first event that owes it one.
    pub(super) event: i64,
}

/// The writer's view of the fresh deliveries.
#[derive(Debug, Clone, Default)]
pub(super) struct Fresh {
    /// By plugin. One that is not here has none.
    lines: BTreeMap<i64, Line>,
    leases: BTreeMap<i64, Held>,
    /// Who holds them.
    boot: i64,
    /// Whether something of it is not written down. The totals alone do not tell: a lease beside a delivery
    /// that is due again leaves all of them as they were.
    changed: bool,
    /// Whether a transaction was rolled back, so that all of this is to be read anew.
    stale: bool,
}

impl Fresh {
    /// As the database has it. The leases of another boot are answered apart.
    pub(super) fn read(
        connection: &Connection,
        parcels: &mut Parcels,
        boot: i64,
    ) -> Result<(Self, Vec<(i64, Held)>), Fault> {
        let sql = "SELECT fronts, leases FROM totals";
        let (fronts, leases): (Vec<u8>, Vec<u8>) =
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let fronts = read_fronts(&fronts).ok_or_else(|| unreadable(0))?;
        let (holder, leases) = read_leases(&leases).ok_or_else(|| unreadable(1))?;
        let line =
            |Front { event, .. }: Front| Line { known: VecDeque::new(), unseen: Some(event) };
        let lines = fronts.into_iter().map(|front| (front.plugin, line(front))).collect();
        let mut held = BTreeMap::new();
        for (delivery, leased_at) in leases {
            let event = parent_key(delivery);
            // By the directory alone: what an event says may be damaged.
            let found = parcels.entry(connection, event, |parcel, entry| {
                let nth = usize::try_from(delivery - child_key(event, 0)).unwrap_or(usize::MAX);
                let plugin = *entry.plugins.get(nth)?;
                Some(Held { plugin, due_at: parcel.committed_at, leased_at })
            })?;
            held.insert(delivery, found.flatten().ok_or_else(|| unreadable(1))?);
        }
        let (leases, foreign) = match holder == boot {
            true => (held, Vec::new()),
            false => (BTreeMap::new(), held.into_iter().collect()),
        };
        Ok((Self { lines, leases, boot, changed: false, stale: false }, foreign))
    }

    /// An event was added that owes a delivery to the plugin: one, since where a plugin's due ones begin is
    /// said by the event.
    pub(super) fn add(&mut self, plugin: i64, delivery: i64, at: Timestamp) {
        self.changed = true;
        let line = self.lines.entry(plugin).or_default();
        if line.unseen.is_some() {
            return;
        }
        if line.known.len() == KNOWN_MAX {
            line.unseen = Some(parent_key(delivery));
        } else {
            line.known.push_back(Due { delivery, at });
        }
    }

    /// Up to `max` that are due, the first ones. Answers also whether there may be more that nobody has
    /// looked for yet.
    pub(super) fn due(
        &mut self,
        connection: &Connection,
        parcels: &mut Parcels,
        (plugin, name): (i64, &PluginName),
        max: usize,
    ) -> Result<(Vec<Due>, bool), Fault> {
        let Some(line) = self.lines.get_mut(&plugin) else { return Ok((Vec::new(), false)) };
        if line.known.len() < max && line.unseen.is_some() {
            // What the transaction added is looked for in the table, as all else is.
            parcels.write(connection)?;
            line.look(connection, (plugin, name))?;
        }
        let due: Vec<_> = line.known.iter().take(max).copied().collect();
        let more = due.len() < max && line.unseen.is_some();
        Ok((due, more))
    }

    /// The first `count` of a plugin's due ones are leased, or have rows now. Those that are too many to be kept
    /// here are answered; they need rows.
    pub(super) fn lease(
        &mut self,
        plugin: i64,
        count: usize,
        leased_at: Timestamp,
        has_row: impl Fn(i64) -> bool,
    ) -> Vec<(i64, Held)> {
        let Some(line) = self.lines.get_mut(&plugin) else { return Vec::new() };
        self.changed |= count > 0;
        let mut too_many = Vec::new();
        let leased = count.min(line.known.len());
        for Due { delivery, at } in line.known.drain(..leased) {
            if has_row(delivery) {
                continue;
            }
            let held = Held { plugin, due_at: at, leased_at };
            if self.leases.len() < LEASES_MAX {
                self.leases.insert(delivery, held);
            } else {
                too_many.push((delivery, held));
            }
        }
        if line.known.is_empty() && line.unseen.is_none() {
            self.lines.remove(&plugin);
        }
        too_many
    }

    /// The lease of a delivery, if it is this boot's and fresh.
    pub(super) fn held(&self, key: &crate::LeaseKey) -> Option<Held> {
        // A delivery that got a row had this turn.
        let ours = key.boot == self.boot && key.turn == 1;
        self.leases.get(&key.delivery).copied().filter(|_| ours)
    }

    /// A lease ends.
    pub(super) fn release(&mut self, delivery: i64) {
        self.leases.remove(&delivery);
        self.changed = true;
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// The transaction is on disk.
    pub(super) fn committed(&mut self) {
        self.changed = false;
    }

    /// The transaction never was.
    pub(super) fn rolled_back(&mut self) {
        self.stale = true;
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// As it is kept in `totals`.
    pub(super) fn fronts(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for (plugin, line) in &self.lines {
            let known = line.known.front().map(|due| parent_key(due.delivery));
            if let Some(front) = known.or(line.unseen) {
                codec::put_key(&mut out, *plugin);
                codec::put_key(&mut out, front);
            }
        }
        out
    }

    /// As they are kept in `totals`.
    pub(super) fn leases(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.leases.len() * 14);
        out.push(VERSION);
        codec::put_key(&mut out, self.boot);
        for (delivery, held) in &self.leases {
            codec::put_key(&mut out, *delivery);
            codec::put_key(&mut out, held.leased_at.as_millis());
        }
        out
    }
}

impl Line {
    /// Looks for more that are due, as far as a step goes.
    fn look(
        &mut self,
        connection: &Connection,
        (plugin, name): (i64, &PluginName),
    ) -> Result<(), Fault> {
        let sql = "SELECT coalesce(max(key), 0) FROM parcels";
        let newest: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        let asked = Asked { terms: vec![Term::plugin(name)], ..Asked::default() };
        let (mut looked, mut stepped, mut known_block) = (0, 0, None);
        while let Some(unseen) = self.unseen
            && looked < LOOK_EVENTS
            && stepped < LOOK_BLOCKS
            && self.known.len() < KNOWN_MAX
        {
            let (block, _) = block_of(unseen);
            if known_block != Some(block) {
                let nothing = asked.of(connection, block)?.0.is_empty();
                if nothing && first_of(block + 1) <= newest {
                    self.unseen = Some(first_of(block + 1));
                    stepped += 1;
                    continue;
                }
                known_block = Some(block);
            }
            let Some(parcel) = parcel_from(connection, unseen)? else {
                self.unseen = None;
                break;
            };
            looked += parcel.entries.len();
            for entry in parcel.entries.iter().filter(|entry| entry.key >= unseen) {
                if let Some(nth) = (0..).zip(&entry.plugins).find(|(_, owed)| **owed == plugin) {
                    let delivery = child_key(entry.key, nth.0);
                    self.known.push_back(Due { delivery, at: parcel.committed_at });
                }
                self.unseen = Some(entry.key + 1);
            }
        }
        Ok(())
    }
}

/// The first parcel that has events from this one on.
fn parcel_from(connection: &Connection, event: i64) -> rusqlite::Result<Option<Parcel>> {
    let mut found = None;
    parcels::walk(connection, event, Part::Directory, |parcel| {
        let last = parcel.entries.last();
        if last.is_none_or(|last| last.key < event) {
            return Ok(Walk::On);
        }
        found = Some(parcel);
        Ok(Walk::Enough)
    })?;
    Ok(found)
}

/// Which fresh deliveries are leased: for those who look on.
pub(super) fn leased(connection: &Connection) -> rusqlite::Result<BTreeSet<i64>> {
    Ok(leased_at(connection)?.into_keys().collect())
}

/// The same, with when they were.
pub(super) fn leased_at(connection: &Connection) -> rusqlite::Result<BTreeMap<i64, Timestamp>> {
    let blob: Vec<u8> =
        connection.prepare_cached("SELECT leases FROM totals")?.query_row([], |row| row.get(0))?;
    let (_, leases) = read_leases(&blob).ok_or_else(|| unreadable(0))?;
    Ok(leases.into_iter().collect())
}

/// Where each plugin's due ones begin: for those who look on. How many there are is not said here (`depths`).
pub(super) fn fronts(connection: &Connection) -> rusqlite::Result<Vec<Front>> {
    let blob: Vec<u8> =
        connection.prepare_cached("SELECT fronts FROM totals")?.query_row([], |row| row.get(0))?;
    read_fronts(&blob).ok_or_else(|| unreadable(0))
}

/// The first event that may have a fresh delivery that is due; none if there are no such deliveries.
pub(super) fn first_due(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    Ok(fronts(connection)?.into_iter().map(|front| front.event).min())
}

/// The version of the layout of the leases, and of the fronts.
const VERSION: u8 = 1;
/// A layout of the fronts in which each says how many it stands for, as schemas 9 and 10 were written.
const COUNTED: u8 = 2;

/// By plugin. An empty blob has none.
fn read_fronts(blob: &[u8]) -> Option<Vec<Front>> {
    let (mut input, counted) = match versioned(blob, VERSION) {
        Some(input) => (input, false),
        None => (versioned(blob, COUNTED)?, true),
    };
    let mut fronts = Vec::new();
    while !input.is_empty() {
        let [plugin, event] = [codec::key(&mut input)?, codec::key(&mut input)?];
        if counted {
            codec::key(&mut input)?;
        }
        fronts.push(Front { plugin, event });
    }
    Some(fronts)
}

/// The boot that holds the leases, and each with its time. An empty blob has none.
fn read_leases(blob: &[u8]) -> Option<(i64, Vec<(i64, Timestamp)>)> {
    let mut input = versioned(blob, VERSION)?;
    if input.is_empty() {
        return Some((0, Vec::new()));
    }
    let boot = codec::key(&mut input)?;
    let timed = |(delivery, at)| (delivery, Timestamp::from_millis(at));
    Some((boot, pairs(input)?.into_iter().map(timed).collect()))
}

fn versioned(blob: &[u8], version: u8) -> Option<&[u8]> {
    match blob {
        [] => Some(&[]),
        [found, rest @ ..] if *found == version => Some(rest),
        _ => None,
    }
}

fn pairs(mut input: &[u8]) -> Option<Vec<(i64, i64)>> {
    let mut pairs = Vec::new();
    while !input.is_empty() {
        pairs.push((codec::key(&mut input)?, codec::key(&mut input)?));
    }
    Some(pairs)
}

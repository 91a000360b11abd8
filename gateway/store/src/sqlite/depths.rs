//! How many deliveries of each plugin stand where, so that nobody ever has to count: kept by the writer, and
//! written in the one row of `totals`, which each commit writes anyway.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use hookweir_event::Timestamp;
use rusqlite::Connection;

use super::{
    codec,
    deliver::unreadable,
    folder_of, fresh,
    hold::Holds,
    look, memory,
    parcels::{self, Entry, Part, Walk},
    schema::{child_key, parent_key},
    stand,
};
use crate::{SqliteFile, Survey};

/// Where the deliveries of one plugin stand that are not done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Depth {
    pub(super) due: i64,
    pub(super) behind: i64,
    pub(super) leased: i64,
    pub(super) dead: i64,
}

/// The same of all plugins, by their keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Depths {
    plugins: BTreeMap<i64, Depth>,
    /// Those that are set aside, by plugin and by the origin that is, or was, held. They are in none of the others.
    aside: BTreeMap<(i64, i64), i64>,
    /// Whether something of it is not written down.
    changed: bool,
}

/// The version of the layout.
const VERSION: u8 = 2;
/// The one before, in which nothing is aside.
const WITHOUT_ASIDE: u8 = 1;
/// So many parcels are looked through for the first fresh delivery of a plugin that is due.
const PARCELS_MAX: usize = 256;

impl Depths {
    /// As the database has them. A database of an earlier schema is counted, once.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT depths FROM totals";
        let blob: Vec<u8> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        match &*blob {
            [] => Ok(Self { changed: true, ..Self::counted(connection)? }),
            [WITHOUT_ASIDE, rest @ ..] => {
                let plugins = read_without_aside(rest).ok_or_else(|| unreadable(0))?;
                Ok(Self { plugins, ..Self::default() })
            }
            [VERSION, rest @ ..] => read(rest).ok_or_else(|| unreadable(0)),
            _ => Err(unreadable(0)),
        }
    }

    /// Counts all there are.
    pub(super) fn counted(connection: &Connection) -> rusqlite::Result<Self> {
        let mut depths = Self::default();
        let leased = fresh::leased(connection)?;
        depths.count_rows(connection)?;
        // Fresh ones that are leased may lie before all that are due.
        let held = leased.first().map(|delivery| parent_key(*delivery));
        let first = held.into_iter().chain(fresh::first_due(connection)?).min();
        let Some(first) = first else { return Ok(depths) };
        parcels::walk(connection, first, Part::Directory, |parcel| {
            for entry in &parcel.entries {
                depths.count_fresh(connection, entry, &leased)?;
            }
            Ok(Walk::On)
        })?;
        Ok(depths)
    }

    fn count_rows(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let sql =
            "SELECT plugin, dead = 1, boot IS NOT NULL, standing IS 1, count(*), held FROM deliveries
                   WHERE settled_at IS NULL OR dead = 1 GROUP BY 1, 2, 3, 4, held";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (dead, leased, behind) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let (plugin, count): (i64, i64) = (row.get(0)?, row.get(4)?);
            if let Some(origin) = row.get(5)? {
                self.aside.insert((plugin, origin), count);
                continue;
            }
            let depth = self.of(plugin);
            match (dead, leased, behind) {
                (true, ..) => depth.dead += count,
                (_, true, _) => depth.leased += count,
                (.., true) => depth.behind += count,
                _ => depth.due += count,
            }
        }
        Ok(())
    }

    fn count_fresh(
        &mut self,
        connection: &Connection,
        entry: &Entry,
        leased: &BTreeSet<i64>,
    ) -> rusqlite::Result<()> {
        for (nth, plugin) in (0..).zip(&entry.plugins) {
            let key = child_key(entry.key, nth);
            if *plugin == 0 || has_row(connection, key)? {
                continue;
            }
            if leased.contains(&key) {
                self.of(*plugin).leased += 1;
            } else if !stand::is_done(connection, key)? {
                self.of(*plugin).due += 1;
            }
        }
        Ok(())
    }

    /// Those of one plugin.
    pub(super) fn get(&self, plugin: i64) -> Depth {
        self.plugins.get(&plugin).copied().unwrap_or_default()
    }

    /// The same, which are about to change.
    pub(super) fn of(&mut self, plugin: i64) -> &mut Depth {
        self.changed = true;
        self.plugins.entry(plugin).or_default()
    }

    /// How many of a plugin's are aside for an origin.
    pub(super) fn aside(&self, plugin: i64, origin: i64) -> i64 {
        self.aside.get(&(plugin, origin)).copied().unwrap_or(0)
    }

    /// The same of all plugins.
    pub(super) fn aside_of(&self, origin: i64) -> i64 {
        self.aside.iter().filter(|((_, of), _)| *of == origin).map(|(_, count)| count).sum()
    }

    /// Whether any of a plugin's are aside.
    pub(super) fn has_aside(&self, plugin: i64) -> bool {
        self.aside.range((plugin, i64::MIN)..=(plugin, i64::MAX)).next().is_some()
    }

    /// So many that were due are aside now; if negative, are due again.
    pub(super) fn set_aside(&mut self, plugin: i64, origin: i64, count: i64) {
        self.of(plugin).due -= count;
        let aside = self.aside.entry((plugin, origin)).or_default();
        *aside += count;
        if *aside == 0 {
            self.aside.remove(&(plugin, origin));
        }
    }

    /// Of those of a plugin that are aside: how many are held, how many may go on, and since when.
    pub(super) fn kept_aside(&self, plugin: i64, holds: &Holds) -> (u64, u64, Option<Timestamp>) {
        let (mut held, mut let_go, mut since) = (0, 0, None);
        for ((_, origin), aside) in self.aside.range((plugin, i64::MIN)..=(plugin, i64::MAX)) {
            match holds.lifted_at(*origin) {
                None => held += count(*aside),
                Some(at) => {
                    let_go += count(*aside);
                    since = since.into_iter().chain([at]).min();
                }
            }
        }
        (held, let_go, since)
    }

    /// The plugins that have any that are not done.
    fn known(&self) -> BTreeSet<i64> {
        let deep = self.plugins.iter().filter(|(_, depth)| **depth != Depth::default());
        deep.map(|(plugin, _)| *plugin)
            .chain(self.aside.keys().map(|(plugin, _)| *plugin))
            .collect()
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// The transaction is on disk.
    pub(super) fn committed(&mut self) {
        self.changed = false;
        self.plugins.retain(|_, depth| *depth != Depth::default());
    }

    /// As they are kept in `totals`.
    pub(super) fn blob(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        codec::put_key(&mut out, i64::try_from(self.plugins.len()).unwrap_or(i64::MAX));
        for (plugin, depth) in &self.plugins {
            let Depth { due, behind, leased, dead } = *depth;
            for number in [*plugin, due, behind, leased, dead] {
                codec::put_key(&mut out, number);
            }
        }
        for ((plugin, origin), aside) in &self.aside {
            for number in [*plugin, *origin, *aside] {
                codec::put_key(&mut out, number);
            }
        }
        out
    }

    /// By how many deliveries the two differ.
    pub(super) fn differing(&self, other: &Self) -> i64 {
        let plugins: BTreeSet<_> = self.plugins.keys().chain(other.plugins.keys()).collect();
        let between = |plugin: &i64| {
            let (one, other) = (self.get(*plugin), other.get(*plugin));
            (one.due - other.due).abs()
                + (one.behind - other.behind).abs()
                + (one.leased - other.leased).abs()
                + (one.dead - other.dead).abs()
        };
        let kept: BTreeSet<_> = self.aside.keys().chain(other.aside.keys()).copied().collect();
        let aside = kept.into_iter().map(|(plugin, origin)| {
            (self.aside(plugin, origin) - other.aside(plugin, origin)).abs()
        });
        plugins.into_iter().map(between).sum::<i64>() + aside.sum::<i64>()
    }
}

fn read(mut input: &[u8]) -> Option<Depths> {
    let count = codec::key(&mut input)?;
    let plugins = (0..count).map(|_| read_depth(&mut input)).collect::<Option<_>>()?;
    let mut aside = BTreeMap::new();
    while !input.is_empty() {
        let mut next = || codec::key(&mut input);
        aside.insert((next()?, next()?), next()?);
    }
    Some(Depths { plugins, aside, changed: false })
}

fn read_without_aside(mut input: &[u8]) -> Option<BTreeMap<i64, Depth>> {
    let mut plugins = BTreeMap::new();
    while !input.is_empty() {
        plugins.extend([read_depth(&mut input)?]);
    }
    Some(plugins)
}

fn read_depth(input: &mut &[u8]) -> Option<(i64, Depth)> {
    let mut next = || codec::key(input);
    let (plugin, due, behind) = (next()?, next()?, next()?);
    Some((plugin, Depth { due, behind, leased: next()?, dead: next()? }))
}

fn has_row(connection: &Connection, delivery: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE key = ?1)";
    connection.prepare_cached(sql)?.query_row([delivery], |row| row.get(0))
}

/// How the store stands.
pub(crate) fn survey(connection: &Connection, file: &SqliteFile) -> rusqlite::Result<Survey> {
    let mut log = file.path.clone().into_os_string();
    log.push("-wal");
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let (depths, holds) = (Depths::read(connection)?, Holds::read(connection)?);
    let known = depths.known().into_iter();
    let shown = known.map(|plugin| shown(connection, plugin, &depths, &holds));
    Ok(Survey {
        counts: look::counts(connection)?,
        depths: shown.collect::<rusqlite::Result<_>>()?,
        database_bytes: length(&file.path),
        log_bytes: length(Path::new(&log)),
        disk_free_bytes: file.room.left(folder_of(&file.path)),
        standbys: None,
    })
}

/// A number of deliveries.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn shown(
    connection: &Connection,
    plugin: i64,
    depths: &Depths,
    holds: &Holds,
) -> rusqlite::Result<crate::Depth> {
    let Depth { due, behind, leased, dead } = depths.get(plugin);
    let (held, let_go, lifted_at) = depths.kept_aside(plugin, holds);
    let due_at = match due {
        0 => None,
        _ => {
            let (row, fresh) = (due_row(connection, plugin)?, due_fresh(connection, plugin)?);
            row.into_iter().chain(fresh).min()
        }
    };
    Ok(crate::Depth {
        plugin: memory::plugin_name(connection, plugin)?,
        due: count(due) + let_go,
        behind: count(behind),
        held,
        let_go,
        leased: count(leased),
        dead: count(dead),
        due_at: due_at.into_iter().chain(lifted_at).min(),
    })
}

/// When the first of a plugin's deliveries with a row is due; what a hold kept, since it was lifted. Those that are
/// leased stand at the front of the index; they are as many as may run at a time.
fn due_row(connection: &Connection, plugin: i64) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT due_at, max(due_at, coalesce(let_go_at, due_at)) FROM deliveries
               WHERE plugin = ?1 AND settled_at IS NULL AND standing IS NOT 1 AND held IS NULL
               AND boot IS NULL
               ORDER BY due_at";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([plugin])?;
    let mut first: Option<i64> = None;
    while let Some(row) = rows.next()? {
        let due_at: i64 = row.get(0)?;
        if first.is_some_and(|first| first <= due_at) {
            break;
        }
        first = first.into_iter().chain([row.get(1)?]).min();
    }
    Ok(first.map(Timestamp::from_millis))
}

/// Since when the first of a plugin's fresh deliveries is due. Where so many parcels hold none of it, it is
/// said to be due since the last of those: it is no longer.
fn due_fresh(connection: &Connection, plugin: i64) -> rusqlite::Result<Option<Timestamp>> {
    let fronts = fresh::fronts(connection)?;
    let Some(front) = fronts.iter().find(|front| front.plugin == plugin) else { return Ok(None) };
    let front = front.event;
    let (mut looked, mut found) = (0, None);
    parcels::walk(connection, front, Part::Directory, |parcel| {
        looked += 1;
        let from = parcel.entries.iter().filter(|entry| entry.key >= front);
        let is_owed = from.into_iter().any(|entry| entry.plugins.contains(&plugin));
        if is_owed || looked == PARCELS_MAX {
            found = Some(parcel.committed_at);
            return Ok(Walk::Enough);
        }
        Ok(Walk::On)
    })?;
    Ok(found)
}

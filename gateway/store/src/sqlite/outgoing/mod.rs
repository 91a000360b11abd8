//! Hands over everything that is in a file, for another engine to keep (`copy`).
//!
//! No gateway has it open meanwhile: the lock is held. It is read as it is, in one snapshot, and nothing of it is changed.
//! What is not in the order in which it is asked for is sorted first, into temporary tables, which are files of SQLite's own.

mod events;

use std::{collections::HashMap, fs::File};

use hookweir_event::{Digest, Timestamp};
use rusqlite::{Connection, Row, params, types::ValueRef};

use super::{
    care::{self, CareError},
    claims,
    deliver::{is_unreadable, unreadable},
    lock,
    open::recognise,
    schema,
};
use crate::{
    SqliteFile,
    copy::{
        ClaimRow, CopyError, EntryRow, Fields, HoldRow, Id, Identity, Marks, NoticeRow, Page, Part,
        PauseRow, PluginRow, Position, TOTALS,
    },
};

/// A store that is handed over.
pub(crate) struct Outgoing {
    connection: Connection,
    file: SqliteFile,
    identity: Identity,
    marks: Marks,
    names: Names,
    _lock: File,
}

/// The names behind the keys of those tables that have few rows.
struct Names {
    origins: HashMap<i64, String>,
    plugins: HashMap<i64, String>,
    versions: HashMap<i64, Vec<u8>>,
}

impl Names {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            origins: named(connection, "origins")?,
            plugins: named(connection, "plugins")?,
            versions: named(connection, "versions")?,
        })
    }

    fn origin(&self, key: i64) -> rusqlite::Result<String> {
        self.origins.get(&key).cloned().ok_or_else(|| unreadable(0))
    }

    fn plugin(&self, key: i64) -> rusqlite::Result<String> {
        self.plugins.get(&key).cloned().ok_or_else(|| unreadable(0))
    }

    fn version(&self, key: i64) -> rusqlite::Result<Vec<u8>> {
        self.versions.get(&key).cloned().ok_or_else(|| unreadable(0))
    }
}

fn named<N: rusqlite::types::FromSql>(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<HashMap<i64, N>> {
    let mut statement = connection.prepare(&format!("SELECT key, name FROM {table}"))?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Claims by their event, and by themselves; and the places that deliveries have in their lines, counted anew: the
/// events' own keys, by which they are in order here, are no places elsewhere, since several may have the same.
const SORTED: &str = "
CREATE TEMP TABLE claimed(claim BLOB NOT NULL, event INTEGER NOT NULL, expires_at INTEGER NOT NULL);
CREATE TEMP TABLE places(key INTEGER PRIMARY KEY, place INTEGER NOT NULL);
INSERT INTO temp.places
    SELECT key, row_number() OVER (PARTITION BY plugin, order_key ORDER BY place, key)
    FROM main.deliveries WHERE order_key IS NOT NULL ORDER BY key;
";
const INDEXES: &str = "
CREATE INDEX temp.claimed_by ON claimed(event, claim, expires_at);
CREATE INDEX temp.claimed_as ON claimed(claim, expires_at, event);
";

impl Outgoing {
    /// Takes the lock of a store, and looks whether this version can read it.
    pub(crate) fn open(file: &SqliteFile) -> Result<Self, CopyError> {
        let connection = care::read_only(&file.path)?;
        let lock = lock(&file.path).map_err(CareError::from)?;
        let found = recognise(&connection, &file.path).map_err(CareError::from)?;
        if found != schema::NEWEST {
            return Err(CopyError::OlderSchema { found, known: schema::NEWEST });
        }
        let opened = (|| {
            // In files, however much there is to sort.
            connection.pragma_update(None, "temp_store", "file")?;
            connection.execute_batch("BEGIN")?;
            let (identity, marks) = (identity(&connection)?, marks(&connection)?);
            Ok((identity, marks, Names::read(&connection)?))
        })();
        let (identity, marks, names) = opened.map_err(|error| fault(file, error))?;
        Ok(Self { connection, file: file.clone(), identity, marks, names, _lock: lock })
    }

    /// Which store it is, and in which state.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where its counts go on.
    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Sorts what has to be sorted. To be done once, before the first page.
    pub(crate) fn prepare(&self) -> Result<(), CopyError> {
        let sort = || {
            self.connection.execute_batch(SORTED)?;
            let sql = "INSERT INTO temp.claimed (claim, event, expires_at) VALUES (?1, ?2, ?3)";
            let mut statement = self.connection.prepare(sql)?;
            claims::each(&self.connection, |claim, expires_at, event| {
                statement.execute(params![claim, event, expires_at.as_millis()])?;
                Ok(())
            })?;
            self.connection.execute_batch(INDEXES)
        };
        sort().map_err(|error| self.fault(error))
    }

    /// How many events and entries of state it has.
    pub(crate) fn size(&self) -> Result<u64, CopyError> {
        let sql = "SELECT events + (SELECT count(*) FROM state) FROM totals";
        let size = self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(size.map_err(|error| self.fault(error))?.unsigned_abs())
    }

    /// What it says that it has, in the order of [`TOTALS`].
    pub(crate) fn totals(&self) -> Result<[i64; TOTALS.len()], CopyError> {
        let sql = format!("SELECT {} FROM totals", TOTALS.join(", "));
        let read = |row: &Row<'_>| {
            let mut totals = [0; TOTALS.len()];
            for (at, total) in totals.iter_mut().enumerate() {
                *total = row.get(at)?;
            }
            Ok(totals)
        };
        self.connection.query_row(&sql, [], read).map_err(|error| self.fault(error))
    }

    /// What is behind a position, up to so many rows, and the position behind it.
    pub(crate) fn page(&self, from: Position, rows: usize) -> Result<(Page, Position), CopyError> {
        let mut page = Page::default();
        let last = match from.part {
            Part::Events => self.events(&mut page, from.at, rows),
            Part::Departed => self.departed(&mut page, from.at, rows),
            Part::State => self.state(&mut page, from.at, rows),
            Part::Rest => self.rest(&mut page).map(|()| None),
            Part::End => Ok(None),
        };
        let next = match last.map_err(|error| self.fault(error))? {
            Some(last) => Position { at: last, ..from },
            None => Position::start(match from.part {
                Part::Events => Part::Departed,
                Part::Departed => Part::State,
                Part::State => Part::Rest,
                Part::Rest | Part::End => Part::End,
            }),
        };
        Ok((page, next))
    }

    /// Dedupe keys of events that are gone. Answers the last of those that were looked at, if there may be more.
    fn departed(&self, page: &mut Page, after: i64, rows: usize) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT key, id FROM departed WHERE key > ?1 ORDER BY key";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query([after])?;
        let mut last = after;
        while let Some(row) = found.next()? {
            if page.claims.len() >= rows {
                return Ok(Some(last));
            }
            last = row.get(0)?;
            self.claims(page, last, row.get(1)?, &mut Vec::new())?;
        }
        Ok(None)
    }

    /// The claims of an event: to `all` of them, and to the page those that no other event had later.
    ///
    /// A claim is taken only when it has expired, so who has it until the latest had it last. One whose event nobody
    /// knows any more has expired, and is left.
    fn claims(
        &self,
        page: &mut Page,
        key: i64,
        event: Id,
        all: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        let sql = "SELECT DISTINCT c.claim, c.expires_at, EXISTS (
                       SELECT 1 FROM temp.claimed AS l
                       WHERE l.claim = c.claim AND (l.expires_at, l.event) > (c.expires_at, c.event))
                   FROM temp.claimed AS c WHERE c.event = ?1 ORDER BY c.claim";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query([key])?;
        while let Some(row) = found.next()? {
            let claim: Vec<u8> = row.get(0)?;
            all.extend_from_slice(&claim);
            let taken_again: bool = row.get(2)?;
            if !taken_again {
                page.claims.push(ClaimRow { claim, event, expires_at: row.get(1)? });
            }
        }
        Ok(())
    }

    /// Entries of plugins' state. Answers the last one, if there may be more.
    fn state(&self, page: &mut Page, after: i64, rows: usize) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT key, plugin, name, version, value, expires_at FROM state
                   WHERE key > ?1 ORDER BY key";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query([after])?;
        let mut last = after;
        while let Some(row) = found.next()? {
            if page.is_full(rows) {
                return Ok(Some(last));
            }
            last = row.get(0)?;
            let entry = EntryRow {
                plugin: self.names.plugin(row.get(1)?)?,
                name: text(row, 2)?,
                version: row.get(3)?,
                value: row.get(4)?,
                expires_at: row.get(5)?,
            };
            page.bytes += entry.name.len() + entry.value.len();
            page.entries.push(entry);
        }
        Ok(None)
    }

    /// What is little.
    fn rest(&self, page: &mut Page) -> rusqlite::Result<()> {
        page.plugins = self.all("SELECT name, state_bytes FROM plugins", |row| {
            Ok(PluginRow { name: row.get(0)?, state_bytes: row.get(1)? })
        })?;
        page.pauses = self.all("SELECT kind, name, since, by, why FROM pauses", |row| {
            Ok(PauseRow {
                kind: row.get(0)?,
                name: row.get(1)?,
                since: row.get(2)?,
                by: text(row, 3)?,
                why: text_if_any(row, 4)?,
            })
        })?;
        page.holds = self.all("SELECT origin, lifted_at FROM holds", |row| {
            Ok(HoldRow { origin: self.names.origin(row.get(0)?)?, lifted_at: row.get(1)? })
        })?;
        let sql = "SELECT name, raised_at, cleared_at, event, body FROM notices";
        page.notices = self.all(sql, |row| {
            Ok(NoticeRow {
                name: text(row, 0)?,
                raised_at: row.get(1)?,
                cleared_at: row.get(2)?,
                event: row.get(3)?,
                body: row.get(4)?,
            })
        })?;
        Ok(())
    }

    fn all<T>(
        &self,
        sql: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.connection.prepare(sql)?.query_map([], read)?.collect()
    }

    fn fault(&self, error: rusqlite::Error) -> CopyError {
        fault(&self.file, error)
    }
}

fn fault(file: &SqliteFile, error: rusqlite::Error) -> CopyError {
    CopyError::Source(match is_unreadable(&error) {
        true => CareError::Damaged {
            path: file.path.clone(),
            damage: vec!["something in it can't be read; `hookweir store check` says what".into()],
        },
        false => CareError::Database(error),
    })
}

/// A column of text as bytes.
fn text(row: &Row<'_>, at: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(row.get_ref(at)?.as_str()?.as_bytes().to_vec())
}

fn text_if_any(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Vec<u8>>> {
    Ok(row.get_ref(at)?.as_str_or_null()?.map(|text| text.as_bytes().to_vec()))
}

/// The first gateway that ever had the store open is no other store's. Whoever had it open later is in the same table,
/// and what was committed is in the totals: so nobody had it open in between, if both are what they were.
fn identity(connection: &Connection) -> rusqlite::Result<Identity> {
    let mut fields = Fields::default();
    let mut statement = connection.prepare("SELECT name FROM boots ORDER BY key")?;
    let mut boots = statement.query([])?;
    let mut first = None;
    while let Some(row) = boots.next()? {
        let name = row.get_ref(0)?.as_blob()?;
        first = first.or_else(|| name.try_into().ok());
        fields.blobs(&[name]);
    }
    let mut statement = connection.prepare("SELECT * FROM totals")?;
    let columns = statement.column_count();
    let mut totals = statement.query([])?;
    while let Some(row) = totals.next()? {
        for at in 0..columns {
            match row.get_ref(at)? {
                ValueRef::Integer(number) => fields.numbers(&[number]),
                other => fields.blobs(&[other.as_blob()?]),
            }
        }
    }
    let store = first.ok_or_else(|| unreadable(0))?;
    Ok(Identity { store, state: Digest::of(fields.bytes()) })
}

fn marks(connection: &Connection) -> rusqlite::Result<Marks> {
    let sql = "SELECT next_event, next_version, clock FROM totals";
    connection.query_row(sql, [], |row| {
        let clock = Timestamp::from_millis(row.get(2)?);
        Ok(Marks { next_event: row.get(0)?, next_version: row.get(1)?, clock })
    })
}

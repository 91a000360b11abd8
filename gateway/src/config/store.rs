//! `[store]`: where events are kept, and for how long.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use hookweir_store::{Location, PostgresDatabase, Retention, Room, SqliteFile};

use super::{
    read::{Node, Section},
    secret::Secrets,
    server::set,
    units,
};

/// Where events are kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Where they are.
    pub place: Place,
    /// What is kept of events that are over.
    pub retention: Retention,
}

/// Where events are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File(FilePlace),
    /// In a database that other gateways may use too.
    Database(DatabasePlace),
}

/// A file of SQLite's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlace {
    /// The file; its folder is the data folder.
    pub path: PathBuf,
    /// Bytes that have to be left on its disk for events to be taken.
    pub disk_free_min: u64,
    /// Bytes that have to be left for events of sources whose priority is low.
    pub disk_free_low: u64,
}

/// A database of PostgreSQL's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabasePlace {
    /// Which, and how it is used. Its address can be.
    pub database: PostgresDatabase,
    /// The data folder: what this gateway keeps for itself.
    pub dir: PathBuf,
}

/// Each commit under way is a connection, and a server has a hundred where nobody says otherwise.
const IN_FLIGHT_MAX: u64 = 64;
/// What PostgreSQL cuts longer names to (`NAMEDATALEN`).
const NAME_MAX: usize = 63;

const DATABASE_KEYS: [&str; 5] = ["schema", "ca", "in_flight", "allow_data_loss", "dir"];
const FILE_KEYS: [&str; 2] = ["disk_free_min", "disk_free_low"];

impl StoreConfig {
    pub(super) fn read(section: Option<Section<'_, '_>>, secrets: &Secrets<'_>) -> Self {
        let (place, retention) = (Place::File(FilePlace::new(secrets)), Retention::default());
        let mut config = Self { place, retention };
        let Some(section) = section else { return config };
        let url = section.get("url");
        let database = url.as_ref().filter(|url| names_database(url));
        config.place = match database {
            Some(url) => Place::Database(DatabasePlace::read(&section, url, secrets)),
            None => Place::File(FilePlace::read(&section, url.as_ref(), secrets)),
        };
        let age = |key| section.get(key).and_then(|node| node.parsed(units::duration));
        let most = |key| section.get(key).and_then(|node| node.parsed(units::size));
        let Retention { done, dead } = &mut config.retention;
        set(&mut done.age, age("keep_done"));
        set(&mut done.bytes, most("keep_done_max"));
        set(&mut dead.age, age("keep_dead"));
        set(&mut dead.bytes, most("keep_dead_max"));
        section.finish();
        config
    }

    /// The folder that holds everything the gateway writes beside what is in the store's place.
    pub fn data_folder(&self) -> &Path {
        match &self.place {
            Place::File(file) => file.path.parent().unwrap_or(Path::new(".")),
            Place::Database(database) => &database.dir,
        }
    }

    /// What the store is opened with.
    pub fn location(&self) -> Location {
        match &self.place {
            Place::File(FilePlace { path, disk_free_min, .. }) => {
                let room = Room::least(*disk_free_min);
                SqliteFile { room, ..SqliteFile::new(path) }.into()
            }
            Place::Database(DatabasePlace { database, .. }) => database.clone().into(),
        }
    }

    /// Its file, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::File(file) => Some(&file.path),
            Place::Database(_) => None,
        }
    }

    /// Bytes that have to be left on the disk for events to be taken. PostgreSQL's server looks after its own.
    pub fn disk_free_min(&self) -> u64 {
        match &self.place {
            Place::File(file) => file.disk_free_min,
            Place::Database(_) => 0,
        }
    }

    /// Bytes that have to be left for events of sources whose priority is low.
    pub fn disk_free_low(&self) -> u64 {
        match &self.place {
            Place::File(file) => file.disk_free_low,
            Place::Database(_) => 0,
        }
    }

    /// What differs in a way that only a restart can follow: all but what low priorities leave free.
    pub(super) fn needs_restart(&self, new: &Self) -> Vec<(&'static str, bool)> {
        let mut differences = vec![("store.keep", self.retention != new.retention)];
        match (&self.place, &new.place) {
            (Place::File(old), Place::File(new)) => differences.extend([
                ("store.url", old.path != new.path),
                ("store.disk_free_min", old.disk_free_min != new.disk_free_min),
            ]),
            (Place::Database(old), Place::Database(new)) => {
                let PostgresDatabase { url, schema, ca, in_flight, may_lose, time: _, days: _ } =
                    &old.database;
                differences.extend([
                    ("store.url", *url != new.database.url),
                    ("store.schema", *schema != new.database.schema),
                    ("store.ca", *ca != new.database.ca),
                    ("store.in_flight", *in_flight != new.database.in_flight),
                    ("store.allow_data_loss", *may_lose != new.database.may_lose),
                    ("store.dir", old.dir != new.dir),
                ]);
            }
            _ => differences.push(("store.url", true)),
        }
        differences
    }
}

/// Where a store is of which nothing else is asked.
pub(super) struct Whereabouts {
    /// Its file, if it is in one.
    pub(super) file: Option<PathBuf>,
    /// The data folder.
    pub(super) data_folder: PathBuf,
}

impl Whereabouts {
    /// Reads no secret: the address of a database may be one.
    pub(super) fn read(section: Option<&Section<'_, '_>>, files: &Secrets<'_>) -> Self {
        let url = section.and_then(|section| section.get("url"));
        if let (Some(section), Some(_)) = (section, url.as_ref().filter(|url| names_database(url)))
        {
            let dir = section.get("dir").and_then(|node| node.text());
            return Self { file: None, data_folder: files.path(dir.unwrap_or("data")) };
        }
        let path = url.as_ref().and_then(|node| node.parsed(sqlite_path));
        let path = path.map(|path| files.path(&path));
        let path = path.unwrap_or_else(|| FilePlace::new(files).path);
        let data_folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        Self { file: Some(path), data_folder }
    }
}

impl fmt::Display for StoreConfig {
    /// Where it is, without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(file) => file.path.display().fmt(f),
            Place::Database(DatabasePlace { database, .. }) => {
                write!(f, "{database}, schema {}", database.schema)
            }
        }
    }
}

/// Whether the store's address is, or may be, that of a database: a secret is no file's.
fn names_database(url: &Node<'_, '_>) -> bool {
    url.is_table() || (url.is_text() && url.text().is_some_and(|text| text.starts_with("postgres")))
}

impl FilePlace {
    fn new(files: &Secrets<'_>) -> Self {
        let path = files.path("data/hookweir.db");
        Self { path, disk_free_min: 256 << 20, disk_free_low: 512 << 20 }
    }

    fn read(section: &Section<'_, '_>, url: Option<&Node<'_, '_>>, files: &Secrets<'_>) -> Self {
        let mut place = Self::new(files);
        let path = url.and_then(|node| node.parsed(sqlite_path));
        set(&mut place.path, path.map(|path| files.path(&path)));
        let least = section.get("disk_free_min").and_then(|node| node.parsed(units::size));
        set(&mut place.disk_free_min, least);
        let low = section.get("disk_free_low").and_then(|node| node.parsed(units::size));
        place.disk_free_low = low.unwrap_or(place.disk_free_min.saturating_mul(2));
        for node in DATABASE_KEYS.into_iter().filter_map(|key| section.get(key)) {
            node.fault("is of a store in PostgreSQL: url = \"postgres://..\"");
        }
        place
    }
}

impl DatabasePlace {
    fn read(section: &Section<'_, '_>, url: &Node<'_, '_>, secrets: &Secrets<'_>) -> Self {
        let address =
            if url.is_table() { secrets.text(url) } else { url.text().map(str::to_owned) };
        let mut database = PostgresDatabase::new(address.clone().unwrap_or_default());
        if let (Some(_), Err(fault)) = (address, database.check()) {
            url.fault(fault);
        } else if url.is_text() && database.has_password() {
            url.fault("a password is no part of the config: url = { env = \"NAME\" }, { file = \"path\" } or { credential = \"name\" }");
        }
        set(&mut database.schema, section.get("schema").and_then(|node| node.parsed(schema)));
        let ca = section.get("ca").and_then(|node| node.text());
        database.ca = ca.map(|file| secrets.path(file));
        let in_flight = section.get("in_flight").and_then(|node| node.number(1..IN_FLIGHT_MAX + 1));
        set(&mut database.in_flight, in_flight.and_then(|n| usize::try_from(n).ok()));
        let may_lose = section.get("allow_data_loss").and_then(|node| node.flag());
        set(&mut database.may_lose, may_lose);
        let dir = section.get("dir").and_then(|node| node.text());
        for node in FILE_KEYS.into_iter().filter_map(|key| section.get(key)) {
            node.fault("is of a store in a file: PostgreSQL's server has its own disk");
        }
        Self { database, dir: secrets.path(dir.unwrap_or("data")) }
    }
}

fn sqlite_path(url: &str) -> Result<String, &'static str> {
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => Ok(path.to_owned()),
        _ => Err(
            "expected \"sqlite:\" and a path, such as \"sqlite:data/hookweir.db\", or \"postgres://..\"",
        ),
    }
}

/// A name that needs no quotes wherever one is typed.
fn schema(name: &str) -> Result<String, &'static str> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !begins || name.len() > NAME_MAX || !name.bytes().all(fits) {
        return Err(
            "a schema's name is made of a-z, 0-9 and `_`, 63 at most, and begins with no digit",
        );
    }
    if name.starts_with("pg_") {
        return Err("names that begin with `pg_` are PostgreSQL's own");
    }
    Ok(name.to_owned())
}

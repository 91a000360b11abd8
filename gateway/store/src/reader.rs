//! The contract's other half: looking on.
//!
//! Nothing here changes a store or waits for its verbs; each question is answered from one moment. What
//! may block does so where it is in nobody's way.

use std::path::PathBuf;

use hookweir_event::{
    Digest, Event, EventId, Exchanges, PluginName, StateEntry, StateKey, Timestamp,
};

use crate::{
    Blocked, Counts, Cursor, DeliveryId, Exported, Filter, Listed, Location, News, Notice,
    OpenError, Page, Pause, Queue, ReadError, Shown, ShownEntry, SqliteFile, Survey, postgres,
    sqlite,
};

/// Looks at a store without being in the way of its verbs. Cheap to clone; clones share one connection,
/// one query at a time, or with PostgreSQL a few. Each query sees one moment, except where it says otherwise.
#[derive(Debug, Clone)]
pub struct Reader {
    window: Window,
}

/// What an engine is looked at through.
#[derive(Debug, Clone)]
pub(crate) enum Window {
    Sqlite(sqlite::window::Window),
    Postgres(postgres::window::Window),
}

/// Asks the engine.
macro_rules! ask {
    ($reader:ident.$question:ident($($with:expr),*)) => {
        match &$reader.window {
            Window::Sqlite(window) => window.$question($($with),*).await,
            Window::Postgres(window) => window.$question($($with),*).await,
        }
    };
}

impl Reader {
    /// A reader of the SQLite store in this file, which may be another process's. Whether there is one is
    /// seen when it is first looked at.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::new(Window::Sqlite(sqlite::window::Window::new(SqliteFile::new(path))))
    }

    /// The same of a store wherever it is.
    ///
    /// # Errors
    /// If it is in a database whose address can't be used.
    pub fn of(location: &Location) -> Result<Self, OpenError> {
        Ok(Self::new(match location {
            Location::Sqlite(file) => Window::Sqlite(sqlite::window::Window::new(file.clone())),
            Location::Postgres(database) => {
                Window::Postgres(postgres::window::Window::at(database.clone())?)
            }
        }))
    }

    pub(crate) fn new(window: Window) -> Self {
        Self { window }
    }

    /// The same with a connection of its own, so that neither waits for the other's queries.
    pub fn apart(&self) -> Self {
        Self::new(match &self.window {
            Window::Sqlite(window) => Window::Sqlite(window.apart()),
            Window::Postgres(window) => Window::Postgres(window.apart()),
        })
    }

    /// How many of each there are. Costs the same however many that is.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn counts(&self) -> Result<Counts, ReadError> {
        ask!(self.counts())
    }

    /// How the store stands: what it holds, of whom, and how much room there is. Costs the same however
    /// many deliveries wait.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn survey(&self) -> Result<Survey, ReadError> {
        ask!(self.survey())
    }

    /// What was noticed and is not over, and what was lately: up to 1000, by their names.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn notices(&self) -> Result<Vec<Notice>, ReadError> {
        ask!(self.notices())
    }

    /// Up to `limit` events, 1000 at most, in the order they were committed, the first one after
    /// `after`. If `after` is unknown there are none.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn events(
        &self,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Shown>, ReadError> {
        ask!(self.events(after, limit))
    }

    /// One event with its content.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn event(&self, id: EventId) -> Result<Option<Event>, ReadError> {
        ask!(self.event(id))
    }

    /// One event with its deliveries, without its content.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn show(&self, id: EventId) -> Result<Option<Shown>, ReadError> {
        ask!(self.show(id))
    }

    /// What an attempt sent and was answered; none if that was not kept, or there is no such attempt.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn exchanges(
        &self,
        delivery: DeliveryId,
        attempt: u32,
    ) -> Result<Option<Exchanges>, ReadError> {
        ask!(self.exchanges(delivery, attempt))
    }

    /// The dead letters that later deliveries of their order key wait behind, those of the plugin or of
    /// all: up to `limit`, 1000 at most, the oldest first. Each with how many wait.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn blocked(
        &self,
        plugin: Option<&PluginName>,
        limit: usize,
    ) -> Result<Vec<Blocked>, ReadError> {
        ask!(self.blocked(plugin, limit))
    }

    /// An entry of a plugin's state, expired or not. When it does is by the clock that the store was opened with,
    /// whatever the database's says; for a reader of no open store, by the database's. So it is in all listings of entries.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn state(
        &self,
        plugin: &PluginName,
        key: &str,
    ) -> Result<Option<StateEntry>, ReadError> {
        ask!(self.state(plugin, key))
    }

    /// The entries of a plugin's state whose keys begin with `prefix` and come after `after`, in the
    /// order of their keys' bytes: up to `limit`, 1000 at most, expired or not.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn state_from(
        &self,
        plugin: &PluginName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StateEntry>, ReadError> {
        ask!(self.state_from(plugin, prefix, after, limit))
    }

    /// All of a plugin's state, of one moment, in memory: expired entries that are there still included. `None`
    /// if its keys and values have more than `max` bytes.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn whole_state(
        &self,
        plugin: &PluginName,
        max: u64,
    ) -> Result<Option<Vec<StateEntry>>, ReadError> {
        ask!(self.whole_state(plugin, max))
    }

    /// Keys in the same way as entries, without their values.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn state_keys(
        &self,
        plugin: &PluginName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StateKey>, ReadError> {
        ask!(self.state_keys(plugin, prefix, after, limit))
    }

    /// The same with what listings show of them.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn state_listed(
        &self,
        plugin: &PluginName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ShownEntry>, ReadError> {
        ask!(self.state_listed(plugin, prefix, after, limit))
    }

    /// Bytes of all keys and values of a plugin's state, expired ones that are there still included.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn state_bytes(&self, plugin: &PluginName) -> Result<u64, ReadError> {
        ask!(self.state_bytes(plugin))
    }

    /// Up to `limit` events, 1000 at most, from the cursor on, the newest first. A page ends early that has some
    /// MiB of what plugins logged; so do those of the questions below.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn search(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Shown>, ReadError> {
        ask!(self.search(filter, from, limit))
    }

    /// The same, by their ids alone.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn search_ids(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<EventId>, ReadError> {
        ask!(self.search_ids(filter, from, limit))
    }

    /// The deliveries that the filter means, of the events that it means, the newest event first: up to
    /// `limit`, 1000 at most, and those of the last one's event beyond.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn deliveries(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Listed>, ReadError> {
        ask!(self.deliveries(filter, from, limit))
    }

    /// The same, by their names alone.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn delivery_ids(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<DeliveryId>, ReadError> {
        ask!(self.delivery_ids(filter, from, limit))
    }

    /// Up to `limit` events, 1000 at most, from the cursor on, the newest first, with all that is kept of
    /// them. A page ends early that has some MiB of bodies and logs.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn whole(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Exported>, ReadError> {
        ask!(self.whole(filter, from, limit))
    }

    /// Up to `limit` events, 1000 at most, that were committed since the cursor was answered, the oldest
    /// first. Without one there are none, and a cursor to go on from. The filter's dedupe key and
    /// duplicates are not looked at.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn news(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<News<Shown>, ReadError> {
        ask!(self.news(filter, after, limit))
    }

    /// What waits for each plugin that anything was ever routed to, in the order of their names. `now`
    /// decides what is due, unless the store's own time is later.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn queues(&self, now: Timestamp) -> Result<Vec<Queue>, ReadError> {
        ask!(self.queues(now))
    }

    /// The store's time, by which it says when something was replayed: the database's, or in a file `now`, unless
    /// it has seen a later one.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn time(&self, now: Timestamp) -> Result<Timestamp, ReadError> {
        ask!(self.time(now))
    }

    /// All that is paused.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn pauses(&self) -> Result<Vec<Pause>, ReadError> {
        ask!(self.pauses())
    }

    /// Of each claim whether an event has it, or had it. A claim is forgotten some time after it expired,
    /// not before. Looks at one part after another, in one moment each.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn claimed(&self, claims: &[Digest]) -> Result<Vec<bool>, ReadError> {
        ask!(self.claimed(claims))
    }

    /// How many events the filter means. Looks at as many as it has to, in one moment after another.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn count(&self, filter: &Filter) -> Result<u64, ReadError> {
        ask!(self.count(filter))
    }
}

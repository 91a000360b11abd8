//! The contract's other half: looking on.
//!
//! Nothing here changes a store or waits for its verbs; each question is answered from one moment. What
//! may block does so where it is in nobody's way.

use std::path::PathBuf;

use hookweir_event::{
    Digest, Event, EventId, Exchanges, PluginName, StateEntry, StateKey, Timestamp,
};

use crate::{
    Blocked, Counts, Cursor, DeliveryId, Exported, Filter, Listed, News, Notice, Page, Pause,
    Queue, ReadError, Shown, ShownEntry, SqliteFile, Survey,
    sqlite::{
        claims::Sought, depths, exchanges, listing, look, notices, pauses, queues, search,
        window::Window,
    },
};

/// Looks at a store without being in the way of its verbs. Cheap to clone; clones share one connection,
/// one query at a time. Each query sees one moment, except where it says otherwise.
#[derive(Debug, Clone)]
pub struct Reader {
    window: Window,
}

impl Reader {
    /// A reader of the SQLite store in this file, which may be another process's. Whether there is one is
    /// seen when it is first looked at.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::new(Window::new(SqliteFile::new(path)))
    }

    pub(crate) fn new(window: Window) -> Self {
        Self { window }
    }

    /// The same with a connection of its own, so that neither waits for the other's queries.
    pub fn apart(&self) -> Self {
        Self::new(self.window.apart())
    }

    /// How many of each there are. Costs the same however many that is.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn counts(&self) -> Result<Counts, ReadError> {
        self.window.look(look::counts).await
    }

    /// How the store stands: what it holds, of whom, and how much room there is. Costs the same however
    /// many deliveries wait.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn survey(&self) -> Result<Survey, ReadError> {
        let file = self.window.file().clone();
        self.window.look(move |connection| depths::survey(connection, &file)).await
    }

    /// What was noticed and is not over, and what was lately: up to 1000, by their names.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn notices(&self) -> Result<Vec<Notice>, ReadError> {
        self.window.look(notices::all).await
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
        self.window.look(move |connection| look::events(connection, after, limit)).await
    }

    /// One event with its content.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn event(&self, id: EventId) -> Result<Option<Event>, ReadError> {
        self.window.look(move |connection| look::event(connection, id)).await
    }

    /// One event with its deliveries, without its content.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn show(&self, id: EventId) -> Result<Option<Shown>, ReadError> {
        self.window.look(move |connection| look::show(connection, id)).await
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
        self.window
            .look(move |connection| exchanges::of_attempt(connection, delivery, attempt))
            .await
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
        let plugin = plugin.cloned();
        self.window.look(move |connection| look::blocked(connection, plugin.as_ref(), limit)).await
    }

    /// An entry of a plugin's state, expired or not.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn state(
        &self,
        plugin: &PluginName,
        key: &str,
    ) -> Result<Option<StateEntry>, ReadError> {
        let (plugin, key) = (plugin.clone(), key.to_owned());
        self.window.look(move |connection| look::state(connection, &plugin, &key)).await
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
        let (plugin, prefix) = (plugin.clone(), prefix.to_owned());
        let after = after.map(str::to_owned);
        let query = move |connection: &_| {
            look::state_from(connection, &plugin, &prefix, after.as_deref(), limit)
        };
        self.window.look(query).await
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
        let plugin = plugin.clone();
        self.window.look(move |connection| look::whole_state(connection, &plugin, max)).await
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
        let (plugin, prefix) = (plugin.clone(), prefix.to_owned());
        let after = after.map(str::to_owned);
        let query = move |connection: &_| {
            look::state_keys(connection, &plugin, &prefix, after.as_deref(), limit)
        };
        self.window.look(query).await
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
        let (plugin, prefix) = (plugin.clone(), prefix.to_owned());
        let after = after.map(str::to_owned);
        let query = move |connection: &_| {
            look::state_listed(connection, &plugin, &prefix, after.as_deref(), limit)
        };
        self.window.look(query).await
    }

    /// Bytes of all keys and values of a plugin's state, expired ones that are there still included.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn state_bytes(&self, plugin: &PluginName) -> Result<u64, ReadError> {
        let plugin = plugin.clone();
        self.window.look(move |connection| look::state_bytes(connection, &plugin)).await
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
        let filter = filter.clone();
        self.window.look(move |connection| search::page(connection, &filter, from, limit)).await
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
        let filter = filter.clone();
        self.window.look(move |connection| search::ids(connection, &filter, from, limit)).await
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
        let filter = filter.clone();
        self.window
            .look(move |connection| listing::deliveries(connection, &filter, from, limit))
            .await
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
        let filter = filter.clone();
        let query = move |connection: &_| listing::delivery_ids(connection, &filter, from, limit);
        self.window.look(query).await
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
        let filter = filter.clone();
        self.window.look(move |connection| listing::whole(connection, &filter, from, limit)).await
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
        let filter = filter.clone();
        self.window.look(move |connection| listing::news(connection, &filter, after, limit)).await
    }

    /// What waits for each plugin that anything was ever routed to, in the order of their names. `now`
    /// decides what is due, unless the store's own time is later.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn queues(&self, now: Timestamp) -> Result<Vec<Queue>, ReadError> {
        self.window.look(move |connection| queues::all(connection, now)).await
    }

    /// All that is paused.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn pauses(&self) -> Result<Vec<Pause>, ReadError> {
        self.window.look(pauses::all).await
    }

    /// Of each claim whether an event has it, or had it. A claim is forgotten some time after it expired,
    /// not before. Looks at one part after another, in one moment each.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn claimed(&self, claims: &[Digest]) -> Result<Vec<bool>, ReadError> {
        let sought = Sought::new(claims);
        let (mut sought, generations) =
            self.window.look(move |connection| sought.among_fresh(connection)).await?;
        for generation in generations {
            sought =
                self.window.look(move |connection| sought.among(connection, generation)).await?;
        }
        Ok(claims.iter().map(|claim| !sought.contains(claim)).collect())
    }

    /// How many events the filter means. Looks at as many as it has to, in one moment after another.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn count(&self, filter: &Filter) -> Result<u64, ReadError> {
        let (mut count, mut from) = (0, None);
        loop {
            let filter = filter.clone();
            let query = move |connection: &_| search::number(connection, &filter, from);
            let (more, next) = self.window.look(query).await?;
            count += more;
            from = next;
            if from.is_none() {
                return Ok(count);
            }
        }
    }
}

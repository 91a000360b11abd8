//! What the contract asks of a reader, as queries of this engine's: each in one snapshot, on the thread that answers.

use hookweir_event::{
    Digest, Event, EventId, Exchanges, PluginName, StateEntry, StateKey, Timestamp,
};

use super::{
    claims::Sought, depths, exchanges, listing, look, notices, pauses, queues, search,
    window::Window,
};
use crate::{
    Blocked, Counts, Cursor, DeliveryId, Exported, Filter, Listed, News, Notice, Page, Pause,
    Queue, ReadError, Shown, ShownEntry, Survey,
};

impl Window {
    pub(crate) async fn counts(&self) -> Result<Counts, ReadError> {
        self.look(look::counts).await
    }

    pub(crate) async fn survey(&self) -> Result<Survey, ReadError> {
        let file = self.file().clone();
        self.look(move |connection| depths::survey(connection, &file)).await
    }

    pub(crate) async fn notices(&self) -> Result<Vec<Notice>, ReadError> {
        self.look(notices::all).await
    }

    pub(crate) async fn events(
        &self,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Shown>, ReadError> {
        self.look(move |connection| look::events(connection, after, limit)).await
    }

    pub(crate) async fn event(&self, id: EventId) -> Result<Option<Event>, ReadError> {
        self.look(move |connection| look::event(connection, id)).await
    }

    pub(crate) async fn show(&self, id: EventId) -> Result<Option<Shown>, ReadError> {
        self.look(move |connection| look::show(connection, id)).await
    }

    pub(crate) async fn exchanges(
        &self,
        delivery: DeliveryId,
        attempt: u32,
    ) -> Result<Option<Exchanges>, ReadError> {
        self.look(move |connection| exchanges::of_attempt(connection, delivery, attempt)).await
    }

    pub(crate) async fn blocked(
        &self,
        plugin: Option<&PluginName>,
        limit: usize,
    ) -> Result<Vec<Blocked>, ReadError> {
        let plugin = plugin.cloned();
        self.look(move |connection| look::blocked(connection, plugin.as_ref(), limit)).await
    }

    pub(crate) async fn state(
        &self,
        plugin: &PluginName,
        key: &str,
    ) -> Result<Option<StateEntry>, ReadError> {
        let (plugin, key) = (plugin.clone(), key.to_owned());
        self.look(move |connection| look::state(connection, &plugin, &key)).await
    }

    pub(crate) async fn state_from(
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
        self.look(query).await
    }

    pub(crate) async fn whole_state(
        &self,
        plugin: &PluginName,
        max: u64,
    ) -> Result<Option<Vec<StateEntry>>, ReadError> {
        let plugin = plugin.clone();
        self.look(move |connection| look::whole_state(connection, &plugin, max)).await
    }

    pub(crate) async fn state_keys(
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
        self.look(query).await
    }

    pub(crate) async fn state_listed(
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
        self.look(query).await
    }

    pub(crate) async fn state_bytes(&self, plugin: &PluginName) -> Result<u64, ReadError> {
        let plugin = plugin.clone();
        self.look(move |connection| look::state_bytes(connection, &plugin)).await
    }

    pub(crate) async fn search(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Shown>, ReadError> {
        let filter = filter.clone();
        self.look(move |connection| search::page(connection, &filter, from, limit)).await
    }

    pub(crate) async fn search_ids(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<EventId>, ReadError> {
        let filter = filter.clone();
        self.look(move |connection| search::ids(connection, &filter, from, limit)).await
    }

    pub(crate) async fn deliveries(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Listed>, ReadError> {
        let filter = filter.clone();
        self.look(move |connection| listing::deliveries(connection, &filter, from, limit)).await
    }

    pub(crate) async fn delivery_ids(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<DeliveryId>, ReadError> {
        let filter = filter.clone();
        let query = move |connection: &_| listing::delivery_ids(connection, &filter, from, limit);
        self.look(query).await
    }

    pub(crate) async fn whole(
        &self,
        filter: &Filter,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Exported>, ReadError> {
        let filter = filter.clone();
        self.look(move |connection| listing::whole(connection, &filter, from, limit)).await
    }

    pub(crate) async fn news(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<News<Shown>, ReadError> {
        let filter = filter.clone();
        self.look(move |connection| listing::news(connection, &filter, after, limit)).await
    }

    pub(crate) async fn queues(&self, now: Timestamp) -> Result<Vec<Queue>, ReadError> {
        self.look(move |connection| queues::all(connection, now)).await
    }

    pub(crate) async fn time(&self, now: Timestamp) -> Result<Timestamp, ReadError> {
        self.look(move |connection| queues::time(connection, now)).await
    }

    pub(crate) async fn pauses(&self) -> Result<Vec<Pause>, ReadError> {
        self.look(pauses::all).await
    }

    pub(crate) async fn claimed(&self, claims: &[Digest]) -> Result<Vec<bool>, ReadError> {
        let sought = Sought::new(claims);
        let (mut sought, generations) =
            self.look(move |connection| sought.among_fresh(connection)).await?;
        for generation in generations {
            sought = self.look(move |connection| sought.among(connection, generation)).await?;
        }
        Ok(claims.iter().map(|claim| !sought.contains(claim)).collect())
    }

    pub(crate) async fn count(&self, filter: &Filter) -> Result<u64, ReadError> {
        let (mut count, mut from) = (0, None);
        loop {
            let filter = filter.clone();
            let query = move |connection: &_| search::number(connection, &filter, from);
            let (more, next) = self.look(query).await?;
            count += more;
            from = next;
            if from.is_none() {
                return Ok(count);
            }
        }
    }
}

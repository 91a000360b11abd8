//! Where plugins' state is read: the store, through a connection of its own.
//!
//! The host and the store are strangers; this is all that the one knows of the other. What a call writes
//! goes its own way, with the attempt's settlement.

use hookweir_event::{PluginName, StateEntry, StateKey};
use hookweir_host::{Answer, StateReader};
use hookweir_store::{ReadError, Reader};

/// Committed state, as of the moment it is asked for.
#[derive(Debug)]
pub(crate) struct PluginState(Reader);

impl PluginState {
    /// Reads what this reader's store holds, without waiting for what else is read there.
    pub(crate) fn new(reader: &Reader) -> Self {
        Self(reader.apart())
    }
}

/// For the plugin. The operator finds the cause in the log.
fn failed(error: &ReadError) -> String {
    tracing::error!(%error, "failed to read a plugin's state");
    "the store can't be read".to_owned()
}

impl StateReader for PluginState {
    fn get<'a>(&'a self, plugin: &'a PluginName, key: &'a str) -> Answer<'a, Option<StateEntry>> {
        Box::pin(async move { self.0.state(plugin, key).await.map_err(|error| failed(&error)) })
    }

    fn keys<'a>(
        &'a self,
        plugin: &'a PluginName,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<StateKey>> {
        Box::pin(async move {
            let keys = self.0.state_keys(plugin, prefix, after, limit).await;
            keys.map_err(|error| failed(&error))
        })
    }

    fn bytes<'a>(&'a self, plugin: &'a PluginName) -> Answer<'a, u64> {
        Box::pin(async move { self.0.state_bytes(plugin).await.map_err(|error| failed(&error)) })
    }
}

//! SIGHUP: the config, the plugins folder and the certificates are looked at now, and the log says what came of it.

use hookweir_event::Digest;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    reload::{ConfigLook, Looked, Wishes},
    supervisor::Supervisor,
};

/// The signals that come from now on. Without anybody who listens, one would end the process.
pub(super) struct Hangups(Signal);

impl Hangups {
    pub(super) fn listen() -> Option<Self> {
        match signal(SignalKind::hangup()) {
            Ok(signals) => Some(Self(signals)),
            Err(error) => {
                tracing::warn!(%error, "failed to listen for SIGHUP; `hookweir reload` does the same");
                None
            }
        }
    }

    /// Has everything looked at whenever one comes.
    pub(super) async fn obey(mut self, wishes: Wishes, supervisor: Supervisor) {
        while self.0.recv().await.is_some() {
            supervisor.reloading();
            let said = match wishes.look().await {
                Ok(looked) => told(&looked),
                Err(error) => {
                    let said = format!("failed to reload: {error}");
                    tracing::warn!("SIGHUP: {said}");
                    said
                }
            };
            supervisor.reloaded(&said);
        }
    }
}

/// Says what a look has brought. What was refused, and why, is logged where it was.
fn told(looked: &Looked) -> String {
    let Looked { config, plugins, not_live, pending } = looked;
    let config = match config {
        ConfigLook::Unchanged => "unchanged",
        ConfigLook::Reloaded => "reloaded",
        ConfigLook::Refused(_) => "refused",
    };
    let version = |version: Option<Digest>| version.map_or("none".to_owned(), |v| v.short());
    let changed: Vec<_> = plugins
        .iter()
        .map(|look| format!("{}: {} -> {}", look.name, version(look.before), version(look.now)))
        .collect();
    let not_live: Vec<_> = not_live.iter().map(|(name, _)| name.as_str()).collect();
    let (plugins, not_live) = (changed.join(", "), not_live.join(", "));
    tracing::info!(config, plugins, not_live, pending, "looked at everything, as SIGHUP asks");
    format!("config {config}")
}

//! What is said of versions when it is in force, and not before: who reads "live" in the log can count on it.

use hookweir_event::{Digest, Pattern, PluginName};

use super::Shelf;
use crate::health::{Health, Reloaded};

/// Something that the next swap of the board brings about.
#[derive(Debug, Clone)]
pub(super) enum News {
    Live {
        plugin: PluginName,
        version: Digest,
        before: Option<Digest>,
        subscribe: Vec<Pattern>,
    },
    RolledBack {
        plugin: PluginName,
        version: Digest,
        restored: Digest,
        reason: String,
    },
    Removed(PluginName),
    /// A file did not go live; `serving`, if anything, goes on.
    SetAside {
        plugin: PluginName,
        version: Option<Digest>,
        serving: Option<Digest>,
        reason: String,
    },
}

impl Shelf {
    /// Says it when the board shows it. Before there is a board nothing is in force, and who waits for a
    /// start wants to know how far it is.
    pub(super) fn say(&mut self, news: News) {
        match &mut self.news {
            Some(waiting) => waiting.push(news),
            None => news.tell(&self.health),
        }
    }

    /// Says what has happened since the last time. To be called when the board shows it.
    pub(in crate::reload) fn tell(&mut self) {
        let news = self.news.get_or_insert_default();
        news.drain(..).for_each(|news| news.tell(&self.health));
    }
}

impl News {
    fn tell(self, health: &Health) {
        match &self {
            Self::Live { plugin, .. } => health.reloaded(plugin, Reloaded::Published),
            Self::RolledBack { plugin, .. } => health.reloaded(plugin, Reloaded::RolledBack),
            Self::SetAside { plugin, .. } => health.reloaded(plugin, Reloaded::Refused),
            Self::Removed(_) => {}
        }
        match self {
            Self::Live { plugin, version, before, subscribe } => {
                let subscribes: Vec<_> = subscribe.iter().map(ToString::to_string).collect();
                tracing::info!(
                    %plugin, version = version.short(), before = before.map(|before| before.short()),
                    subscribes = subscribes.join(" "), "plugin is live"
                );
            }
            Self::RolledBack { plugin, version, restored, reason } => tracing::error!(
                %plugin, version = version.short(), restored = restored.short(),
                "{reason}; rolled back"
            ),
            Self::Removed(plugin) => {
                tracing::info!(%plugin, "plugin was removed; deliveries it already has wait");
            }
            Self::SetAside { plugin, version, serving, reason } => {
                let version = version.map(|version| version.short());
                match serving.map(|serving| serving.short()) {
                    Some(serving) => tracing::warn!(
                        %plugin, version, serving, "{reason}; the last good version keeps serving"
                    ),
                    None => tracing::warn!(%plugin, version, "{reason}; its deliveries wait"),
                }
            }
        }
    }
}

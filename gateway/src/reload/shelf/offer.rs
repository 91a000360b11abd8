//! Proposes to all gateways what this one's folder shows, what its operator asks for, and what it takes back.
//!
//! What is proposed is made ready first, and its content is put before it is named.

use hookweir_event::{Digest, PluginName};
use hookweir_store::{Proposed, Proposing, PublishedPlugin, StoreError};

use super::{Made, Moment, Shelf, exchange::new, look::Looked, shared::refusal};
use crate::{
    config::Config,
    reload::{
        scan::{FileKey, FolderKey},
        verb::Refusal,
    },
    standing::{FileStanding, NotLive},
};

/// What is to be done with a file's content that does not serve.
pub(super) enum Offer {
    /// It goes live here, once it is ready: every gateway follows its own folder.
    Own,
    /// It is proposed to all, once it is ready here.
    Propose,
    /// It is not, for this reason.
    Leave(FileStanding),
    /// It can't be said yet.
    Wait(FileStanding),
}

impl Shelf {
    /// What is to be done with the content of a file.
    pub(super) fn offer(&self, name: &PluginName, key: FileKey, digest: Digest) -> Offer {
        let Some(shared) = &self.shared else { return Offer::Own };
        let file = |why, reason| FileStanding { version: Some(digest), why, reason, add: None };
        if shared.seen.revision < 0 {
            let reason = "what is published can't be seen, so it can't be proposed".to_owned();
            return Offer::Wait(file(NotLive::Proposed, reason));
        }
        let item = self.items.get(name);
        if shared.live(name) == Some(digest) {
            let own = item.and_then(|item| item.file.clone());
            let own = own.filter(|file| file.version == Some(digest));
            let reason = "it is live for all, and soon here".to_owned();
            return Offer::Leave(own.unwrap_or_else(|| file(NotLive::Proposed, reason)));
        }
        let plugin = shared.plugin(name);
        let under_way = plugin.and_then(PublishedPlugin::under_way);
        match under_way {
            Some(proposal) if proposal.version == Some(digest) => {
                return Offer::Leave(file(NotLive::Proposed, proposed(&proposal.by)));
            }
            Some(proposal) => {
                let reason = format!("gateway {} proposes another version before it", proposal.by);
                return Offer::Wait(file(NotLive::Proposed, reason));
            }
            None => {}
        }
        let is_known = plugin.is_some_and(|plugin| plugin.known(digest).is_some());
        let before = item.and_then(|item| item.folder);
        let insists = item.is_some_and(|item| item.insists);
        // At a start nobody has put it there just now.
        let was_here = shared.starting || item.is_some_and(|item| item.was_here == Some(key));
        let is_changed = !was_here && before != Some(digest);
        if insists || is_changed || !is_known {
            return Offer::Propose;
        }
        let refused = plugin.and_then(|plugin| plugin.proposal.as_ref());
        let refused = refused.filter(|proposal| proposal.version == Some(digest));
        if let Some(refused) = refused.and_then(|proposal| proposal.refused.as_ref()) {
            let needs = shared.needs.get(name).filter(|(of, _)| *of == digest);
            let needs = needs.filter(|_| refused.by == shared.publishing.name());
            return Offer::Leave(match needs {
                Some((_, add)) => {
                    let (why, reason) = (NotLive::NeedsApproval, refused.reason.clone());
                    FileStanding { add: Some(add.clone()), ..file(why, reason) }
                }
                None => file(NotLive::Refused, refusal(refused)),
            });
        }
        let reason =
            "it was published before, and another version since; put a file with other bytes \
                      there, or approve it"
                .to_owned();
        Offer::Leave(file(NotLive::Passed, reason))
    }

    /// Proposes a file's content that is ready here. What it stands as then; none if it is live for all.
    pub(super) async fn propose_file(
        &mut self,
        name: &PluginName,
        bytes: &[u8],
        made: Made,
    ) -> Result<Option<FileStanding>, FileStanding> {
        let version = Some(made.0.digest());
        let file = |why, reason| FileStanding { version, why, reason, add: None };
        let what = Proposing { version, ..new(name.clone()) };
        match self.propose(&what, bytes, made).await {
            Ok(Proposed::Live(_)) => Ok(None),
            Ok(Proposed::UnderWay(_)) => {
                let by = self.shared.as_ref().map(|shared| shared.publishing.name());
                Ok(Some(file(NotLive::Proposed, proposed(by.unwrap_or_default()))))
            }
            Ok(Proposed::Pinned(pin)) => {
                Ok(Some(file(NotLive::Pinned, format!("version {} is pinned", pin.short()))))
            }
            Ok(Proposed::After(by)) => {
                let reason = format!("gateway {by} proposes another version before it");
                Err(file(NotLive::Proposed, reason))
            }
            Ok(Proposed::Outdated | Proposed::NoContent) => {
                Err(file(NotLive::Proposed, "its content went away in between".to_owned()))
            }
            Err(error) => Err(file(NotLive::Proposed, format!("it can't be proposed: {error}"))),
        }
    }

    /// Proposes what is ready here.
    pub(super) async fn propose(
        &mut self,
        what: &Proposing,
        bytes: &[u8],
        made: Made,
    ) -> Result<Proposed, StoreError> {
        let Some(shared) = &mut self.shared else { return Err(StoreError::Closed) };
        let version = made.0.digest();
        if let Err(error) = self.versions.keep(version, bytes).await {
            tracing::warn!(plugin = %what.plugin, %error, "failed to keep a copy of what is proposed");
        }
        shared.publishing.put(version, bytes).await?;
        // Before it is proposed: it may be live at once.
        shared.prepared.insert(what.plugin.clone(), (version, made));
        let proposed = shared.publishing.propose(what).await?;
        if let Proposed::UnderWay(number) | Proposed::Live(number) = proposed {
            shared.said.insert(what.plugin.clone(), number);
            tracing::info!(plugin = %what.plugin, version = version.short(), "proposed to all gateways");
        }
        Ok(proposed)
    }

    /// Proposes what an operator asks for. Answers the proposal's number.
    pub(super) async fn propose_kept(
        &mut self,
        what: &Proposing,
        config: &Config,
    ) -> Result<i64, Refusal> {
        let name = what.plugin.clone();
        let version = what.version.ok_or(Refusal::NotLive)?;
        let can_not = |reason: String| Refusal::CanNotServe { version, reason };
        let bytes = self.content(version).await.map_err(|fault| can_not(fault.to_string()))?;
        let made = self.prepare(&name, &bytes, config).await;
        let made = made.map_err(|refused| can_not(refused.reason()))?;
        match self.propose(what, &bytes, made).await {
            Ok(Proposed::UnderWay(number) | Proposed::Live(number)) => Ok(number),
            Ok(Proposed::Pinned(pin)) => Err(Refusal::Pinned(pin)),
            Ok(Proposed::After(by)) => Err(Refusal::NotAgreed(format!(
                "gateway {by} proposes another version; ask again when that is over"
            ))),
            Ok(Proposed::Outdated) => {
                Err(Refusal::NotAgreed("another version went live meanwhile".to_owned()))
            }
            Ok(Proposed::NoContent) => Err(Refusal::Busy),
            Err(error) => Err(Refusal::NotWritten(error.to_string())),
        }
    }

    /// A plugin has no file in the folder. One that was there while this gateway ran, and serves, is to be removed for all;
    /// that a folder never had one says nothing.
    pub(super) async fn missing_for_all(
        &mut self,
        name: &PluginName,
        moment: Moment,
        looked: &mut Looked,
    ) {
        let live = self.live(name);
        let Some(shared) = &mut self.shared else { return };
        let Some(item) = self.items.get_mut(name) else { return };
        let is_live_file = item.folder.is_some() && item.folder == live;
        if !is_live_file {
            // Another file was here, or none.
            let of_it = |file: &FileStanding| file.version == item.folder;
            if item.folder.is_some() && item.file.as_ref().is_some_and(of_it) {
                item.file = None;
                looked.changed = true;
            }
            let nothing = live.is_none() && item.file.is_none();
            (item.folder, item.key, item.missing_since) = (None, None, None);
            if nothing && shared.plugin(name).is_none_or(|plugin| plugin.proposal.is_none()) {
                self.items.remove(name);
                looked.changed = true;
            }
            return;
        }
        looked.wait(item.version.as_ref());
        if shared.is_put_off(name, REMOVAL, moment.now) {
            return;
        }
        let what = Proposing { instead_of: live, ..new(name.clone()) };
        match shared.publishing.propose(&what).await {
            Ok(Proposed::UnderWay(number) | Proposed::Live(number)) => {
                tracing::info!(plugin = %name, "its file was removed: its removal is proposed to all gateways");
                shared.said.insert(name.clone(), number);
                item.folder = None;
            }
            Ok(Proposed::Pinned(pin)) => {
                tracing::warn!(plugin = %name, version = pin.short(), "its file was removed, and its version is pinned: it goes on");
                item.folder = None;
            }
            Ok(Proposed::Outdated | Proposed::NoContent) => item.folder = None,
            Ok(Proposed::After(_)) => shared.put_off(name, REMOVAL, moment.now),
            Err(error) => {
                tracing::warn!(plugin = %name, %error, "failed to propose its removal; it is tried again");
                shared.put_off(name, REMOVAL, moment.now);
            }
        }
    }

    /// Whether a missing file is a matter of all gateways.
    pub(super) fn is_for_all(&self, name: &PluginName) -> bool {
        let serves = self.live(name).is_some();
        self.shared.as_ref().is_some_and(|shared| !serves || shared.is_published(name))
    }

    /// The folder that is looked at may be another than before, such as one whose file system went away: what it lacks
    /// was not removed by anybody.
    pub(super) fn note_folder(&mut self, folder: FolderKey) {
        let Some(shared) = &mut self.shared else { return };
        if shared.folder.replace(folder).is_some_and(|before| before != folder) {
            tracing::warn!(
                "the plugins folder is another one: what is not in it is not taken for removed"
            );
            self.items.values_mut().for_each(|item| item.folder = None);
        }
    }
}

/// The number that no proposal has: of one that could not be made.
const REMOVAL: i64 = -1;

fn proposed(by: &str) -> String {
    format!("gateway {by} proposes it; it is live when all gateways are ready")
}

//! Follows what gateways share: swaps to what is live for all, makes ready what others propose and says so, tells what was
//! refused, and says what runs here.
//!
//! Swaps come first, since making something ready may take as long as a compiler does. Where the store can't be asked,
//! everything stays as it is.

use std::collections::BTreeMap;

use hookweir_event::{Digest, PluginName};
use hookweir_store::{
    Proposal, Proposing, PublishedPlugin, PublishedVersion, Publishing, Runs, Word,
};

use super::{
    Item, Made, Moment, News, Refused, Shelf,
    kept::NotMade,
    shared::{Shared, refusal, word},
};
use crate::{
    config::Config,
    reload::versions::{EARLIER_MAX, Record, TURNED_AWAY_MAX},
    standing::{self, Cause, FileStanding, NotLive, Served, TurnedAway},
};

impl Shelf {
    /// The shelf of a gateway that shares versions with others.
    pub(in crate::reload) fn sharing(self, publishing: Option<Publishing>) -> Self {
        Self { shared: publishing.map(Shared::new), ..self }
    }

    pub(in crate::reload) fn shares(&self) -> bool {
        self.shared.is_some()
    }

    /// At a start: what is live for all serves, and what no gateway has published yet, as before the stop. From then on
    /// this gateway takes part.
    pub(in crate::reload) async fn join(&mut self, config: &Config, moment: Moment) {
        if !self.see_shared(moment).await.1 {
            // It is followed when it can be seen.
            return self.serve_kept(config, moment).await;
        }
        self.serve_kept(config, moment).await;
        for name in self.shared_names() {
            self.follow(&name, config, moment).await;
        }
        if let Some(shared) = &mut self.shared {
            let refused = shared.seen.plugins.iter().filter(|(_, plugin)| {
                let proposal = plugin.proposal.as_ref();
                let refused = proposal.and_then(|proposal| proposal.refused.as_ref());
                refused.is_some_and(|refused| refused.by == shared.publishing.name())
            });
            // With a config that may be another.
            shared.reconsider = refused.map(|(name, _)| name.clone()).collect();
        }
        self.say_what_runs(moment).await;
    }

    /// Whether a file is proposed and not decided about.
    pub(in crate::reload) fn awaits_others(&self) -> bool {
        let mut files = self.items.values().filter_map(|item| item.file.as_ref());
        self.shares() && files.any(|file| file.why == NotLive::Proposed)
    }

    /// The files of a start are decided about.
    pub(in crate::reload) fn started(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.starting = false;
        }
    }

    /// Looks at what gateways share, and does its part. `put_up` is called whenever something serves, or stands
    /// otherwise. Whether the folder is to be looked at.
    pub(in crate::reload) async fn exchange(
        &mut self,
        config: &Config,
        moment: Moment,
        mut put_up: impl FnMut(&mut Self),
    ) -> bool {
        let (mut changed, seen) = self.see_shared(moment).await;
        if !seen {
            return false;
        }
        let (names, mut look) = (self.shared_names(), false);
        for name in &names {
            look |= self.follow(name, config, moment).await;
            look |= self.tell_refusal(name, config, moment).await;
        }
        changed |= look;
        if std::mem::take(&mut changed) {
            put_up(self);
        }
        for name in &names {
            self.answer(name, config, moment).await;
            self.reconsider(name, config, moment).await;
        }
        self.say_what_runs(moment).await;
        self.decide().await;
        look
    }

    /// Whether what is shared is other than before, and whether it can be seen.
    async fn see_shared(&mut self, moment: Moment) -> (bool, bool) {
        let Some(shared) = &mut self.shared else { return (false, false) };
        match shared.publishing.look(shared.since(moment.now)).await {
            Ok(seen) => {
                if std::mem::take(&mut shared.is_away) {
                    tracing::info!("what is published can be seen again");
                }
                (seen.is_some_and(|seen| shared.see(seen, moment.now)), true)
            }
            Err(error) => {
                if !std::mem::replace(&mut shared.is_away, true) {
                    tracing::warn!(%error, "failed to see what is published; what serves goes on");
                }
                (false, false)
            }
        }
    }

    fn shared_names(&self) -> Vec<PluginName> {
        self.shared.iter().flat_map(|shared| shared.seen.plugins.keys().cloned()).collect()
    }

    /// The gateways that share versions.
    pub(in crate::reload) fn gateways(&self) -> Option<Vec<String>> {
        let gateways = &self.shared.as_ref()?.seen.gateways;
        Some(gateways.iter().map(|gateway| gateway.name.clone()).collect())
    }

    /// What came of a proposal of ours: none if that is not known yet.
    pub(in crate::reload) fn came_of(
        &self,
        name: &PluginName,
        number: i64,
    ) -> Option<Result<(), String>> {
        self.shared.as_ref()?.came_of(name, number)
    }

    /// Has what is live for all serve here. Whether anything has changed.
    async fn follow(&mut self, name: &PluginName, config: &Config, moment: Moment) -> bool {
        let Some(shared) = &self.shared else { return false };
        let Some(plugin) = shared.plugin(name).cloned() else { return false };
        let noted = self.note_shared(name, &plugin).await;
        let Some(live) = &plugin.live else { return noted };
        let Some(shared) = &mut self.shared else { return noted };
        let followed = shared.followed.get(name) == Some(&live.number);
        if followed || shared.is_put_off(name, live.number, moment.now) {
            return noted;
        }
        let prepared = live.version.and_then(|version| shared.take_prepared(name, version));
        match live.version {
            None => self.take_off(name, moment).await,
            Some(version) if self.live(name) == Some(version) => {
                let (at, probation) = (live.at, probation(live));
                self.versions.note(name, |record| record.go_live(version, at, probation)).await;
            }
            Some(version) => {
                let made = match prepared {
                    Some(made) => Ok(made),
                    None => self.made_of_kept(name, version, config).await,
                };
                match made {
                    Ok(made) => self.swap(name, made, (&plugin, live), moment).await,
                    Err(fault) => {
                        let reason = format!("it is published and can't serve here: {fault}");
                        return self.can_not_follow(name, live, &reason, config, moment).await;
                    }
                }
            }
        }
        if let Some(shared) = &mut self.shared {
            shared.followed.insert(name.clone(), live.number);
        }
        // The file in the folder is decided about anew.
        if let Some(item) = self.items.get_mut(name) {
            (item.key, item.again, item.file) = (None, None, None);
        }
        true
    }

    async fn swap(
        &mut self,
        name: &PluginName,
        made: Made,
        (plugin, live): (&PublishedPlugin, &PublishedVersion),
        moment: Moment,
    ) {
        let version = made.0.digest();
        if let Some(before) = self.live(name) {
            let away = plugin.known(before).and_then(|known| known.away.as_ref());
            let away = away.filter(|away| away.cause == Cause::Probation.as_str());
            if let Some(reason) = away.map(|away| away.reason.clone()) {
                let (plugin, restored) = (name.clone(), version);
                self.say(News::RolledBack { plugin, version: before, restored, reason });
            }
        }
        let probation = probation(live);
        self.versions.note(name, |record| record.go_live(version, live.at, probation)).await;
        tracing::debug!(plugin = %name, version = version.short(), number = live.number, by = live.by, "published");
        self.go_live(name, made, moment);
    }

    /// What is live for all can't serve here: what served goes on, and it is tried again. Whether that is news.
    async fn can_not_follow(
        &mut self,
        name: &PluginName,
        live: &PublishedVersion,
        reason: &str,
        config: &Config,
        moment: Moment,
    ) -> bool {
        if let Some(shared) = &mut self.shared {
            shared.put_off(name, live.number, moment.now);
        }
        let reason = format!("{reason}; it is tried again");
        let file = FileStanding { version: live.version, why: NotLive::Failed, reason, add: None };
        if self.items.get(name).is_some_and(|item| item.file.as_ref() == Some(&file)) {
            return false;
        }
        self.set_aside(name, file, config, moment).await;
        true
    }

    /// The plugin was removed for all. Its file may be here still, and is nothing new.
    async fn take_off(&mut self, name: &PluginName, moment: Moment) {
        self.versions.retire(name, moment.timestamp()).await;
        let Some(item) = self.items.remove(name) else { return };
        if item.version.is_some() {
            self.say(News::Removed(name.clone()));
        }
        if let Some(folder) = item.folder {
            self.items.insert(name.clone(), Item { folder: Some(folder), ..Item::default() });
        }
    }

    /// Writes down what all know of a plugin's versions: which is held, which were turned away, and, where nothing is
    /// known here, which can be had back. Whether another version is held than before, or none.
    async fn note_shared(&mut self, name: &PluginName, plugin: &PublishedPlugin) -> bool {
        if plugin.live.is_none() {
            return false;
        }
        let (is_new, pin) = match self.versions.record(name) {
            Some(record) => (false, record.pin),
            None => (true, None),
        };
        let held = plugin.pin.filter(|pin| self.live(name) == Some(*pin));
        let item_on_trial = self.items.get(name).is_some_and(|item| item.trial.is_some());
        if held.is_some() && item_on_trial {
            self.end_probation(name).await;
        }
        let away = turned_away(plugin);
        self.versions
            .note(name, |record| {
                if is_new {
                    record.earlier = earlier(plugin);
                }
                match plugin.pin {
                    Some(pin) if record.pin != Some(pin) => record.hold(pin),
                    Some(_) => {}
                    None => record.pin = None,
                }
                note_away(record, plugin, away);
            })
            .await;
        let is_other = pin != plugin.pin;
        if let Some(item) = self.items.get_mut(name).filter(|_| is_other) {
            // The file may be acceptable now, or not any more.
            (item.key, item.file) = (None, None);
        }
        is_other
    }

    /// Makes ready what another gateway proposes, and says whether that went well.
    async fn answer(&mut self, name: &PluginName, config: &Config, moment: Moment) {
        let Some(shared) = &mut self.shared else { return };
        let Some(Proposal { number, version, .. }) = shared.unanswered(name) else { return };
        if shared.is_put_off(name, number, moment.now) {
            return;
        }
        let publishing = shared.publishing.clone();
        let said = match version {
            None => Word::Ready,
            Some(version) => match self.ready(name, version, config, moment).await {
                Ok(()) => Word::Ready,
                Err(Unready::Passing(reason)) => {
                    tracing::warn!(plugin = %name, version = version.short(), "what another gateway proposes can't be made ready now, and is tried again: {reason}");
                    if let Some(shared) = &mut self.shared {
                        shared.put_off(name, number, moment.now);
                    }
                    return;
                }
                Err(Unready::Refused(word)) => word,
            },
        };
        match publishing.say(name, number, &said).await {
            Ok(()) => {
                tracing::info!(plugin = %name, version = version.map(|it| it.short()), word = said.as_str(), "said of what another gateway proposes");
                if let Some(shared) = &mut self.shared {
                    shared.said.insert(name.clone(), number);
                }
            }
            Err(error) => {
                tracing::warn!(plugin = %name, %error, "failed to say a word on what is proposed; it is tried again");
            }
        }
    }

    /// Makes a version ready to serve, as one from the folder is.
    async fn ready(
        &mut self,
        name: &PluginName,
        version: Digest,
        config: &Config,
        moment: Moment,
    ) -> Result<(), Unready> {
        if self.live(name) == Some(version) {
            return Ok(());
        }
        let bytes = self.content(version).await?;
        let made = match self.prepare(name, &bytes, config).await {
            Ok(made) => self.rehearsed(name, made, config, moment).await,
            refused => refused,
        };
        let Some(shared) = &mut self.shared else { return Ok(()) };
        match made {
            Ok(made) => {
                shared.prepared.insert(name.clone(), (version, made));
                Ok(())
            }
            Err(refused) if refused.is_passing() => Err(Unready::Passing(refused.reason())),
            Err(refused) => {
                if let Refused::Approval(needs) = &refused {
                    shared.needs.insert(name.clone(), (version, needs.toml()));
                }
                Err(Unready::Refused(word(&refused)))
            }
        }
    }

    /// Proposes once more what this gateway refused, if it does not any more.
    async fn reconsider(&mut self, name: &PluginName, config: &Config, moment: Moment) {
        let Some(shared) = &mut self.shared else { return };
        if !shared.reconsider.contains(name) {
            return;
        }
        let proposal = shared.plugin(name).and_then(|plugin| plugin.proposal.clone());
        let over = proposal.filter(|proposal| proposal.refused.is_some());
        let Some(version) = over.and_then(|proposal| proposal.version) else {
            shared.reconsider.remove(name);
            return;
        };
        let ready = self.ready(name, version, config, moment).await;
        let Some(shared) = &mut self.shared else { return };
        match ready {
            Err(Unready::Passing(_)) => return,
            Err(Unready::Refused(_)) => {}
            Ok(()) => {
                let (plugin, version) = (name.clone(), Some(version));
                let what = Proposing { version, ..new(plugin) };
                match shared.publishing.propose(&what).await {
                    Ok(_) => {
                        tracing::info!(plugin = %name, "what was refused here is proposed once more");
                    }
                    Err(error) => {
                        tracing::warn!(plugin = %name, %error, "failed to propose it once more");
                        return;
                    }
                }
            }
        }
        shared.reconsider.remove(name);
    }

    /// Says of a proposal that is over by whom it was refused, and why. Whether that is news.
    async fn tell_refusal(&mut self, name: &PluginName, config: &Config, moment: Moment) -> bool {
        let Some(shared) = &mut self.shared else { return false };
        let plugin = shared.plugin(name);
        let Some(proposal) = plugin.and_then(|plugin| plugin.proposal.clone()) else {
            return false;
        };
        let Some(refused) = &proposal.refused else { return false };
        if shared.told.insert(name.clone(), proposal.number) == Some(proposal.number) {
            return false;
        }
        let Some(version) = proposal.version else {
            tracing::warn!(plugin = %name, "its removal was {}", refusal(refused));
            return false;
        };
        let _ = shared.take_prepared(name, version);
        let needs = shared.needs.get(name).filter(|(of, _)| *of == version);
        let add = needs.filter(|_| refused.by == shared.publishing.name());
        let add = add.map(|(_, toml)| toml.clone());
        let (why, reason) = match &add {
            Some(_) => (NotLive::NeedsApproval, refused.reason.clone()),
            None => (NotLive::Refused, refusal(refused)),
        };
        self.set_aside(
            name,
            FileStanding { version: Some(version), why, reason, add },
            config,
            moment,
        )
        .await;
        // Another file may have waited for the end of this.
        self.items.entry(name.clone()).or_default().again = None;
        true
    }

    /// Says what runs here, if that was not said, or nobody knows any more who said it.
    async fn say_what_runs(&mut self, moment: Moment) {
        let runs = self.runs();
        let Some(shared) = &mut self.shared else { return };
        if !shared.is_to_be_said(&runs, moment.now) {
            return;
        }
        match shared.publishing.run(&runs).await {
            Ok(()) => shared.said_runs(runs, moment.now),
            Err(error) => tracing::warn!(%error, "failed to say what runs here; it is tried again"),
        }
    }

    fn runs(&self) -> BTreeMap<PluginName, Runs> {
        let runs = |(name, item): (&PluginName, &Item)| {
            let version = self.live(name);
            let shared = self.shared.as_ref().and_then(|shared| shared.live(name));
            let standing = match (&item.file, item.trial) {
                (Some(file), _) if version.is_none() || version != shared => file.reason.clone(),
                _ if version.is_none() => "waits".to_owned(),
                (_, Some(_)) => "probation".to_owned(),
                (_, None) => "live".to_owned(),
            };
            (name.clone(), Runs { version, standing })
        };
        self.items.iter().map(runs).collect()
    }

    /// Has proposals decided about that nobody will say a word on any more.
    async fn decide(&mut self) {
        let Some(shared) = &self.shared else { return };
        if shared.seen.is_due()
            && let Err(error) = shared.publishing.decide().await
        {
            tracing::warn!(%error, "failed to decide about what is proposed; it is tried again");
        }
    }

    /// How a plugin stands on all gateways, if they share versions.
    pub(super) fn shared_standing(&self, name: &PluginName) -> Option<standing::Shared> {
        self.shared.as_ref().map(|shared| shared.standing(name))
    }
}

/// Why a version can't be made ready.
enum Unready {
    /// It may be another time.
    Passing(String),
    /// What is to be said of it.
    Refused(Word),
}

impl From<NotMade> for Unready {
    fn from(fault: NotMade) -> Self {
        // Content that is not there is there when it was proposed: it is looked for again.
        Self::Passing(fault.to_string())
    }
}

/// A proposal as one of a new version is; whoever makes it says of which.
pub(super) fn new(plugin: PluginName) -> Proposing {
    let (version, instead_of, away) = (None, None, None);
    Proposing { plugin, version, instead_of, trusted: false, hold: false, away }
}

/// Whether what is live for all has to prove itself.
fn probation(live: &PublishedVersion) -> bool {
    !live.trusted
}

/// The versions that can be had back, the last first.
fn earlier(plugin: &PublishedPlugin) -> Vec<Served> {
    let served = plugin.versions.iter().filter(|known| known.away.is_none());
    let served = served.filter_map(|known| {
        let (from, until) = known.from.zip(known.until)?;
        Some(Served { version: known.version, from, until })
    });
    let mut earlier: Vec<_> = served.collect();
    earlier.sort_by_key(|served| std::cmp::Reverse(served.until));
    earlier.truncate(EARLIER_MAX);
    earlier
}

/// The versions that were turned away for all, the first first; no more than are remembered here.
fn turned_away(plugin: &PublishedPlugin) -> Vec<TurnedAway> {
    let away = plugin.versions.iter().filter_map(|known| {
        let away = known.away.as_ref()?;
        let cause = Cause::from_word(&away.cause)?;
        let (version, reason, at) = (known.version, away.reason.clone(), away.at);
        Some(TurnedAway { version, cause, reason, at })
    });
    let mut away: Vec<_> = away.collect();
    away.sort_by_key(|away| away.at);
    let least = away.len().saturating_sub(TURNED_AWAY_MAX);
    away.split_off(least)
}

/// What all know of versions that were turned away, in a gateway's own record. What does not load here is its own matter.
fn note_away(record: &mut Record, plugin: &PublishedPlugin, away: Vec<TurnedAway>) {
    record.turned_away.retain(|known| {
        let forgiven = plugin.known(known.version).is_some_and(|it| it.away.is_none());
        known.cause == Cause::Load || !forgiven
    });
    for away in away {
        if record.away(away.version).is_none_or(|known| known.cause == Cause::Load) {
            record.turn_away(away);
        }
    }
}

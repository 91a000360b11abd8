//! What operators ask of a plugin's versions: serve an earlier one, hold one, let one be tried again.
//!
//! Written down before it is done, so that what was answered holds over a restart; what can't be written
//! down is refused and nothing has changed.

use hookweir_event::{Digest, PluginName};
use hookweir_store::{Away, Proposing};

use super::{Item, Moment, Shelf, exchange::new};
use crate::{
    config::{Config, near},
    reload::{
        verb::{Refusal, Verb, Wish},
        versions::{KeptFault, NotOne, Record, named},
    },
    standing::{Cause, NotLive, TurnedAway},
};

/// What was done.
#[derive(Debug)]
pub(in crate::reload) struct Obeyed {
    /// In words.
    pub(in crate::reload) said: String,
    /// The proposal that has to go live before it is so.
    pub(in crate::reload) number: Option<i64>,
}

impl From<String> for Obeyed {
    fn from(said: String) -> Self {
        Self { said, number: None }
    }
}

impl Shelf {
    /// Does what is asked. Answers what was done; the folder has to be looked at after that.
    pub(in crate::reload) async fn obey(
        &mut self,
        wish: &Wish,
        config: &Config,
        moment: Moment,
    ) -> Result<Obeyed, Refusal> {
        let name = &wish.plugin;
        let is_shared = self.shared.as_ref().is_some_and(|shared| shared.is_published(name));
        if !self.items.contains_key(name) && !is_shared {
            return Err(self.unknown(name, config));
        }
        let obeyed = match &wish.verb {
            Verb::Rollback { to } => self.roll_back(wish, to.as_deref(), config, moment).await?,
            Verb::Pin { to } => self.pin(wish, to.as_deref(), config, moment).await?,
            Verb::Unpin => self.unpin(name).await?.into(),
            Verb::Approve { version } => self.approve(name, version.as_deref()).await?.into(),
        };
        tracing::info!(plugin = %name, proposal = obeyed.number, "the operator: {}", obeyed.said);
        // What is in the folder is decided about anew.
        if let Some(item) = self.items.get_mut(name) {
            (item.key, item.file) = (None, None);
        }
        Ok(obeyed)
    }

    fn unknown(&self, name: &PluginName, config: &Config) -> Refusal {
        if self.versions.record(name).is_some() || config.plugins.contains_key(name) {
            return Refusal::NoFile;
        }
        let names = self.items.keys().map(PluginName::as_str);
        Refusal::NoPlugin { near: near(name.as_str(), names).map(str::to_owned) }
    }

    fn record(&self, name: &PluginName) -> Record {
        self.versions.record(name).cloned().unwrap_or_default()
    }

    async fn roll_back(
        &mut self,
        wish: &Wish,
        to: Option<&str>,
        config: &Config,
        moment: Moment,
    ) -> Result<Obeyed, Refusal> {
        let name = &wish.plugin;
        let record = self.record(name);
        if let Some(pin) = record.pin {
            return Err(Refusal::Pinned(pin));
        }
        let target = match to {
            Some(text) => one(text, record.kept())?,
            None => record.last_good().ok_or(Refusal::NoEarlier)?,
        };
        let left = self.live(name);
        if left == Some(target) {
            return Err(Refusal::Live(target));
        }
        let now = moment.timestamp();
        let said = match left {
            Some(left) => format!("rolled back from {} to {}", left.short(), target.short()),
            None => format!("{} serves", target.short()),
        };
        let reason = format!("rolled back by the operator to {}", target.short());
        if self.shares() {
            let cause = Cause::Operator.as_str().to_owned();
            let away = left.map(|version| Away { version, cause, reason, at: now });
            let (version, trusted) = (Some(target), true);
            let what = Proposing { version, instead_of: left, trusted, away, ..new(name.clone()) };
            let number = Some(self.propose_kept(&what, config).await?);
            return Ok(Obeyed { said, number });
        }
        let away = |version| TurnedAway { version, cause: Cause::Operator, reason, at: now };
        let change = |record: &mut Record| {
            record.go_live(target, now, false);
            if let Some(left) = left {
                record.turn_away(away(left));
            }
        };
        self.serve(wish, target, change, config, moment).await?;
        Ok(said.into())
    }

    async fn pin(
        &mut self,
        wish: &Wish,
        to: Option<&str>,
        config: &Config,
        moment: Moment,
    ) -> Result<Obeyed, Refusal> {
        let name = &wish.plugin;
        let record = self.record(name);
        let target = match to {
            Some(text) => one(text, record.kept())?,
            None => self.live(name).ok_or(Refusal::NotLive)?,
        };
        let said = format!("{} is pinned", target.short());
        if self.shares() && !self.hold_for_all(name, Some(target)).await? {
            let (version, trusted, hold) = (Some(target), true, true);
            let what = Proposing { version, trusted, hold, ..new(name.clone()) };
            let number = Some(self.propose_kept(&what, config).await?);
            return Ok(Obeyed { said, number });
        }
        let now = moment.timestamp();
        if self.live(name) == Some(target) {
            // It could not be kept, such as on a full disk.
            self.versions.read(target).await.map_err(|fault| {
                let reason = fault.to_string();
                Refusal::NotKept { version: target, reason }
            })?;
            self.written(name, |record| record.hold(target)).await?;
            self.end_probation(name).await;
        } else {
            let change = |record: &mut Record| {
                record.go_live(target, now, false);
                record.hold(target);
            };
            self.serve(wish, target, change, config, moment).await?;
        }
        Ok(said.into())
    }

    /// Holds what is live on all gateways, or nothing any more. False if it is not live for all.
    async fn hold_for_all(
        &mut self,
        name: &PluginName,
        version: Option<Digest>,
    ) -> Result<bool, Refusal> {
        let Some(shared) = &self.shared else { return Ok(true) };
        let held = shared.publishing.hold(name, version).await;
        held.map_err(|error| Refusal::NotWritten(error.to_string()))
    }

    async fn unpin(&mut self, name: &PluginName) -> Result<String, Refusal> {
        let Some(pin) = self.record(name).pin else { return Err(Refusal::NotPinned) };
        self.hold_for_all(name, None).await?;
        self.written(name, |record| record.pin = None).await?;
        Ok(format!("{} is not pinned any more", pin.short()))
    }

    async fn approve(
        &mut self,
        name: &PluginName,
        version: Option<&str>,
    ) -> Result<String, Refusal> {
        let record = self.record(name);
        let item = self.items.get(name).cloned().unwrap_or_default();
        let held = version.is_none().then(|| item.file.as_ref().map(|file| file.why)).flatten();
        if held == Some(NotLive::Pinned) {
            return Err(record.pin.map_or(Refusal::NotPinned, Refusal::Pinned));
        }
        if let (Some(NotLive::NeedsApproval), Some(file)) = (held, &item.file) {
            return Err(Refusal::Grant(file.reason.clone()));
        }
        let in_folder = item.file.as_ref().and_then(|file| file.version);
        let turned_away = record.turned_away.iter().map(|away| away.version);
        let approved = match version {
            Some(text) => Some(one(text, turned_away.chain(in_folder))?),
            None => in_folder,
        };
        if let (Some(approved), Some(shared)) = (approved, &self.shared) {
            let forgiven = shared.publishing.forgive(name, approved).await;
            forgiven.map_err(|error| Refusal::NotWritten(error.to_string()))?;
        }
        if let Some(approved) = approved {
            self.written(name, |record| _ = record.forgive(approved)).await?;
        }
        // Whatever it was that made its breaker open, the operator says it is over.
        self.generations += 1;
        let item = self.items.entry(name.clone()).or_default();
        item.generation = self.generations;
        item.insists = in_folder.is_some() && in_folder == approved;
        if let (Some(shared), Some(_)) = (&mut self.shared, approved) {
            shared.reconsider.insert(name.clone());
        }
        let Some(approved) = approved else {
            return Ok("its breaker begins anew; no version waited".to_owned());
        };
        let where_from = if in_folder == Some(approved) {
            ""
        } else if record.kept().any(|kept| kept == approved) {
            "; the folder has another: `rollback` to it has it serve"
        } else {
            "; it is not in the folder"
        };
        Ok(format!("{} may go live again{where_from}", approved.short()))
    }

    /// Has a kept version serve, if it can, and writes down that it does. To make it takes time: who gave up
    /// meanwhile was told to ask again, and finds everything as it was.
    async fn serve(
        &mut self,
        wish: &Wish,
        version: Digest,
        change: impl FnOnce(&mut Record),
        config: &Config,
        moment: Moment,
    ) -> Result<(), Refusal> {
        let name = &wish.plugin;
        let made = self.made_of_kept(name, version, config).await;
        let made = made.map_err(|fault| {
            let reason = fault.to_string();
            Refusal::CanNotServe { version, reason }
        })?;
        if wish.is_forsaken() {
            return Err(Refusal::Busy);
        }
        self.written(name, change).await?;
        self.go_live(name, made, moment);
        Ok(())
    }

    async fn written(
        &mut self,
        name: &PluginName,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), Refusal> {
        let changed = self.versions.change(name, change).await;
        changed.map_err(|fault: KeptFault| Refusal::NotWritten(fault.to_string()))
    }

    /// Why what was approved is not live, now that the folder was looked at.
    pub(in crate::reload) fn still_held(&self, name: &PluginName) -> Option<String> {
        let item: &Item = self.items.get(name)?;
        item.file.as_ref().map(|file| file.reason.clone())
    }
}

fn one(text: &str, among: impl Iterator<Item = Digest>) -> Result<Digest, Refusal> {
    let among: Vec<_> = among.collect();
    named(text, among.iter().copied()).map_err(|error| match error {
        NotOne::None => Refusal::NoVersion { text: text.to_owned(), known: among },
        NotOne::Several(found) => Refusal::Ambiguous { text: text.to_owned(), found },
    })
}

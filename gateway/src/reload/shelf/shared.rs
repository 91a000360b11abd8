//! What this gateway knows of versions that gateways share, and what it said of them itself. Plain data; `exchange`
//! follows it and `offer` adds to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use hookweir_event::{Digest, PluginName, Timestamp};
use hookweir_store::{Proposal, Published, PublishedPlugin, Publishing, Refused, Runs, Word};

use super::Made;
use crate::{reload::scan::FolderKey, standing};

/// How long what could not be done, by no fault of a version's, is left alone.
const AGAIN: Duration = Duration::from_secs(5);
/// All is looked at after so long though nothing was changed: a gateway that is gone changes nothing.
const WHOLE: Duration = Duration::from_secs(5);

/// One gateway's part.
#[derive(Debug, Clone)]
pub(in crate::reload) struct Shared {
    pub(super) publishing: Publishing,
    /// As it was seen last.
    pub(super) seen: Published,
    seen_at: Option<Instant>,
    /// It can't be seen now.
    pub(super) is_away: bool,
    /// The files in the folder are looked at for the first time.
    pub(super) starting: bool,
    /// The folder that was looked at last.
    pub(super) folder: Option<FolderKey>,
    /// Versions that are ready to serve, or proposed.
    pub(super) prepared: BTreeMap<PluginName, (Digest, Made)>,
    /// The proposals that it said its word on, by their numbers.
    pub(super) said: BTreeMap<PluginName, i64>,
    /// What its config lacks for a version that it refused, in TOML.
    pub(super) needs: BTreeMap<PluginName, (Digest, String)>,
    /// What is live for all and is here, by its number.
    pub(super) followed: BTreeMap<PluginName, i64>,
    /// The refused proposals that were told of.
    pub(super) told: BTreeMap<PluginName, i64>,
    /// What it refused, and may not under the config that is in force now.
    pub(super) reconsider: BTreeSet<PluginName>,
    /// Until when something is left alone.
    later: BTreeMap<PluginName, (i64, Instant)>,
    /// What it last said that it runs, and when.
    ran: Option<(BTreeMap<PluginName, Runs>, Instant)>,
}

impl Shared {
    pub(in crate::reload) fn new(publishing: Publishing) -> Self {
        let now = Timestamp::from_millis(0);
        let (gateways, plugins) = (Vec::new(), BTreeMap::new());
        let seen = Published { revision: -1, now, boot: 0, gateways, plugins };
        Self {
            publishing,
            seen,
            seen_at: None,
            is_away: false,
            starting: true,
            folder: None,
            prepared: BTreeMap::new(),
            said: BTreeMap::new(),
            needs: BTreeMap::new(),
            followed: BTreeMap::new(),
            told: BTreeMap::new(),
            reconsider: BTreeSet::new(),
            later: BTreeMap::new(),
            ran: None,
        }
    }

    /// The revision whose successors are news. None: all of it is looked at, since who lives may matter.
    pub(super) fn since(&self, now: Instant) -> Option<i64> {
        let is_old = self.seen_at.is_none_or(|at| now.saturating_duration_since(at) >= WHOLE);
        let matters = is_old || self.seen.open().next().is_some();
        (!matters).then_some(self.seen.revision)
    }

    /// Takes what was seen. Whether it is other than before.
    pub(super) fn see(&mut self, seen: Published, now: Instant) -> bool {
        self.seen_at = Some(now);
        let before = std::mem::replace(&mut self.seen, seen);
        before.revision != self.seen.revision || before.gateways != self.seen.gateways
    }

    pub(super) fn plugin(&self, name: &PluginName) -> Option<&PublishedPlugin> {
        self.seen.plugins.get(name)
    }

    /// Whether anything of this plugin was ever live for all.
    pub(super) fn is_published(&self, name: &PluginName) -> bool {
        self.plugin(name).is_some_and(|plugin| plugin.live.is_some())
    }

    /// What is live for all.
    pub(super) fn live(&self, name: &PluginName) -> Option<Digest> {
        self.plugin(name)?.live.as_ref()?.version
    }

    /// The proposal under way that waits for our word.
    pub(super) fn unanswered(&self, name: &PluginName) -> Option<Proposal> {
        let proposal = self.plugin(name)?.under_way()?;
        let answered = self.said.get(name) == Some(&proposal.number)
            || proposal.words.iter().any(|said| said.boot == self.seen.boot);
        (!answered).then(|| proposal.clone())
    }

    /// Leaves something alone for a while.
    pub(super) fn put_off(&mut self, name: &PluginName, number: i64, now: Instant) {
        self.later.insert(name.clone(), (number, now + AGAIN));
    }

    /// Whether something is left alone still.
    pub(super) fn is_put_off(&self, name: &PluginName, number: i64, now: Instant) -> bool {
        self.later.get(name).is_some_and(|(of, until)| *of == number && now < *until)
    }

    /// What a plugin may have has changed.
    pub(super) fn grant_changed(&mut self, name: &PluginName) {
        self.prepared.remove(name);
        self.later.remove(name);
        let by_us = |refused: &Refused| refused.by == self.publishing.name();
        let proposal = self.plugin(name).and_then(|plugin| plugin.proposal.as_ref());
        if proposal.and_then(|proposal| proposal.refused.as_ref()).is_some_and(by_us) {
            self.reconsider.insert(name.clone());
        }
    }

    /// Whether it is to be said what runs here: it was not, or nobody knows any more who said it.
    pub(super) fn is_to_be_said(&self, runs: &BTreeMap<PluginName, Runs>, now: Instant) -> bool {
        let Some((said, at)) = &self.ran else { return true };
        let boot = self.seen.boot;
        let is_known = self.seen.gateways.iter().any(|gateway| gateway.boot == boot);
        said != runs || (!is_known && now.saturating_duration_since(*at) >= AGAIN)
    }

    pub(super) fn said_runs(&mut self, runs: BTreeMap<PluginName, Runs>, now: Instant) {
        self.ran = Some((runs, now));
    }

    /// Takes the version that is ready, if it is this one.
    pub(super) fn take_prepared(&mut self, name: &PluginName, version: Digest) -> Option<Made> {
        let is_it = self.prepared.get(name).is_some_and(|(of, _)| *of == version);
        is_it.then(|| self.prepared.remove(name)).flatten().map(|(_, made)| made)
    }

    /// How a plugin stands on all gateways.
    pub(super) fn standing(&self, name: &PluginName) -> standing::Shared {
        let gateways = self.seen.gateways.iter().map(|gateway| {
            let runs = gateway.runs.get(name);
            standing::RunsOn {
                gateway: gateway.name.clone(),
                version: runs.and_then(|runs| runs.version),
                standing: runs.map_or_else(|| "unknown".to_owned(), |runs| runs.standing.clone()),
            }
        });
        let proposal = self.plugin(name).and_then(|plugin| plugin.proposal.as_ref());
        standing::Shared {
            gateways: gateways.collect(),
            proposal: proposal.map(|proposal| self.proposal(proposal)),
        }
    }

    fn proposal(&self, proposal: &Proposal) -> standing::Proposal {
        let said = proposal.words.iter().map(|said| standing::Word {
            gateway: said.gateway.clone(),
            word: said.word.as_str(),
            reason: said.word.reason().map(str::to_owned),
        });
        let has_spoken = |boot| proposal.words.iter().any(|said| said.boot == boot);
        let silent = self.seen.gateways.iter().filter(|gateway| !has_spoken(gateway.boot));
        let silent = silent.map(|gateway| standing::Word {
            gateway: gateway.name.clone(),
            word: "awaited",
            reason: None,
        });
        let is_over = proposal.refused.is_some();
        standing::Proposal {
            version: proposal.version,
            by: proposal.by.clone(),
            at: proposal.at,
            until: proposal.until,
            refused: proposal.refused.as_ref().map(refusal),
            words: said.chain(silent.filter(|_| !is_over)).collect(),
        }
    }

    /// What came of a proposal that this gateway made: none if that is not known yet.
    pub(super) fn came_of(&self, name: &PluginName, number: i64) -> Option<Result<(), String>> {
        let plugin = self.plugin(name)?;
        if plugin.live.as_ref().is_some_and(|live| live.number == number) {
            return (self.followed.get(name) == Some(&number)).then_some(Ok(()));
        }
        let later = |of: i64| of > number;
        let proposal = plugin.proposal.as_ref();
        match proposal.filter(|proposal| proposal.number == number) {
            Some(Proposal { refused: Some(refused), .. }) => Some(Err(refusal(refused))),
            Some(_) => None,
            None => {
                let over = proposal.is_some_and(|proposal| later(proposal.number))
                    || plugin.live.as_ref().is_some_and(|live| later(live.number));
                over.then(|| Err("another version was proposed after it".to_owned()))
            }
        }
    }
}

/// Why a proposal did not go live, in a sentence.
pub(super) fn refusal(refused: &Refused) -> String {
    format!("refused by gateway {}: {}", refused.by, refused.reason)
}

/// What is said of a proposal that can't be served here.
pub(super) fn word(refused: &super::Refused) -> Word {
    let reason = refused.reason();
    match refused {
        super::Refused::Approval(_) => Word::NeedsApproval(reason),
        super::Refused::Fault(_) | super::Refused::Trial(..) => Word::Refused(reason),
    }
}

//! What one request is checked against: the sources and plugins in force, and the limits that go with
//! them.
//!
//! Limits outlive a reload as long as their rate is the same, so that a reload forgives nobody. One whose rate
//! was changed begins anew, with its whole burst: the operator has said what is allowed now.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwapOption;
use hookweir_event::{PluginName, SourceName};

use super::door::Turns;
use crate::{
    budget::{Budget, Shares},
    limits::{AddressLimit, RefusedLimit, SharedRates, VerifiedLimit},
    live::{Board, Live, Plugin},
};

/// Requests of one source that its verifier looks at, at the same time.
const VERIFIED_AT_ONCE: usize = 2;

/// The sources in force and their limits.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) live: Arc<Live>,
    pub(super) address: Arc<AddressLimit>,
    pub(super) refused: Arc<RefusedLimit>,
    /// The same rate for what plugins answer, in buckets of their own: who asks a plugin must not spend
    /// what its webhooks need.
    pub(super) api_address: Arc<AddressLimit>,
    /// What requests may hold, all together.
    pub(super) budget: Arc<Budget>,
    /// What requests to plugins hold of it.
    pub(super) api_shares: Arc<Shares>,
    /// Verified requests of all sources together.
    pub(super) verified: VerifiedLimit,
    sources: HashMap<SourceName, VerifiedLimit>,
    verifiers: HashMap<SourceName, Arc<Turns>>,
    apis: HashMap<PluginName, Arc<Turns>>,
}

impl Desk {
    /// A desk for `live` that keeps the buckets of `before` whose rates are unchanged.
    fn following(
        live: Arc<Live>,
        (budget, rates): (&Arc<Budget>, &SharedRates),
        before: Option<&Self>,
    ) -> Self {
        let server = &live.config.server;
        let address = before.map(|desk| desk.address.clone());
        let refused = before.map(|desk| desk.refused.clone());
        let source = |source: &Arc<crate::live::Source>| {
            let name = format!("source/{}", source.name);
            let limit = VerifiedLimit::new("source", &name, source.config.rate, rates);
            (source.name.clone(), limit)
        };
        let api_address = before.map(|desk| desk.api_address.clone());
        let verified = live.sources().filter(|source| source.config.verifier.is_some());
        let verifier = |source: &Arc<crate::live::Source>| {
            let kept = before.and_then(|desk| desk.verifiers.get(&source.name)).cloned();
            let turns = kept.unwrap_or_else(|| Arc::new(Turns::new(VERIFIED_AT_ONCE)));
            (source.name.clone(), turns)
        };
        let api = |(name, plugin): (&PluginName, &Plugin)| {
            let most = usize::try_from(plugin.api.concurrency).unwrap_or(usize::MAX);
            let kept = before.and_then(|desk| desk.apis.get(name)).cloned();
            let kept = kept.filter(|kept| kept.most() == most);
            (name.clone(), kept.unwrap_or_else(|| Arc::new(Turns::new(most))))
        };
        Self {
            address: address
                .filter(|kept| kept.rate() == server.address_rate)
                .unwrap_or_else(|| Arc::new(AddressLimit::new("address", server.address_rate))),
            api_address: api_address
                .filter(|kept| kept.rate() == server.address_rate)
                .unwrap_or_else(|| Arc::new(AddressLimit::new("api", server.address_rate))),
            refused: refused
                .filter(|kept| kept.rate() == server.refused_rate)
                .unwrap_or_else(|| Arc::new(RefusedLimit::new(server.refused_rate))),
            verified: VerifiedLimit::new("server", "server", server.rate, rates),
            budget: budget.clone(),
            api_shares: before.map(|desk| desk.api_shares.clone()).unwrap_or_default(),
            sources: live.sources().map(source).collect(),
            verifiers: verified.map(verifier).collect(),
            apis: live.plugins().iter().map(api).collect(),
            live,
        }
    }

    /// The limit of a source of this desk.
    pub(super) fn source(&self, name: &SourceName) -> &VerifiedLimit {
        self.sources.get(name).expect("invariant: every source of a desk has a limit")
    }
}

impl Desk {
    /// The calls of this source's verifier, if it has one.
    pub(super) fn verifier(&self, name: &SourceName) -> Option<&Turns> {
        self.verifiers.get(name).map(AsRef::as_ref)
    }

    /// The calls of this plugin's api.
    pub(super) fn api(&self, name: &PluginName) -> Option<&Turns> {
        self.apis.get(name).map(AsRef::as_ref)
    }
}

/// The desk that is in use, replaced when what is in force has been.
#[derive(Debug)]
pub(super) struct Desks {
    budget: Arc<Budget>,
    rates: Arc<SharedRates>,
    current: ArcSwapOption<Desk>,
}

impl Desks {
    /// Desks that share this budget and these rates.
    pub(super) fn new(budget: Arc<Budget>, rates: Arc<SharedRates>) -> Self {
        Self { budget, rates, current: ArcSwapOption::empty() }
    }

    /// The desk for what is in force now.
    pub(super) fn current(&self, board: &Board) -> Arc<Desk> {
        loop {
            // In this order: what is in force is then no older than what the desk was made of.
            let before = self.current.load();
            let live = board.load();
            if let Some(desk) = before.as_ref().filter(|desk| Arc::ptr_eq(&desk.live, &live)) {
                return desk.clone();
            }
            if let Some(next) = self.follow(&before, Arc::clone(&live)) {
                return next;
            }
        }
    }

    /// Puts a desk in the place of the one before. None if another has come there meanwhile: that may be newer, and
    /// has buckets that must not be lost.
    fn follow(&self, before: &Option<Arc<Desk>>, live: Arc<Live>) -> Option<Arc<Desk>> {
        let shared = (&self.budget, &*self.rates);
        let next = Arc::new(Desk::following(live, shared, before.as_deref()));
        let found = self.current.compare_and_swap(before, Some(next.clone()));
        let same = found.as_ref().map(Arc::as_ptr) == before.as_ref().map(Arc::as_ptr);
        same.then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;
    use crate::config::{Config, Surroundings};

    fn live() -> Live {
        let around = Surroundings { env: &|_| None, file: &|_| Ok(String::new()) };
        let text = "[server]\nrate = \"10/hour\"\n";
        let config = Config::parse(text, Path::new(""), &around).unwrap();
        Live::new(Arc::new(config), [], BTreeMap::new())
    }

    #[test]
    fn a_desk_that_comes_late_does_not_replace_a_newer_one() {
        let desks = Desks::new(Arc::default(), Arc::new(SharedRates::alone()));
        let left = |desk: &Desk| {
            let mut headers = http::HeaderMap::new();
            desk.verified.take().unwrap().unwrap().describe(&mut headers);
            headers["ratelimit"].to_str().unwrap().split(';').nth(1).unwrap().to_owned()
        };
        let board = Board::from_pointee(live());
        let first = desks.current(&board);
        assert!(Arc::ptr_eq(&first, &desks.current(&board)));
        // One request has looked when what is in force is replaced, and another is quicker.
        board.store(Arc::new(live()));
        let (before, looked) = (desks.current.load_full(), board.load_full());
        board.store(Arc::new(live()));
        let newer = desks.current(&board);
        assert!(desks.follow(&before, looked).is_none());
        assert!(Arc::ptr_eq(&newer, &desks.current(&board)));
        assert_eq!(
            (left(&first), left(&newer)),
            ("r=9".into(), "r=8".into()),
            "nobody is forgiven"
        );
    }
}

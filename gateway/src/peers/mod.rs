//! The other gateways at the same store. Once a second this one says what it is asked for of the rates that all share, and
//! which breakers it has open; and it hears the same of the others, and what is paused.
//!
//! A store in a file has no other gateway: then nothing of this runs, all rates are whole, and pauses are those that were
//! made here.

mod bids;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_store::{Heard, Said, Store, StoreError};
use tokio::time::MissedTickBehavior;

use self::bids::Bids;
use crate::{dispatch::Breakers, limits::SharedRates, pauses::Pauses, tasks::Stop};

/// How often gateways speak. What they are answered holds for four times as long.
const EVERY: Duration = Duration::from_secs(1);

/// What this gateway has to say, and does about what it hears.
#[derive(Debug)]
pub(crate) struct Peers {
    store: Store,
    rates: Arc<SharedRates>,
    pauses: Pauses,
    bids: Bids,
    /// What it heard at first.
    met: Heard,
    /// When it spoke last.
    spoke_at: Instant,
    /// Whether it was answered.
    answered: bool,
}

impl Peers {
    /// Makes this gateway known before it takes anything, so that its rates begin with what is fair.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(crate) async fn meet(store: &Store, pauses: &Pauses) -> Result<Self, StoreError> {
        let (spoke_at, rates) = (Instant::now(), Arc::new(SharedRates::alone()));
        let (mut bids, mut met) = (Bids::default(), Heard::default());
        if store.is_shared() {
            met = store.confer(Said::default()).await?;
            bids.hear(&rates, &met, (spoke_at, Instant::now()));
            tracing::info!(gateways = met.gateways, "at a store that gateways share");
        }
        let (store, pauses) = (store.clone(), pauses.clone());
        Ok(Self { store, rates, pauses, bids, met, spoke_at, answered: true })
    }

    /// The rates that gateways share.
    pub(crate) fn rates(&self) -> Arc<SharedRates> {
        self.rates.clone()
    }

    /// Has breakers that have not let anything through hold to what it heard at first.
    pub(crate) fn introduce(&self, breakers: &Breakers) {
        breakers.hear(&self.met, self.spoke_at);
    }

    /// Speaks until `stop`, of these breakers too.
    pub(crate) async fn run(mut self, breakers: Breakers, mut stop: Stop) {
        if !self.store.is_shared() {
            return stop.asked().await;
        }
        let mut second = tokio::time::interval(EVERY);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let spoken = async {
                second.tick().await;
                self.speak(&breakers).await;
            };
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = spoken => {}
            }
        }
    }

    async fn speak(&mut self, breakers: &Breakers) {
        let asked_at = Instant::now();
        let passed = asked_at.saturating_duration_since(self.spoke_at);
        self.spoke_at = asked_at;
        let changes = self.pauses.changes();
        let said = Said {
            rates: self.bids.say(&self.rates, passed, asked_at),
            breakers: breakers.say(asked_at),
        };
        let heard = match self.store.confer(said).await {
            Ok(heard) => heard,
            Err(error) => {
                if std::mem::replace(&mut self.answered, false) {
                    tracing::warn!(%error, "out of touch with other gateways; trying again");
                }
                return;
            }
        };
        if !std::mem::replace(&mut self.answered, true) {
            tracing::info!("in touch with other gateways again");
        }
        let now = Instant::now();
        let before = self.rates.gateways();
        if self.bids.hear(&self.rates, &heard, (asked_at, now)) {
            breakers.look();
        }
        if heard.gateways != before {
            tracing::info!(before, gateways = heard.gateways, "another number of gateways");
        }
        breakers.hear(&heard, now);
        self.pauses.hear(heard.pauses, changes);
    }
}

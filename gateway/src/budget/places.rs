//! Places in front of the store: events that were handed to it and are not on disk yet.
//!
//! The store takes what waits as one commit, so more of it costs little until the disk gets slow. While
//! commits take longer than they should, there are fewer places: who floods, and whose priority is low, is
//! turned away first, and nobody's answer takes as long as the queue could get.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    Budget, Parties, Pool, Shares, Shed,
    share::{Full, Terms},
};
use crate::config::{Priority, ServerConfig};

/// Places that a source of normal priority has whatever others do: while a disk stands still, those that are
/// taken may be more than there are left. One of high priority has twice as many, one of low half.
const ASSURED: u64 = 16;
/// How much one commit's time changes what is expected of the next: an eighth.
const SMOOTHING: u32 = 3;

/// The events that wait for their commit.
#[derive(Debug, Default)]
pub struct Places {
    pool: Pool,
    /// How long appends took lately, in microseconds.
    latency: AtomicU64,
}

/// How many places a source may have.
fn terms(most: u64, priority: Priority) -> Terms {
    let quarters = priority.quarters();
    Terms { most, quarters, assured: ASSURED * quarters / 4 }
}

impl Places {
    /// How many are taken.
    pub fn taken(&self) -> u64 {
        self.pool.held()
    }

    /// How many there are now: all, while appends take no longer than they should, and fewer by as much as they
    /// take longer.
    pub fn most(&self, server: &ServerConfig) -> u64 {
        let target = micros(server.append_latency).max(1);
        let latency = self.latency.load(Relaxed).max(target);
        server.appends_max.saturating_mul(target) / latency
    }

    /// Whether there is one for this source, before any work is done for it.
    pub(crate) fn look(
        &self,
        shares: &Shares,
        server: &ServerConfig,
        priority: Priority,
    ) -> Result<(), Shed> {
        let terms = terms(self.most(server), priority);
        terms.allow(self.pool.held(), shares.places.held(), 1).map_err(shed)
    }

    /// Takes one.
    pub(crate) fn take(
        (budget, shares): Parties,
        server: &ServerConfig,
        priority: Priority,
    ) -> Result<Place, Shed> {
        let places = &budget.places;
        let terms = terms(places.most(server), priority);
        places.pool.take(&shares.places, 1, &terms).map_err(shed)?;
        Ok(Place { budget, shares })
    }

    /// An append took so long.
    pub(crate) fn took(&self, time: Duration) {
        // Two at a time may count as one: it is an estimate.
        let before = self.latency.load(Relaxed);
        let now = before - (before >> SMOOTHING) + (micros(time) >> SMOOTHING);
        self.latency.store(now, Relaxed);
    }
}

fn shed(full: Full) -> Shed {
    match full {
        Full::All => Shed::Queue,
        Full::Own => Shed::QueueShare,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The place of one event. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    budget: Arc<Budget>,
    shares: Arc<Shares>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.budget.places.pool.give_back(&self.shares.places, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn server() -> ServerConfig {
        let text = "[server]\nappends_max = 1000\nappend_latency = \"100ms\"\n";
        let around = crate::config::Surroundings::real();
        Config::parse(text, std::path::Path::new(""), &around).unwrap().server
    }

    fn take(budget: &Arc<Budget>, shares: &Arc<Shares>) -> Result<Place, Shed> {
        Places::take((budget.clone(), shares.clone()), &server(), Priority::Normal)
    }

    #[test]
    fn a_flooding_source_leaves_places_and_a_quiet_one_always_finds_some() {
        let budget = Arc::<Budget>::default();
        let (flood, quiet) = (Arc::<Shares>::default(), Arc::<Shares>::default());
        let held: Vec<_> = std::iter::from_fn(|| take(&budget, &flood).ok()).collect();
        assert_eq!((held.len(), budget.places.taken()), (500, 500));
        assert_eq!(take(&budget, &flood).unwrap_err(), Shed::QueueShare);
        assert!(take(&budget, &quiet).is_ok());
        // The disk has become slow: what is taken is more than there is now.
        (0..100).for_each(|_| budget.places.took(Duration::from_secs(1)));
        let most = budget.places.most(&server());
        assert!((100..=102).contains(&most), "a tenth: {most}");
        let few: Vec<_> = std::iter::from_fn(|| take(&budget, &quiet).ok()).collect();
        assert_eq!(few.len() as u64, ASSURED);
        assert_eq!(take(&budget, &quiet).unwrap_err(), Shed::Queue);
        drop((held, few));
        assert_eq!((budget.places.taken(), flood.appends()), (0, 0));
        (0..100).for_each(|_| budget.places.took(Duration::from_millis(1)));
        assert_eq!(budget.places.most(&server()), 1000, "it is quick again");
    }
}

//! Room that several share and nobody waits for. One rule decides who may have more of it, that of dynamic
//! thresholds (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches",
//! IEEE/ACM Transactions on Networking 6(2), 1998): what one holds then is at most its weight times what is free.
//!
//! One that floods gets half of it, two a third each, and some is always left for who holds little. Nobody has
//! to be counted, and nothing is set aside for who is not there.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::config::Priority;

/// Room that is shared, in bytes or in places.
#[derive(Debug, Default)]
pub struct Pool(AtomicU64);

/// What one of those who share holds of a pool.
#[derive(Debug, Default)]
pub struct Lane(AtomicU64);

/// How much there is, and how much of it one may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// All of it.
    pub(super) most: u64,
    /// The weight of who wants it, in quarters.
    pub(super) quarters: u64,
    /// What one may hold whatever others do.
    pub(super) assured: u64,
}

/// Why there is none to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Too little is left for anybody.
    All,
    /// One that holds less could have it.
    Own,
}

impl Priority {
    /// The weight: with it alone, one gets a third, a half or two thirds of a pool.
    pub(super) fn quarters(self) -> u64 {
        match self {
            Self::Low => 2,
            Self::Normal => 4,
            Self::High => 8,
        }
    }
}

impl Terms {
    /// Whether one that holds `own` may have `more`, where `held` is held by all together.
    pub(super) fn allow(&self, held: u64, own: u64, more: u64) -> Result<(), Full> {
        let own = own.saturating_add(more);
        let free = self.most.saturating_sub(held);
        if own <= self.assured {
            Ok(())
        } else if more > free {
            Err(Full::All)
        } else if own.saturating_mul(4) > free.saturating_mul(self.quarters) {
            Err(Full::Own)
        } else {
            Ok(())
        }
    }
}

impl Pool {
    /// What is held of it.
    pub fn held(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Takes so much more for a lane, at once or not at all. Beyond what is assured to lanes, no more than
    /// there is is ever taken.
    pub(super) fn take(&self, lane: &Lane, more: u64, terms: &Terms) -> Result<(), Full> {
        self.exchange((lane, 0), (lane, more), 0, terms)
    }

    /// Takes so much for a lane in place of what one has, of the same or another, at once or not at all: if not, one
    /// keeps what one has. That, and what one has `beside` it, counts as free, so that nobody is in one's own way.
    pub(super) fn exchange(
        &self,
        (from, had): (&Lane, u64),
        (to, wanted): (&Lane, u64),
        beside: u64,
        terms: &Terms,
    ) -> Result<(), Full> {
        let own = if std::ptr::eq(from, to) { had } else { 0 };
        let mut held = self.held();
        loop {
            let others = held.saturating_sub(had + beside);
            terms.allow(others, to.held().saturating_sub(own), wanted)?;
            match self.0.compare_exchange_weak(held, held + wanted - had, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(now) => held = now,
            }
        }
        to.0.fetch_add(wanted, Relaxed);
        from.0.fetch_sub(had, Relaxed);
        Ok(())
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&self, lane: &Lane, size: u64) {
        lane.0.fetch_sub(size, Relaxed);
        self.0.fetch_sub(size, Relaxed);
    }
}

impl Lane {
    /// What it holds.
    pub fn held(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NORMAL: Terms = Terms { most: 1200, quarters: 4, assured: 0 };

    /// Lets these take one by one, in turns, until none gets more. Answers what each has.
    fn flood(terms: &[Terms]) -> (Pool, Vec<u64>) {
        let pool = Pool::default();
        let lanes: Vec<_> = terms.iter().map(|_| Lane::default()).collect();
        let mut takes = true;
        while takes {
            let all = lanes.iter().zip(terms);
            takes = all.filter(|(lane, terms)| pool.take(lane, 1, terms).is_ok()).count() > 0;
        }
        (pool, lanes.iter().map(Lane::held).collect())
    }

    #[test]
    fn who_floods_leaves_room_for_others() {
        assert_eq!(flood(&[NORMAL]).1, [600]);
        assert_eq!(flood(&[NORMAL; 2]).1, [400; 2]);
        let (pool, held) = flood(&[NORMAL; 5]);
        assert_eq!(held, [200; 5]);
        let late = Lane::default();
        assert_eq!(pool.take(&late, 100, &NORMAL), Ok(()), "who comes late and wants little");
        // Without the rule, as it were: one whose weight is without bounds takes it all.
        let greedy = Terms { quarters: u64::MAX, ..NORMAL };
        let (pool, held) = flood(&[greedy]);
        assert_eq!(held, [1200]);
        assert_eq!(pool.take(&late, 1, &NORMAL), Err(Full::All));
    }

    #[test]
    fn more_important_ones_get_more_and_the_least_are_turned_away_first() {
        let terms = [Priority::Low, Priority::Normal, Priority::High];
        let terms = terms.map(|priority| Terms { quarters: priority.quarters(), ..NORMAL });
        assert_eq!(flood(&terms[..1]).1, [400]);
        assert_eq!(flood(&terms[2..]).1, [800]);
        let (pool, held) = flood(&terms);
        assert!(held[0] < held[1] && held[1] < held[2], "{held:?}");
        // The room gets less, as it does while commits are slow.
        let left = pool.held() + 100;
        let smaller = terms.map(|terms| Terms { most: left, ..terms });
        let fresh = Lane::default;
        assert_eq!(pool.take(&fresh(), 60, &smaller[0]), Err(Full::Own));
        assert_eq!(pool.take(&fresh(), 60, &smaller[1]), Ok(()));
    }

    #[test]
    fn what_is_assured_is_to_be_had_whatever_others_hold() {
        let pool = Pool::default();
        let greedy = Terms { quarters: u64::MAX, ..NORMAL };
        let (flood, quiet) = (Lane::default(), Lane::default());
        assert_eq!(pool.take(&flood, 1200, &greedy), Ok(()));
        let assured = Terms { assured: 16, ..NORMAL };
        assert_eq!(pool.take(&quiet, 16, &assured), Ok(()));
        assert_eq!(pool.take(&quiet, 1, &assured), Err(Full::All));
    }

    proptest! {
        #[test]
        fn no_more_is_held_than_there_is_and_all_comes_back(
            wishes in proptest::collection::vec((0_usize..4, 1_u64..400, any::<bool>()), 1..60)
        ) {
            let (pool, mut held) = (Pool::default(), Vec::new());
            let lanes: [Lane; 4] = Default::default();
            for (who, more, gives) in wishes {
                if gives && !held.is_empty() {
                    let (who, size): (usize, u64) = held.swap_remove(0);
                    pool.give_back(&lanes[who], size);
                } else if pool.take(&lanes[who], more, &NORMAL).is_ok() {
                    held.push((who, more));
                }
                prop_assert!(pool.held() <= NORMAL.most);
                prop_assert_eq!(lanes.iter().map(Lane::held).sum::<u64>(), pool.held());
            }
            held.into_iter().for_each(|(who, size)| pool.give_back(&lanes[who], size));
            prop_assert_eq!(pool.held(), 0);
        }
    }
}

//! Rates that gateways share, by their names: of each this gateway has a part, which changes as it is asked for more or
//! less than the others are. Where there is no other it is the whole, always.
//!
//! A part is lent: it may be used until a time that whoever keeps in touch with the others puts off. If that passes,
//! nothing is let through.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use governor::clock::{Clock as _, DefaultClock};
use hookweir_store::WHOLE;

use super::bucket::Bucket;
use crate::config::Rate;

/// What a rate that has no part at all tells whoever asks to wait: by then it may have one.
const NO_PART: Duration = Duration::from_secs(1);

/// Until when parts may be used.
#[derive(Debug)]
struct Term {
    base: Instant,
    /// Nanoseconds after `base`; the most there are: for ever.
    until: AtomicU64,
}

impl Term {
    fn holds(&self, now: Instant) -> bool {
        self.bound(now) == now
    }

    /// Now, or when it ended.
    fn bound(&self, now: Instant) -> Instant {
        match self.until.load(Ordering::Acquire) {
            u64::MAX => now,
            until => now.min(self.base + Duration::from_nanos(until)),
        }
    }

    fn set(&self, until: Instant) {
        let nanos = until.saturating_duration_since(self.base).as_nanos();
        self.until.store(u64::try_from(nanos).unwrap_or(u64::MAX - 1), Ordering::Release);
    }
}

/// The part of a rate that this gateway has, and what it was asked for.
#[derive(Debug)]
pub(crate) struct SharedRate {
    rate: Rate,
    term: Arc<Term>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    /// Requests, or attempts, since that was last looked at.
    asked: u64,
    /// Whether more waited than was let through.
    held_back: bool,
}

/// What is left of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// So many may follow at once.
    pub(crate) count: u32,
    /// How long until all are there again, if nothing comes meanwhile.
    pub(crate) reset: Duration,
}

/// Why one may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// One may after this wait.
    Wait(Duration),
    /// Nobody knows how much the other gateways let through.
    OutOfTouch,
}

/// What was asked of a rate since that was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) count: u64,
    pub(crate) held_back: bool,
}

impl SharedRate {
    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Lets one pass, if one may. Counts that it was asked.
    pub(crate) fn take(&self, now: Instant) -> Result<Left, Short> {
        let mut state = self.state();
        state.asked += 1;
        if !self.term.holds(now) {
            return Err(Short::OutOfTouch);
        }
        let bucket = &mut state.bucket;
        bucket.settle(now);
        if bucket.available() == 0 {
            return Err(Short::Wait(bucket.wait().unwrap_or(NO_PART)));
        }
        bucket.take(1);
        let reset = bucket.until_full().unwrap_or(NO_PART);
        Ok(Left { count: bucket.available(), reset })
    }

    /// How many may start now.
    pub(crate) fn available(&self, now: Instant) -> usize {
        let mut state = self.state();
        if !self.term.holds(now) {
            return 0;
        }
        state.bucket.settle(now);
        usize::try_from(state.bucket.available()).unwrap_or(usize::MAX)
    }

    /// One was started of those that may.
    pub(crate) fn start(&self) {
        let mut state = self.state();
        state.asked += 1;
        state.bucket.take(1);
    }

    /// How long until one more may start, if none may now; without a time if that will not come by itself.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.state().bucket.wait()
    }

    /// More waits than may start.
    pub(crate) fn hold_back(&self) {
        self.state().held_back = true;
    }

    /// The part that this gateway has.
    pub(crate) fn part(&self) -> u32 {
        self.state().bucket.part()
    }

    /// What was asked for since the last time.
    pub(crate) fn look(&self) -> Asked {
        let mut state = self.state();
        let count = std::mem::take(&mut state.asked);
        Asked { count, held_back: std::mem::take(&mut state.held_back) }
    }

    /// It has another part from now on.
    pub(crate) fn set_part(&self, part: u32, now: Instant) {
        let mut state = self.state();
        state.bucket.settle(self.term.bound(now));
        state.bucket.set_part(part, now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rates that there are, by their names.
#[derive(Debug)]
pub(crate) struct SharedRates {
    term: Arc<Term>,
    /// How many gateways there are, this one among them.
    gateways: AtomicU32,
    /// Of a name there are several while it has been changed, and somebody goes by what it was before.
    rates: Mutex<BTreeMap<String, Vec<Arc<SharedRate>>>>,
}

impl SharedRates {
    /// For a gateway that is alone until somebody says otherwise.
    pub(crate) fn alone() -> Self {
        Self::since(DefaultClock::default().now())
    }

    pub(crate) fn since(base: Instant) -> Self {
        let term = Arc::new(Term { base, until: AtomicU64::new(u64::MAX) });
        Self { term, gateways: AtomicU32::new(1), rates: Mutex::default() }
    }

    /// The rate of this name: as it is, if it is this one. One that is another than before begins anew, with the whole
    /// burst of its part; one that is new has the part that it would have if all had the same.
    pub(crate) fn rate(&self, name: &str, rate: Rate, now: Instant) -> Arc<SharedRate> {
        let mut rates = self.rates();
        let before = rates.get(name).map(Vec::as_slice).unwrap_or_default();
        if let Some(same) = before.iter().find(|before| before.rate == rate) {
            return same.clone();
        }
        let even = WHOLE / self.gateways().max(1);
        let part = before.last().map_or(even, |before| before.part());
        let bucket = Bucket::new(rate, part, now);
        let state = Mutex::new(State { bucket, asked: 0, held_back: false });
        let new = Arc::new(SharedRate { rate, term: self.term.clone(), state });
        forget(&mut rates);
        rates.entry(name.to_owned()).or_default().push(new.clone());
        new
    }

    /// Those that anybody goes by still.
    pub(crate) fn all(&self) -> BTreeMap<String, Vec<Arc<SharedRate>>> {
        let mut rates = self.rates();
        forget(&mut rates);
        rates.clone()
    }

    /// The part that this gateway has of a rate; none if nobody goes by one of this name.
    pub(crate) fn part(&self, name: &str) -> Option<u32> {
        self.rates().get(name)?.last().map(|rate| rate.part())
    }

    /// How many gateways share them, this one among them.
    pub(crate) fn gateways(&self) -> u32 {
        self.gateways.load(Ordering::Relaxed)
    }

    /// So many do from now on.
    pub(crate) fn set_gateways(&self, gateways: u32) {
        self.gateways.store(gateways.max(1), Ordering::Relaxed);
    }

    /// Whether parts may be used.
    pub(crate) fn in_touch(&self, now: Instant) -> bool {
        self.term.holds(now)
    }

    /// Parts may be used until then. What they are is set before.
    pub(crate) fn in_touch_until(&self, until: Instant) {
        self.term.set(until);
    }

    fn rates(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Arc<SharedRate>>>> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the rates that nobody goes by any more.
fn forget(rates: &mut BTreeMap<String, Vec<Arc<SharedRate>>>) {
    rates.retain(|_, named| {
        named.retain(|rate| Arc::strong_count(rate) > 1);
        !named.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { count: 60, per: Duration::from_secs(60) };

    #[test]
    fn a_rate_goes_on_until_it_is_another() {
        let now = Instant::now();
        let rates = SharedRates::since(now);
        let rate = rates.rate("a", RATE, now);
        assert_eq!(rate.take(now).unwrap().count, 59);
        assert_eq!(rates.rate("a", RATE, now).take(now).unwrap().count, 58);
        rate.set_part(WHOLE / 2, now);
        let slower = Rate { count: 10, ..RATE };
        assert_eq!(rates.rate("a", slower, now).take(now).unwrap().count, 4, "of its part");
        rates.set_gateways(4);
        assert_eq!(rates.rate("b", RATE, now).part(), WHOLE / 4);
    }

    #[test]
    fn out_of_touch_nothing_passes_and_nothing_is_refilled() {
        let now = Instant::now();
        let rates = SharedRates::since(now);
        let rate = rates.rate("a", RATE, now);
        while rate.take(now).is_ok() {}
        rates.in_touch_until(now + Duration::from_secs(4));
        let later = now + Duration::from_secs(30);
        assert_eq!(rate.available(now + Duration::from_secs(3)), 3);
        assert_eq!(rate.available(later), 0);
        assert_eq!(rate.take(later), Err(Short::OutOfTouch));
        rate.set_part(WHOLE, later);
        rates.in_touch_until(later + Duration::from_secs(4));
        assert_eq!(rate.available(later), 4, "those of the time in which it was in touch");
        assert_eq!(rate.look(), Asked { count: 62, held_back: false });
    }

    #[test]
    fn rates_that_nobody_goes_by_are_forgotten() {
        let now = Instant::now();
        let rates = SharedRates::since(now);
        let kept = rates.rate("a", RATE, now);
        drop(rates.rate("b", RATE, now));
        assert!(rates.all().keys().eq(["a"]));
        drop(kept);
    }
}

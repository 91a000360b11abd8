//! How much of a rate a gateway would have, by what it and the others are asked for. Plain data; the driver hands in the
//! time.
//!
//! Where less is asked for than the rate, each would have what it is asked for, and the same part of what nobody needs;
//! where more is, each would have as much of the rate as it is asked for of all. A tenth is shared evenly whatever is
//! asked for, so that whoever is asked of a sudden has something. What all would have is the whole, since all go by the
//! same figures; that it is never more, though they hear them at different times, is the store's doing: it hands out
//! what others have not. So who would have less gives it up first, and who would have more has it a second or two later.
//!
//! A gateway that comes is asked before it has anything. It helps itself to an equal part, in advance, until the others
//! have given that up.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_store::{Bid, HOLDS, Heard, Others, WHOLE};

use crate::{
    config::Rate,
    limits::{Asked, SharedRate, SharedRates},
};

/// What is shared evenly, whatever is asked for.
const EVEN: u64 = WHOLE as u64 / 10;
/// A part is left as it is while it would change by no more than this, or by an eighth of itself, unless others are short of
/// what they would have: of parts that move all the time some are always on their way.
const STILL: u32 = WHOLE / 32;
/// So many answers an advance outlasts at most: others hear of who came with the first, have less with the second, and
/// what they gave up is there with the third; one may come late.
const ADVANCE: u8 = 4;
/// What is asked for is averaged over the time in which so many may pass, so that a single request means little.
const AVERAGED: u32 = 10;
/// That time at least, and at most.
const AVERAGED_FOR: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// No more than this is ever asked for, in parts: a thousand times the rate.
const ASKED_MAX: u64 = WHOLE as u64 * 1000;

/// What is known of the rates that gateways share.
#[derive(Debug, Default)]
pub(super) struct Bids {
    standing: BTreeMap<String, Standing>,
    others: BTreeMap<String, Others>,
}

/// How a rate stands.
#[derive(Debug)]
struct Standing {
    /// What is asked for of late, in parts of the rate.
    asked: u64,
    /// The part that the store answered.
    part: u32,
    /// What it has in advance, and for how many answers.
    advance: Option<(u32, u8)>,
}

impl Standing {
    fn in_force(&self) -> u32 {
        self.part.max(self.advance.map_or(0, |(part, _)| part))
    }

    /// What it would have. What it uses is no more than that from now on, but for what it has in advance: that is for
    /// those of whom nobody knows yet what they are asked for.
    fn bid(&mut self, others: Others) -> Bid {
        let target = target(self.asked, others);
        let change = self.part.abs_diff(target);
        let may_stay = others.gateways > 0 && (others.short == 0 || target > self.part);
        let is_still = may_stay && change <= STILL.min(self.part / 8);
        let wants = if is_still { self.part } else { target };
        self.part = self.part.min(wants);
        Bid { asked: self.asked, wants }
    }

    /// What it was answered, with so many gateways.
    fn answered(&mut self, part: u32, gateways: u32) {
        self.part = part;
        self.advance = self.advance.and_then(|(advance, left)| {
            let advance = advance.min(WHOLE / gateways.max(1));
            (left > 1 && part < advance).then_some((advance, left - 1))
        });
    }
}

impl Bids {
    /// What is to be said now, so long after it was said last. Where that is less than before, less is in force when this
    /// returns.
    pub(super) fn say(
        &mut self,
        rates: &SharedRates,
        passed: Duration,
        now: Instant,
    ) -> BTreeMap<String, Bid> {
        let all = rates.all();
        self.standing.retain(|name, _| all.contains_key(name));
        let bid = |(name, named): (String, Vec<Arc<SharedRate>>)| {
            let others = self.others.get(&name).copied().unwrap_or_default();
            let standing = self.standing.entry(name.clone()).or_insert_with(|| {
                let part = named.last().map_or(0, |rate| rate.part());
                Standing { asked: 0, part: 0, advance: Some((part, ADVANCE)) }
            });
            standing.asked = asked(standing.asked, &named, passed);
            let bid = standing.bid(others);
            set(&named, standing.in_force(), now);
            (name, bid)
        };
        all.into_iter().map(bid).collect()
    }

    /// What was answered to what was said at `asked_at`. Answers whether anything that is held back may have more.
    pub(super) fn hear(
        &mut self,
        rates: &SharedRates,
        heard: &Heard,
        (asked_at, now): (Instant, Instant),
    ) -> bool {
        let mut more = !rates.in_touch(now);
        let all = rates.all();
        for (name, part) in &heard.parts {
            let (Some(named), Some(standing)) = (all.get(name), self.standing.get_mut(name)) else {
                continue;
            };
            standing.answered(*part, heard.gateways);
            more |= set(named, standing.in_force(), now);
        }
        self.others.clone_from(&heard.others);
        rates.set_gateways(heard.gateways);
        rates.in_touch_until(asked_at + HOLDS);
        more
    }
}

/// Puts a part in force. Whether it is more than before.
fn set(named: &[Arc<SharedRate>], part: u32, now: Instant) -> bool {
    let more = named.iter().any(|rate| rate.part() < part);
    named.iter().for_each(|rate| rate.set_part(part, now));
    more
}

/// What all gateways would have, if they hear the same, is the whole, give or take what can't be divided.
fn target(own: u64, others: Others) -> u32 {
    let whole = u64::from(WHOLE);
    let all = own.saturating_add(others.asked);
    let needed = (whole - EVEN) * own / all.max(whole);
    let rest = whole - (whole - EVEN) * all.min(whole) / whole;
    let part = needed + rest / (u64::from(others.gateways) + 1);
    u32::try_from(part).unwrap_or(WHOLE).min(WHOLE)
}

/// What is asked for of late, in parts of the rate, where it was `before` so long ago.
fn asked(before: u64, named: &[Arc<SharedRate>], passed: Duration) -> u64 {
    let Some(rate) = named.last().map(|rate| rate.rate()) else { return before };
    let looks = named.iter().map(|rate| rate.look());
    let looks = looks.fold(Asked { count: 0, held_back: false }, |sum, asked| Asked {
        count: sum.count + asked.count,
        held_back: sum.held_back || asked.held_back,
    });
    let now = parts_of(rate, looks.count, passed);
    // What waits for a plugin waits for all gateways: more than all of the rate is of no use to any.
    let now = if looks.held_back { now.max(WHOLE.into()) } else { now };
    average(before, now, passed, averaged_for(rate))
}

/// So many in so long, in parts of the rate.
fn parts_of(rate: Rate, count: u64, passed: Duration) -> u64 {
    let wanted = u128::from(count) * u128::from(WHOLE) * rate.per.as_nanos();
    let allowed = u128::from(rate.count.max(1)) * passed.as_nanos().max(1);
    u64::try_from(wanted / allowed).unwrap_or(ASKED_MAX).min(ASKED_MAX)
}

fn averaged_for(rate: Rate) -> Duration {
    let (least, most) = AVERAGED_FOR;
    (rate.per * AVERAGED / rate.count.max(1)).clamp(least, most)
}

/// The average over so long, nearly: what is older weighs less and less.
fn average(before: u64, now: u64, passed: Duration, over: Duration) -> u64 {
    let (passed, over) = (passed.min(over).as_nanos(), over.as_nanos().max(1));
    let sum = u128::from(before) * (over - passed) + u128::from(now) * passed;
    u64::try_from(sum / over).unwrap_or(ASKED_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn others(gateways: u32, asked: u64) -> Others {
        Others { gateways, asked, short: 0 }
    }

    #[test]
    fn who_is_asked_for_more_would_have_more() {
        let whole = u64::from(WHOLE);
        for (own, beside, part) in [
            (0, others(0, 0), WHOLE),
            (whole * 7, others(0, 0), WHOLE),
            // Nobody is asked for anything, or all for the same.
            (0, others(1, 0), WHOLE / 2),
            (whole, others(1, whole), WHOLE / 2),
            (whole * 9, others(2, whole * 18), WHOLE / 3),
            // All of it goes to one.
            (whole * 2, others(1, 0), 950_000),
            (0, others(1, whole * 2), 50_000),
            (whole, others(1, whole * 3), 275_000),
            // A fifth of the rate is asked for, all of it here.
            (whole / 5, others(1, 0), 590_000),
        ] {
            let found = target(own, beside);
            assert!(found.abs_diff(part) <= 1, "{own} {beside:?}: {found} for {part}");
        }
    }

    proptest! {
        #[test]
        fn what_all_would_have_is_the_whole(asked in prop::collection::vec(0..=ASKED_MAX, 1..20)) {
            let sum: u64 = asked.iter().sum();
            let count = u32::try_from(asked.len()).unwrap();
            let target = |own: &u64| u64::from(target(*own, others(count - 1, sum - own)));
            let all: u64 = asked.iter().map(target).sum();
            let whole = u64::from(WHOLE);
            prop_assert!(all <= whole && all + 3 * u64::from(count) >= whole, "{all}");
        }
    }

    #[test]
    fn what_is_asked_for_is_averaged_over_what_the_rate_lets_through() {
        let second = Duration::from_secs(1);
        let rate = |count| Rate { count, per: 60 * second };
        assert_eq!(parts_of(rate(60), 3, second), u64::from(WHOLE) * 3);
        assert_eq!(parts_of(rate(60), 3, 3 * second), u64::from(WHOLE));
        for (count, seconds) in [(6000, 2), (600, 2), (60, 10), (10, 60), (1, 60)] {
            assert_eq!(averaged_for(rate(count)), second * seconds, "{count}");
        }
        assert_eq!(average(100, 200, second, 2 * second), 150);
        assert_eq!(average(100, 200, 5 * second, 2 * second), 200);
    }
}

//! Gateways that share a rate, in a time that moves when told: what they let through together is bounded, whoever comes
//! and goes, whatever they are asked for, and however late they are answered.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_store::{Bid, HOLDS, Heard, Others, WHOLE};
use proptest::prelude::*;

use super::{EVERY, bids::Bids};
use crate::{
    config::Rate,
    limits::{SharedRate, SharedRates},
};

const TICK: Duration = Duration::from_millis(50);
const TICKS_PER_SECOND: usize = 20;
/// 20 in a second, with a burst of 100.
const RATE: Rate = Rate { count: 100, per: Duration::from_secs(5) };
const PER_SECOND: f64 = 20.0;
const BURST: f64 = 100.0;
/// The latest that an answer may be, in ticks: long after it is of any use.
const LATE_MAX: usize = 6 * TICKS_PER_SECOND;
/// After so many answers whoever came has nothing in advance.
const ADVANCE: usize = 4;

/// What the store does, as its contract says (`hookweir_store::Store::confer`).
#[derive(Default)]
struct Table(BTreeMap<u32, (Instant, Option<Bid>, u32)>);

impl Table {
    fn confer(&mut self, boot: u32, bid: Option<Bid>, now: Instant) -> Heard {
        let silence = HOLDS + Duration::from_secs(1);
        let lives = |at: &Instant| now.saturating_duration_since(*at) <= silence;
        let beside: Vec<_> = self
            .0
            .iter()
            .filter(|(other, (at, ..))| **other != boot && lives(at))
            .map(|(_, said)| *said)
            .collect();
        let gateways = 1 + u32::try_from(beside.len()).unwrap();
        let mut heard = Heard { gateways, ..Heard::default() };
        let sharing = beside.iter().filter_map(|(_, bid, _)| *bid);
        let mut others = sharing.fold(Others::default(), |sum, bid| Others {
            gateways: sum.gateways + 1,
            asked: sum.asked + bid.asked,
            ..sum
        });
        let short = |(_, bid, part): &(Instant, Option<Bid>, u32)| {
            bid.map_or(0, |bid| u64::from(bid.wants.saturating_sub(*part)))
        };
        others.short = beside.iter().map(short).sum();
        if others.gateways > 0 {
            heard.others.insert("a".to_owned(), others);
        }
        let taken: u32 = beside.iter().map(|(.., part)| *part).sum();
        let part = bid.map_or(0, |bid| bid.wants.min(WHOLE - taken));
        if bid.is_some() {
            heard.parts.insert("a".to_owned(), part);
        }
        self.0.insert(boot, (now, bid, part));
        heard
    }
}

/// An exchange that is under way.
struct Asking {
    asked_at: Instant,
    bid: Bid,
    /// Ticks until the store has it, and until it is answered after that.
    commits_in: usize,
    answers_in: usize,
    heard: Option<Heard>,
    /// The answer does not arrive.
    lost: bool,
}

struct Gateway {
    boot: u32,
    rates: SharedRates,
    rate: Arc<SharedRate>,
    bids: Bids,
    spoke_at: Instant,
    next: Instant,
    asking: Option<Asking>,
    /// Requests in thousandths.
    due: u64,
}

impl Gateway {
    fn come(boot: u32, table: &mut Table, now: Instant) -> Self {
        let (rates, mut bids) = (SharedRates::since(now), Bids::default());
        let heard = table.confer(boot, None, now);
        bids.hear(&rates, &heard, (now, now));
        let rate = rates.rate("a", RATE, now);
        Self { boot, rates, rate, bids, spoke_at: now, next: now, asking: None, due: 0 }
    }

    /// What whoever comes may let through before the others have made room.
    fn advance(&self, seconds: f64) -> f64 {
        match self.rates.gateways() {
            1 => BURST,
            others => (BURST + PER_SECOND * seconds) / f64::from(others),
        }
    }

    fn tick(&mut self, table: &mut Table, now: Instant, late: &mut impl Iterator<Item = Late>) {
        if self.asking.is_none() && now >= self.next {
            let passed = now - self.spoke_at;
            (self.spoke_at, self.next) = (now, now + EVERY);
            let bid = self.bids.say(&self.rates, passed, now)["a"];
            let Late { commits_in, answers_in, lost } = late.next().unwrap();
            self.asking =
                Some(Asking { asked_at: now, bid, commits_in, answers_in, heard: None, lost });
        }
        let Some(mut asking) = self.asking.take() else { return };
        if asking.heard.is_none() {
            if asking.commits_in > 0 {
                asking.commits_in -= 1;
                self.asking = Some(asking);
                return;
            }
            asking.heard = Some(table.confer(self.boot, Some(asking.bid), now));
        }
        if asking.answers_in > 0 {
            asking.answers_in -= 1;
            self.asking = Some(asking);
            return;
        }
        if let Some(heard) = asking.heard.filter(|_| !asking.lost) {
            self.bids.hear(&self.rates, &heard, (asking.asked_at, now));
        }
    }

    /// Takes what arrives in a tick. How much of it passes.
    fn take(&mut self, milli_per_tick: u64, now: Instant) -> usize {
        self.due += milli_per_tick;
        let count = self.due / 1000;
        self.due %= 1000;
        (0..count).filter(|_| self.rate.take(now).is_ok()).count()
    }
}

/// How late an exchange is, in ticks.
#[derive(Debug, Clone, Copy)]
struct Late {
    commits_in: usize,
    answers_in: usize,
    lost: bool,
}

const IN_TIME: Late = Late { commits_in: 0, answers_in: 0, lost: false };

/// A while in which the same is asked.
#[derive(Debug, Clone)]
struct Phase {
    ticks: usize,
    /// Of each gateway, in requests of a second; none: it is not there.
    asked: Vec<Option<u64>>,
    /// Whether those who go take their leave; else they are killed.
    calm: bool,
}

/// What came of it.
#[derive(Default)]
struct Played {
    /// How many passed in each tick, at each gateway.
    passed: Vec<Vec<usize>>,
    /// Who came in which tick, and what that one may let through beside the others.
    came: Vec<(usize, f64)>,
}

impl Played {
    fn sums(&self) -> Vec<usize> {
        self.passed.iter().map(|gateways| gateways.iter().sum()).collect()
    }
}

fn play(phases: &[Phase], late: &[Late]) -> Played {
    let start = Instant::now();
    let longest = late.iter().map(|late| late.commits_in + late.answers_in).max().unwrap_or(0);
    let advance_ticks = ADVANCE * (TICKS_PER_SECOND + longest + 1);
    let seconds = advance_ticks as f64 / TICKS_PER_SECOND as f64;
    let mut late = late.iter().copied().cycle();
    let (mut table, mut played) = (Table::default(), Played::default());
    let mut house: Vec<Option<Gateway>> = Vec::new();
    let (mut tick, mut boots) = (0_u32, 0);
    for phase in phases {
        house.resize_with(phase.asked.len(), || None);
        for _ in 0..phase.ticks {
            let now = start + TICK * tick;
            let mut passed = vec![0; house.len()];
            for ((place, asked), passed) in house.iter_mut().zip(&phase.asked).zip(&mut passed) {
                let Some(asked) = asked else {
                    if let Some(gone) = place.take().filter(|_| phase.calm) {
                        table.0.remove(&gone.boot);
                    }
                    continue;
                };
                let gateway = place.get_or_insert_with(|| {
                    boots += 1;
                    let gateway = Gateway::come(boots, &mut table, now);
                    // The first one's burst is the burst.
                    let more = if boots == 1 { 0.0 } else { gateway.advance(seconds) };
                    played.came.push((tick as usize, more));
                    gateway
                });
                gateway.tick(&mut table, now, &mut late);
                *passed = gateway.take(asked * 1000 / TICKS_PER_SECOND as u64, now);
            }
            played.passed.push(passed);
            tick += 1;
        }
    }
    played
}

/// That in every span of time no more passed than the rate lets through, with what those may who came in it, or so
/// shortly before that they had something in advance still.
fn assert_bounded(played: &Played, gateways: usize, late: &[Late]) -> Result<(), TestCaseError> {
    let longest = late.iter().map(|late| late.commits_in + late.answers_in).max().unwrap_or(0);
    let before = ADVANCE * (TICKS_PER_SECOND + longest + 1);
    let sums = played.sums();
    for from in 0..sums.len() {
        let mut passed = 0;
        for (to, count) in sums.iter().enumerate().skip(from) {
            passed += count;
            let seconds = (to - from + 1) as f64 / TICKS_PER_SECOND as f64;
            let came = played.came.iter().filter(|(at, _)| at + before >= from && *at <= to);
            let more: f64 = came.map(|(_, more)| more).sum();
            // One for each gateway whose part is less than one.
            let allowed = BURST + PER_SECOND * seconds + gateways as f64 + more;
            let is_within = passed as f64 <= allowed;
            prop_assert!(is_within, "{passed} of {allowed} from tick {from} to {to}");
        }
    }
    Ok(())
}

fn phases() -> impl Strategy<Value = Vec<Phase>> {
    let asked =
        prop_oneof![2 => Just(Some(0_u64)), 4 => (1_u64..200).prop_map(Some), 1 => Just(None)];
    let phase = (10_usize..120, prop::collection::vec(asked, 4), any::<bool>())
        .prop_map(|(ticks, asked, calm)| Phase { ticks, asked, calm });
    prop::collection::vec(phase, 1..6)
}

fn lateness() -> impl Strategy<Value = Vec<Late>> {
    let ticks = || prop_oneof![6 => 0_usize..3, 2 => 3_usize..30, 1 => 30_usize..LATE_MAX / 2];
    let late = (ticks(), ticks(), prop::bool::weighted(0.1));
    let late =
        late.prop_map(|(commits_in, answers_in, lost)| Late { commits_in, answers_in, lost });
    prop::collection::vec(late, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn all_together_let_no_more_through_than_is_said(phases in phases(), late in lateness()) {
        assert_bounded(&play(&phases, &late), 4, &late)?;
    }

    #[test]
    fn nor_if_all_are_answered_in_time(phases in phases()) {
        assert_bounded(&play(&phases, &[IN_TIME]), 4, &[IN_TIME])?;
    }
}

fn phase(seconds: usize, asked: &[u64]) -> Phase {
    let asked = asked.iter().map(|asked| Some(*asked)).collect();
    Phase { ticks: seconds * TICKS_PER_SECOND, asked, calm: true }
}

/// What passed from a second on, for so many seconds, as a share of the rate.
fn share(played: &Played, from: usize, seconds: usize) -> f64 {
    let ticks = from * TICKS_PER_SECOND..(from + seconds) * TICKS_PER_SECOND;
    played.sums()[ticks].iter().sum::<usize>() as f64 / (PER_SECOND * seconds as f64)
}

#[test]
fn without_shares_it_would_be_twice_as_much() {
    // The bound is one that a gateway alone can reach: else it would say nothing.
    let alone = play(&[phase(60, &[60])], &[IN_TIME]);
    assert!((0.97..=1.0).contains(&share(&alone, 30, 30)), "{}", share(&alone, 30, 30));
    let both = play(&[phase(60, &[60, 60])], &[IN_TIME]);
    let [first, second] =
        [0, 1].map(|nth| both.passed.iter().skip(600).map(|passed| passed[nth]).sum::<usize>());
    assert!(first > 200 && second > 200, "both let something through: {first}, {second}");
    assert!((0.93..=1.0).contains(&share(&both, 30, 30)), "{}", share(&both, 30, 30));
}

#[test]
fn demand_that_moves_gets_nearly_all_of_the_rate_a_few_seconds_later() {
    let moved = play(&[phase(60, &[60, 0]), phase(60, &[0, 60])], &[IN_TIME]);
    let shares: Vec<_> = (55..75).map(|second| share(&moved, second, 1)).collect();
    println!("of the rate, by second, moved in the sixth: {shares:.2?}");
    assert!(share(&moved, 50, 10) >= 0.93, "{shares:?}");
    assert!(share(&moved, 60, 10) >= 0.5, "{shares:?}");
    assert!(share(&moved, 68, 20) >= 0.9, "{shares:?}");
}

#[test]
fn who_comes_is_not_turned_away_and_who_goes_leaves_its_part() {
    let half = [phase(20, &[30]), phase(20, &[15, 15]), phase(20, &[30])];
    // The second one's phase ends with its leave.
    let mut phases = half.to_vec();
    phases[2].asked.push(None);
    let played = play(&phases, &[IN_TIME]);
    let first: usize = played.passed[400..440].iter().map(|passed| passed[1]).sum();
    assert!(first >= 20, "who came let {first} of 30 through in its first two seconds");
    assert!(share(&played, 45, 15) >= 0.9, "after the other had gone");
}

/// Where there are many, what one that comes is to have is little for each of the others, and not too little.
#[test]
fn one_that_comes_to_many_gets_its_part() {
    let many = vec![60; 20];
    let mut phases = [phase(20, &many), phase(20, &many)];
    phases[1].asked.push(Some(60));
    let played = play(&phases, &[IN_TIME]);
    let last: usize = played.passed[600..].iter().map(|passed| passed[20]).sum();
    assert!(last >= 5, "it let {last} through in ten seconds");
    assert!(share(&played, 30, 10) >= 0.9, "{}", share(&played, 30, 10));
}

//! What gateways at one store tell each other, about once a second: how much of the rates that they share each may use,
//! which breakers are open, and what is paused.
//!
//! A rate is dealt out in parts, of which there are never more than the whole: a gateway gets what it wants of what the
//! others have not. So whoever is to have less than before uses no more than that *before* it says so, and whoever is to
//! have more has it when it is answered. What was answered holds for [`HOLDS`] from when it was asked; whoever was not
//! answered again by then has no part in anything. Only after that others may have it.

use std::{collections::BTreeMap, time::Duration};

use hookweir_event::{Digest, PluginName, Timestamp};

use crate::Pause;

/// All of a rate, in the unit that parts are counted in.
pub const WHOLE: u32 = 1_000_000;
/// How long an answer holds, from when it was asked.
pub const HOLDS: Duration = Duration::from_secs(4);
/// Who has said nothing for so long does not count: longer than [`HOLDS`], since clocks do not go alike.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// What a gateway says to the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// What it would have of the rates that all share, by their names.
    pub rates: BTreeMap<String, Bid>,
    /// The breakers that it has open itself, and those that a probe of its own has closed of late.
    pub breakers: Vec<BreakerWord>,
}

/// What a gateway would have of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bid {
    /// What it was asked for of late, in parts of the rate. It may be more than the whole.
    pub asked: u64,
    /// What it would have, at most [`WHOLE`]. From now on it uses no more than this.
    pub wants: u32,
}

/// What a gateway says of a plugin's breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerWord {
    /// Whose.
    pub plugin: PluginName,
    /// The version that it judges.
    pub version: Digest,
    /// Why it is open, in words; none: a probe has closed it.
    pub open: Option<String>,
    /// How long it has been open.
    pub open_for: Duration,
}

/// What a gateway hears.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// The boot id that it speaks by.
    pub boot: [u8; 16],
    /// How many gateways speak, this one among them.
    pub gateways: u32,
    /// What it may use from now on of each rate that it named.
    pub parts: BTreeMap<String, u32>,
    /// What others were asked for.
    pub others: BTreeMap<String, Others>,
    /// What others say of breakers, in the order of their boot ids.
    pub breakers: Vec<([u8; 16], BreakerWord)>,
    /// What is paused.
    pub pauses: Vec<Pause>,
}

/// The other gateways that share a rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    /// How many they are.
    pub gateways: u32,
    /// What they were asked for of late, together, in parts of the rate.
    pub asked: u64,
    /// How much of what they wanted they did not get, together.
    pub short: u64,
}

/// What a gateway said last, and what it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub(crate) boot: [u8; 16],
    pub(crate) heard_at: Timestamp,
    pub(crate) rates: BTreeMap<String, Answered>,
    pub(crate) breakers: Vec<BreakerWord>,
}

/// What it was asked for of a rate, what it has, and how much less that is than it wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) asked: u64,
    pub(crate) part: u32,
    pub(crate) short: u32,
}

impl Heard {
    /// What whoever is alone hears: it has all that it wants.
    pub(crate) fn alone(said: &Said, pauses: Vec<Pause>) -> Self {
        let boot = [0; 16];
        Self { pauses, ..answer(boot, Timestamp::default(), &[], said) }
    }
}

/// The answer to what `boot` says, in a room with these speakers. The pauses are left to whoever knows them.
pub(crate) fn answer(boot: [u8; 16], now: Timestamp, speakers: &[Speaker], said: &Said) -> Heard {
    let before = speakers.iter().find(|speaker| speaker.boot == boot);
    let before = before.map(|own| own.heard_at).filter(|at| !is_near(*at, now));
    let counts = |speaker: &&Speaker| {
        // Who was silent itself, as all are while the database is away, can't tell who else is gone: others have the
        // time until it speaks again.
        let at = speaker.heard_at;
        speaker.boot != boot && (is_near(at, now) || before.is_some_and(|own| is_near(at, own)))
    };
    let mut heard = Heard { boot, gateways: 1, ..Heard::default() };
    let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
    for speaker in speakers.iter().filter(counts) {
        heard.gateways += 1;
        for (name, answered) in &speaker.rates {
            *taken.entry(name).or_default() += u64::from(answered.part);
            let others = heard.others.entry(name.clone()).or_default();
            others.gateways += 1;
            others.asked = others.asked.saturating_add(answered.asked);
            others.short += u64::from(answered.short);
        }
        heard.breakers.extend(speaker.breakers.iter().map(|word| (speaker.boot, word.clone())));
    }
    for (name, bid) in &said.rates {
        let taken = taken.get(name.as_str()).copied().unwrap_or(0);
        let left = u64::from(WHOLE).saturating_sub(taken);
        let part = bid.wants.min(u32::try_from(left).unwrap_or(WHOLE));
        heard.parts.insert(name.clone(), part);
    }
    heard
}

/// Whether something was said so lately that it counts. It may be ahead: the database's time may be another server's
/// since.
fn is_near(at: Timestamp, now: Timestamp) -> bool {
    u128::from(at.as_millis().abs_diff(now.as_millis())) <= SILENCE.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(boot: u8, at: i64, asked: u64, part: u32) -> Speaker {
        let short = u32::from(boot);
        let rates = BTreeMap::from([("a".to_owned(), Answered { asked, part, short })]);
        let heard_at = Timestamp::from_millis(at);
        Speaker { boot: [boot; 16], heard_at, rates, breakers: Vec::new() }
    }

    fn asks(speakers: &[Speaker], at: i64, wants: u32) -> (u32, Heard) {
        let rates = BTreeMap::from([("a".to_owned(), Bid { asked: 0, wants })]);
        let said = Said { rates, breakers: Vec::new() };
        let heard = answer([1; 16], Timestamp::from_millis(at), speakers, &said);
        (heard.parts["a"], heard)
    }

    #[test]
    fn there_are_never_more_parts_than_the_whole() {
        let others = [speaker(2, 0, 7, 600_000), speaker(3, 0, 8, 300_000)];
        let (part, heard) = asks(&others, 0, WHOLE);
        assert_eq!((part, heard.gateways), (100_000, 3));
        assert_eq!(heard.others["a"], Others { gateways: 2, asked: 15, short: 5 });
        assert_eq!(asks(&others, 0, 50_000).0, 50_000);
        assert_eq!(asks(&[], 0, WHOLE).0, WHOLE);
    }

    #[test]
    fn who_is_silent_does_not_count_unless_one_was_so_oneself() {
        let mut speakers = vec![speaker(2, 0, 0, WHOLE)];
        assert_eq!(asks(&speakers, 5000, WHOLE).0, 0);
        assert_eq!(asks(&speakers, 5001, WHOLE).0, WHOLE);
        // All were silent for a minute, so that nobody can tell.
        speakers.push(speaker(1, 1000, 0, 0));
        assert_eq!(asks(&speakers, 61_000, WHOLE).0, 0);
        // One has spoken since, and the other has not.
        speakers[1].heard_at = Timestamp::from_millis(61_000);
        assert_eq!(asks(&speakers, 62_000, WHOLE).0, WHOLE);
        // Whoever speaks counts, however long one was silent oneself.
        speakers[0].heard_at = Timestamp::from_millis(120_000);
        assert_eq!(asks(&speakers, 120_000, WHOLE).0, 0);
        // The server that took over is an hour behind.
        assert_eq!(asks(&speakers, 120_000 - 3_600_000, WHOLE).0, WHOLE);
    }
}

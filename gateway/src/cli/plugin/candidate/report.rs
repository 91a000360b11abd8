//! What the comparison came to, for people and for programs: each difference as it is found, and the sum.

use std::{collections::BTreeMap, time::Duration};

use hookweir_event::Digest;
use hookweir_kit::{Ran, Recall};
use serde_json::{Value, json};

use super::{
    did::{Answerer, Asked, Did, Made},
    differ::{Difference, Kind, Place, What},
    recorded::Recorded,
};
use crate::cli::operator::{counted, printable};

/// Why the live version's run says nothing of what happened then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unlike {
    Outcome,
    Outputs,
    Requests,
}

impl Unlike {
    fn as_str(self) -> &'static str {
        match self {
            Self::Outcome => "ended otherwise than then",
            Self::Outputs => "made other outputs than then",
            Self::Requests => "sent other requests than then",
        }
    }
}

/// One event that was run through both.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) recorded: Recorded,
    pub(super) live: Did,
    /// `None`: the live version does again what it did.
    pub(super) unlike: Option<Unlike>,
    pub(super) differences: Vec<Difference>,
    /// The candidate's requests.
    pub(super) sent: Vec<Asked>,
    /// A request had no answer here.
    pub(super) unanswered: bool,
}

/// Whether the live version came to what it came to then. Bodies may differ: time, chance and state do.
pub(super) fn unlike(recorded: &Recorded, live: &Did) -> Option<Unlike> {
    let types = |outputs: &[Made]| outputs.iter().map(|made| made.kind.clone()).collect::<Vec<_>>();
    if recorded.outcome != live.outcome {
        Some(Unlike::Outcome)
    } else if types(&recorded.outputs) != types(&live.outputs) {
        Some(Unlike::Outputs)
    } else if sent_otherwise(recorded, live) {
        Some(Unlike::Requests)
    } else {
        None
    }
}

/// Whether it sent more or less than is recorded, as far as that tells.
fn sent_otherwise(recorded: &Recorded, live: &Did) -> bool {
    let all_kept = recorded.exchanges.as_ref().is_some_and(|then| then.left_out == 0);
    !live.unasked.is_empty() || all_kept && unrecorded(live).next().is_some()
}

/// Lines of requests, in one.
fn listed<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<_> = lines.map(printable).collect();
    if lines.is_empty() { "none more".to_owned() } else { lines.join(", ") }
}

fn unrecorded(live: &Did) -> impl Iterator<Item = &str> {
    let unknown = live.requests.iter().filter(|asked| asked.recall == Recall::Unknown);
    unknown.map(|asked| &*asked.made.kind)
}

/// What the events came to so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) same: u64,
    pub(super) different: u64,
    /// By why.
    unlike: BTreeMap<Unlike, u64>,
    /// Of those, on how many the versions differ.
    unlike_and_different: u64,
    /// Of those that are the same or different: how many had outputs with another body than then.
    other_bodies: u64,
    unanswered: u64,
    /// The candidate's requests, by who answered them.
    answered: BTreeMap<Answerer, u64>,
    pub(super) not_run: u64,
    pub(super) lost: u64,
    kinds: BTreeMap<Kind, u64>,
    costs: [Costs; 2],
}

/// CPU time and memory of one version's runs: of a million of them 16 MiB.
#[derive(Debug, Default)]
struct Costs {
    cpu: Vec<u64>,
    memory: Vec<u64>,
}

impl Costs {
    fn add(&mut self, ran: &Ran) {
        self.cpu.push(micros(ran.cpu()));
        self.memory.push(ran.memory_peak());
    }
}

impl Tally {
    pub(super) fn add_costs(&mut self, live: &Ran, candidate: &Ran) {
        self.costs[0].add(live);
        self.costs[1].add(candidate);
    }

    pub(super) fn add(&mut self, compared: &Compared) {
        let differs = !compared.differences.is_empty();
        self.unanswered += u64::from(compared.unanswered);
        for asked in &compared.sent {
            *self.answered.entry(asked.by).or_default() += 1;
        }
        if let Some(unlike) = compared.unlike {
            *self.unlike.entry(unlike).or_default() += 1;
            self.unlike_and_different += u64::from(differs);
            return;
        }
        let bodies =
            |outputs: &[Made]| outputs.iter().map(|made| made.body.clone()).collect::<Vec<_>>();
        let (then, now) = (bodies(&compared.recorded.outputs), bodies(&compared.live.outputs));
        self.other_bodies += u64::from(then != now);
        self.same += u64::from(!differs);
        self.different += u64::from(differs);
        for kind in Kind::ALL {
            let there = compared.differences.iter().any(|one| one.kind == kind);
            if there {
                *self.kinds.entry(kind).or_default() += 1;
            }
        }
    }

    /// How many events were run.
    pub(super) fn events(&self) -> u64 {
        self.same + self.different + self.not_comparable()
    }

    fn not_comparable(&self) -> u64 {
        self.unlike.values().sum()
    }

    /// For people.
    pub(super) fn lines(&mut self) -> Vec<String> {
        let kinds = self.kinds.iter().map(|(kind, count)| format!("{} {count}", kind.as_str()));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        let kinds = if kinds.is_empty() { kinds } else { format!(" ({kinds})") };
        let (events, not_comparable) = (self.events(), self.not_comparable());
        let mut lines = vec![format!(
            "{}: {} the same, {} different{kinds}, {not_comparable} not comparable",
            counted(events, "event", "events"),
            self.same,
            self.different,
        )];
        for (unlike, count) in &self.unlike {
            lines
                .push(format!("  not comparable: on {count} the live version {}", unlike.as_str()));
        }
        let mut note = |count: u64, what: &str| {
            if count > 0 {
                lines.push(format!("  {count} {what}"));
            }
        };
        note(
            self.unlike_and_different,
            "of those that are not comparable differ all the same; --all shows them",
        );
        note(
            self.other_bodies,
            "had outputs that read otherwise than then, of the live version too",
        );
        note(
            self.unanswered,
            "sent a request that nothing answers here; see record_requests, --answers and --answer-all",
        );
        let by = |who| self.answered.get(&who).copied().unwrap_or_default();
        note(by(Answerer::Record), "of the candidate's requests were answered from the record");
        note(
            by(Answerer::Answers),
            "of the candidate's requests were answered by --answers or --answer-all",
        );
        note(by(Answerer::Nobody), "of the candidate's requests were answered by nobody");
        note(self.not_run, "were left out: the plugin has not run on them yet");
        note(self.lost, "were left out: they are not kept any more, or can't be read");
        if events > 0 {
            for (name, costs) in ["live", "candidate"].into_iter().zip(&mut self.costs) {
                let ([cpu, cpu_tail], [memory, memory_tail]) =
                    (percentiles(&mut costs.cpu), percentiles(&mut costs.memory));
                lines.push(format!(
                    "  {name:<9} CPU {}, p99 {}; memory {} KiB, p99 {} KiB",
                    millis(cpu),
                    millis(cpu_tail),
                    memory >> 10,
                    memory_tail >> 10
                ));
            }
        }
        lines
    }

    /// For programs.
    pub(super) fn json(&mut self) -> Value {
        let kinds = Kind::ALL.map(|kind| {
            (kind.as_str().to_owned(), json!(self.kinds.get(&kind).copied().unwrap_or_default()))
        });
        let (events, not_comparable) = (self.events(), self.not_comparable());
        let by = |who| self.answered.get(&who).copied().unwrap_or_default();
        let mut costs = self.costs.iter_mut().map(|costs| {
            let [cpu, memory] = [&mut costs.cpu, &mut costs.memory].map(|all| {
                let [median, p99] = percentiles(all);
                json!({ "median": median, "p99": p99 })
            });
            json!({ "cpuMicros": cpu, "memoryBytes": memory })
        });
        let (live, candidate) = (costs.next(), costs.next());
        json!({
            "events": events,
            "same": self.same,
            "different": self.different,
            "differentBy": kinds.into_iter().collect::<serde_json::Map<_, _>>(),
            "notComparable": not_comparable,
            "notComparableAndDifferent": self.unlike_and_different,
            "otherBodiesThanThen": self.other_bodies,
            "unanswered": self.unanswered,
            "requests": {
                "record": by(Answerer::Record),
                "answers": by(Answerer::Answers),
                "grant": by(Answerer::Grant),
                "nobody": by(Answerer::Nobody),
            },
            "notRunYet": self.not_run,
            "lost": self.lost,
            "cost": { "live": live, "candidate": candidate },
        })
    }
}

/// The median and the 99th of a hundred.
fn percentiles(all: &mut [u64]) -> [u64; 2] {
    all.sort_unstable();
    let at = |part: usize| {
        let place = (all.len() * part).div_ceil(100).max(1) - 1;
        all.get(place).copied().unwrap_or_default()
    };
    [at(50), at(99)]
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

impl Compared {
    /// For people: which event, and what differs.
    pub(super) fn lines(&self, live: Digest) -> Vec<String> {
        let Recorded { event, attempt, .. } = &self.recorded;
        let mut lines =
            vec![format!("{}  {}/{}  attempt {attempt}", event.id, event.origin, event.event_type)];
        lines.extend(self.unlike.map(|unlike| self.why(unlike, live)));
        self.differences.iter().for_each(|one| one.lines(&mut lines));
        // The others are among the differences.
        let answered = self.sent.iter().filter(|asked| asked.by != Answerer::Nobody);
        lines.extend(answered.map(|Asked { made, by, answer, .. }| {
            let by = by.as_str();
            format!("  answered {}: {}, by the {by}", printable(&made.kind), printable(answer))
        }));
        lines
    }

    fn why(&self, unlike: Unlike, live: Digest) -> String {
        let Recorded { outcome, message, version, outputs, .. } = &self.recorded;
        let message = message.as_ref().map(|message| format!(": {}", printable(message)));
        let types = |outputs: &[Made]| match outputs {
            [] => "none".to_owned(),
            outputs => outputs.iter().map(|made| &*made.kind).collect::<Vec<_>>().join(", "),
        };
        let (then, now) = match unlike {
            Unlike::Outcome => {
                (format!("{outcome}{}", message.unwrap_or_default()), printable(&self.live.ended()))
            }
            Unlike::Outputs => (types(outputs), types(&self.live.outputs)),
            Unlike::Requests => {
                let then = self.live.unasked.iter().map(String::as_str);
                (listed(then), listed(unrecorded(&self.live)))
            }
        };
        let other = version.filter(|version| *version != live);
        let other = other.map(|version| format!(" (by version {} then)", version.short()));
        format!(
            "  not comparable: the live version {}{}: {then} -> {now}",
            unlike.as_str(),
            other.unwrap_or_default()
        )
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let Recorded { event, attempt, outcome, message, version, .. } = &self.recorded;
        json!({
            "event": event.id.to_string(),
            "source": event.origin.to_string(),
            "type": event.event_type.as_str(),
            "attempt": attempt,
            "comparable": self.unlike.is_none(),
            "notComparable": self.unlike.map(Unlike::as_str),
            "recorded": {
                "outcome": outcome.as_str(),
                "message": message,
                "version": version.map(|version| version.to_string()),
            },
            "live": { "outcome": self.live.outcome.as_str(), "message": self.live.message },
            "differences": self.differences.iter().map(Difference::json).collect::<Vec<_>>(),
            "requests": self.sent.iter().map(Asked::json).collect::<Vec<_>>(),
        })
    }
}

impl Asked {
    fn json(&self) -> Value {
        let Self { made, by, answer, .. } = self;
        json!({ "request": made.kind, "answeredBy": by.as_str(), "answer": answer })
    }
}

impl Difference {
    fn lines(&self, lines: &mut Vec<String>) {
        let of = printable(&self.of);
        let head = format!("  {:<8} {of}", self.kind.as_str());
        let head = head.trim_end();
        let beside =
            |value: &str| if value.is_empty() { String::new() } else { format!(": {value}") };
        match &self.what {
            What::Gone(was) => lines.push(format!("{head} gone{}", beside(was))),
            What::New(is) => lines.push(format!("{head} new{}", beside(is))),
            What::Unanswered(why) => lines.push(format!("{head} {why}")),
            What::Places { places, more } => {
                for Place { at, old, new } in places {
                    let side = |value: &Option<String>| {
                        value.as_deref().map_or_else(|| "(nothing)".to_owned(), printable)
                    };
                    let at = if at.is_empty() { String::new() } else { format!(" {at}") };
                    lines.push(format!("{head}{at}: {} -> {}", side(old), side(new)));
                }
                if *more > 0 {
                    lines.push(format!("{head}: {more} more places"));
                }
            }
        }
    }

    fn json(&self) -> Value {
        let mut shown = json!({ "kind": self.kind.as_str() });
        if !self.of.is_empty() {
            shown["of"] = json!(self.of);
        }
        match &self.what {
            What::Gone(was) => shown["gone"] = json!(was),
            What::New(is) => shown["new"] = json!(is),
            What::Unanswered(why) => shown["unanswered"] = json!(why),
            What::Places { places, more } => {
                let place =
                    |place: &Place| json!({ "at": place.at, "old": place.old, "new": place.new });
                shown["places"] = places.iter().map(place).collect();
                shown["more"] = json!(more);
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_tail_are_of_the_sorted() {
        assert_eq!(percentiles(&mut []), [0, 0]);
        assert_eq!(percentiles(&mut [7]), [7, 7]);
        let mut all: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(percentiles(&mut all), [100, 198]);
    }
}

//! Where two runs of one event differ, by kind. Pure.
//!
//! What both made of a kind, outputs of a type, say, or requests of a line, is paired in its order; what is left over
//! is gone or new. Bodies and values that are JSON differ in places, others as a whole.

use std::collections::{BTreeMap, BTreeSet};

use hookweir_event::Lasts;
use hookweir_kit::Recall;
use serde_json::Value;

use super::{
    super::trial::shown,
    did::{Answerer, Asked, Did, Made, Wrote},
};

/// How many places of one thing are told.
const PLACES_MAX: usize = 20;

/// What two runs can differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Subscription,
    Outcome,
    Output,
    State,
    Request,
    Log,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Subscription, Self::Outcome, Self::Output, Self::State, Self::Request, Self::Log];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Subscription => "subscription",
            Self::Outcome => "outcome",
            Self::Output => "output",
            Self::State => "state",
            Self::Request => "request",
            Self::Log => "log",
        }
    }
}

/// One thing that differs: where, and what was and is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) kind: Kind,
    /// An output's type, a key, a request's line; empty where there is but one thing.
    pub(super) of: String,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The live version has it, and the candidate not.
    Gone(String),
    /// The other way round.
    New(String),
    /// The candidate sends it, and nobody answers it here: why.
    Unanswered(&'static str),
    /// Both do, and not the same.
    Places {
        places: Vec<Place>,
        /// How many more there are.
        more: usize,
    },
}

/// One place in which two things differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// A JSON pointer, `header NAME`, ..; empty for the whole of it.
    pub(super) at: String,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

/// All that differs between the live version's run and the candidate's; of their log only if it `counts`.
pub(super) fn differences(live: &Did, candidate: &Did, log_counts: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    if (live.outcome, &live.message, live.retry_after)
        != (candidate.outcome, &candidate.message, candidate.retry_after)
    {
        let place = whole(Some(live.ended()), Some(candidate.ended()));
        found.push(Difference::of_places(Kind::Outcome, "", vec![place]));
    }
    outputs(live, candidate, &mut found);
    state(live, candidate, &mut found);
    for (line, old, new) in paired(&live.requests, &candidate.requests, |asked| &asked.made.kind) {
        let show = |asked: &Asked| shown(&asked.made.body);
        found.extend(differ(Kind::Request, line, old, new, show, request));
    }
    found.extend(candidate.requests.iter().filter_map(unanswered));
    if log_counts && live.logs != candidate.logs {
        logs(&live.logs, &candidate.logs, &mut found);
    }
    found
}

/// What is not answered may come to anything, also where both sent it.
fn unanswered(asked: &Asked) -> Option<Difference> {
    let why = match asked.recall {
        _ if asked.by != Answerer::Nobody => return None,
        Recall::NoRecord => "not answered: no request of this attempt is recorded",
        Recall::Unknown | Recall::Otherwise | Recall::Answered => "not recorded, and not answered",
        Recall::Partial => "not answered: what it was answered then is not recorded whole",
    };
    let of = asked.made.kind.clone();
    Some(Difference { kind: Kind::Request, of, what: What::Unanswered(why) })
}

fn outputs(live: &Did, candidate: &Did, found: &mut Vec<Difference>) {
    let before = found.len();
    for (event_type, old, new) in paired(&live.outputs, &candidate.outputs, |made| &made.kind) {
        let show = |made: &Made| shown(&made.body);
        found.extend(differ(Kind::Output, event_type, old, new, show, content));
    }
    let types = |did: &Did| did.outputs.iter().map(|made| made.kind.clone()).collect::<Vec<_>>();
    let (old, new) = (types(live), types(candidate));
    if found.len() == before && old != new {
        found.push(Difference::of_places(Kind::Output, "", vec![order_of(&old, &new)]));
    }
}

/// Lines that one has and the other not; else it is their order.
fn logs(old: &[String], new: &[String], found: &mut Vec<Difference>) {
    let before = found.len();
    for (line, old, new) in paired(old, new, |line| line) {
        let line = shown(line.as_bytes());
        let what = match (old, new) {
            (Some(_), None) => What::Gone(line),
            (None, Some(_)) => What::New(line),
            _ => continue,
        };
        found.push(Difference { kind: Kind::Log, of: String::new(), what });
    }
    if found.len() == before {
        found.push(Difference::of_places(Kind::Log, "", vec![order_of(old, new)]));
    }
}

fn state(live: &Did, candidate: &Did, found: &mut Vec<Difference>) {
    let keys: BTreeSet<_> = live.state.keys().chain(candidate.state.keys()).collect();
    for key in keys {
        let (old, new) = (live.state.get(key), candidate.state.get(key));
        found.extend(differ(Kind::State, key, old, new, wrote_shown, wrote));
    }
}

impl Difference {
    fn of_places(kind: Kind, of: &str, mut places: Vec<Place>) -> Self {
        let more = places.len().saturating_sub(PLACES_MAX);
        places.truncate(PLACES_MAX);
        Self { kind, of: of.to_owned(), what: What::Places { places, more } }
    }
}

/// What there is of one thing, if it is not the same on both sides.
fn differ<T>(
    kind: Kind,
    of: &str,
    old: Option<&T>,
    new: Option<&T>,
    show: impl Fn(&T) -> String,
    places: impl Fn(&T, &T) -> Vec<Place>,
) -> Option<Difference> {
    let what = match (old, new) {
        (Some(old), Some(new)) => {
            let places = places(old, new);
            return (!places.is_empty()).then(|| Difference::of_places(kind, of, places));
        }
        (Some(old), None) => What::Gone(show(old)),
        (None, Some(new)) => What::New(show(new)),
        (None, None) => return None,
    };
    Some(Difference { kind, of: of.to_owned(), what })
}

/// Things of the same kind beside each other, the nth with the nth.
fn paired<'a, T>(
    old: &'a [T],
    new: &'a [T],
    kind: impl Fn(&'a T) -> &'a String,
) -> Vec<(&'a str, Option<&'a T>, Option<&'a T>)> {
    let mut kinds: BTreeMap<&str, [Vec<&T>; 2]> = BTreeMap::new();
    for (side, things) in [old, new].into_iter().enumerate() {
        for thing in things {
            kinds.entry(kind(thing)).or_default()[side].push(thing);
        }
    }
    let pairs = |(kind, [old, new]): (&'a str, [Vec<&'a T>; 2])| {
        let count = old.len().max(new.len());
        (0..count).map(move |nth| (kind, old.get(nth).copied(), new.get(nth).copied()))
    };
    kinds.into_iter().flat_map(pairs).collect()
}

fn whole(old: Option<String>, new: Option<String>) -> Place {
    Place { at: String::new(), old, new }
}

fn order_of(old: &[String], new: &[String]) -> Place {
    let line = |all: &[String]| Some(shown(all.join(", ").as_bytes()));
    Place { at: "order".to_owned(), old: line(old), new: line(new) }
}

fn content(old: &Made, new: &Made) -> Vec<Place> {
    let mut places = bytes(&old.body, &new.body);
    let beside = |made: &Made| {
        let headers = made.headers.iter();
        let headers = headers.map(|(name, value)| (format!("header {name}"), value.clone()));
        let attributes = made.attributes.iter();
        let attributes = attributes
            .map(|(name, value)| (format!("attribute {name}"), value.clone().into_bytes()));
        headers.chain(attributes).collect::<Vec<_>>()
    };
    let (old, new) = (beside(old), beside(new));
    for (at, old, new) in paired(&old, &new, |(name, _)| name) {
        if old != new {
            let value = |side: Option<&(String, Vec<u8>)>| side.map(|(_, value)| shown(value));
            places.push(Place { at: at.to_owned(), old: value(old), new: value(new) });
        }
    }
    places
}

fn request(old: &Asked, new: &Asked) -> Vec<Place> {
    let mut places = content(&old.made, &new.made);
    if old.line != new.line {
        // Values of a query may be secrets.
        let hidden = || Some("[not shown]".to_owned());
        places.push(Place { at: "query".to_owned(), old: hidden(), new: hidden() });
    }
    places
}

fn wrote(old: &Wrote, new: &Wrote) -> Vec<Place> {
    let (Wrote::Set(old_value, old_lasts), Wrote::Set(new_value, new_lasts)) = (old, new) else {
        let same = old == new;
        let place = || whole(Some(wrote_shown(old)), Some(wrote_shown(new)));
        return if same { Vec::new() } else { vec![place()] };
    };
    let mut places = bytes(old_value, new_value);
    if old_lasts != new_lasts {
        let [old, new] = [old_lasts, new_lasts].map(|lasts| Some(lasts_shown(*lasts)));
        places.push(Place { at: "lasts".to_owned(), old, new });
    }
    places
}

fn wrote_shown(wrote: &Wrote) -> String {
    match wrote {
        Wrote::Deleted => "deleted".to_owned(),
        Wrote::Set(value, _) => shown(value),
    }
}

fn lasts_shown(lasts: Lasts) -> String {
    match lasts {
        Lasts::ForEver => "for ever".to_owned(),
        Lasts::For(time) => format!("{time:?}"),
        Lasts::AsBefore => "as before".to_owned(),
    }
}

/// Where two texts differ: in places, if both are JSON.
fn bytes(old: &[u8], new: &[u8]) -> Vec<Place> {
    if old == new {
        return Vec::new();
    }
    let parsed = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    let mut places = Vec::new();
    if let (Some(old), Some(new)) = (parsed(old), parsed(new)) {
        values("", Some(&old), Some(&new), &mut places);
    }
    if places.is_empty() {
        // Not JSON, or the same values in another spelling.
        places.push(whole(Some(shown(old)), Some(shown(new))));
    }
    places
}

fn values(at: &str, old: Option<&Value>, new: Option<&Value>, places: &mut Vec<Place>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            for name in names {
                let step = name.replace('~', "~0").replace('/', "~1");
                values(&format!("{at}/{step}"), old.get(name), new.get(name), places);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                values(&format!("{at}/{index}"), old.get(index), new.get(index), places);
            }
        }
        (old, new) => {
            let text = |value: &Value| shown(value.to_string().as_bytes());
            places.push(Place { at: shown(at.as_bytes()), old: old.map(text), new: new.map(text) });
        }
    }
}

#[cfg(test)]
mod tests;

//! How events must end, against what the store says of them.

use std::ops::RangeInclusive;

use hookweir_event::EventId;
use hookweir_store::{DeliveryState, Shown, ShownDelivery};

/// How a delivery must end.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    plugin: &'static str,
    state: DeliveryState,
    attempts: RangeInclusive<usize>,
}

/// Done at the first attempt.
pub(super) fn done(plugin: &'static str) -> Ending {
    done_after(plugin, 1..=1)
}

/// Done after so many attempts.
pub(super) fn done_after(plugin: &'static str, attempts: RangeInclusive<usize>) -> Ending {
    Ending { plugin, state: DeliveryState::Done, attempts }
}

/// A dead letter at once.
pub(super) fn dead(plugin: &'static str) -> Ending {
    Ending { plugin, state: DeliveryState::Dead, attempts: 1..=1 }
}

/// An event whose fate is known beforehand.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) event: EventId,
    pub(super) what: &'static str,
    pub(super) deliveries: Vec<Ending>,
    /// Its outputs by their types, each with its own deliveries.
    pub(super) outputs: Vec<(&'static str, Vec<Ending>)>,
}

impl Expected {
    /// Whether the event, which is among these with its outputs, ended so; else what it did instead.
    pub(super) fn compare(&self, all: &[Shown]) -> Result<(), String> {
        self.matches(all).map_err(|fault| format!("{} ({}): {fault}", self.what, self.event))
    }

    fn matches(&self, all: &[Shown]) -> Result<(), String> {
        let shown = all
            .iter()
            .find(|shown| shown.event.id == self.event)
            .ok_or("it is not in the store")?;
        same(&shown.deliveries, &self.deliveries)?;
        let mut left: Vec<_> =
            all.iter().filter(|shown| shown.event.parent == Some(self.event)).collect();
        for (event_type, deliveries) in &self.outputs {
            let of_type: Vec<_> =
                left.iter().filter(|s| s.event.event_type.as_str() == *event_type).collect();
            let found: Vec<_> = of_type.iter().map(|s| same(&s.deliveries, deliveries)).collect();
            let Some(fits) = found.iter().position(Result::is_ok) else {
                let fault = found.into_iter().find_map(Result::err);
                let fault = fault.unwrap_or_else(|| "there is none".to_owned());
                return Err(format!("its output {event_type}: {fault}"));
            };
            let fits = of_type[fits].event.id;
            left.retain(|shown| shown.event.id != fits);
        }
        match left[..] {
            [] => Ok(()),
            [more, ..] => {
                Err(format!("an output that nobody asked for: {}", more.event.event_type))
            }
        }
    }
}

/// Whether the deliveries ended so; else what they did instead, with what their last attempts said.
pub(super) fn same(found: &[ShownDelivery], wanted: &[Ending]) -> Result<(), String> {
    let fits = |ending: &Ending| {
        found.iter().any(|delivery| {
            delivery.plugin.as_str() == ending.plugin
                && delivery.state == ending.state
                && ending.attempts.contains(&delivery.attempts.len())
        })
    };
    if found.len() == wanted.len() && wanted.iter().all(fits) {
        return Ok(());
    }
    let found: Vec<_> = found.iter().map(said).collect();
    let wanted = wanted.iter().map(|Ending { plugin, state, attempts }| {
        let (least, most) = (attempts.start(), attempts.end());
        let count = if least == most { least.to_string() } else { format!("{least} to {most}") };
        format!("{plugin}: {state} after {count}")
    });
    Err(format!("{} instead of {}", joined(&found), joined(&wanted.collect::<Vec<_>>())))
}

/// A delivery in words, with why it is not done.
pub(super) fn said(delivery: &ShownDelivery) -> String {
    let last = delivery.attempts.iter().rev().find_map(|made| made.attempt.message.as_deref());
    let why = last.filter(|_| delivery.state != DeliveryState::Done);
    let why = why.map_or_else(String::new, |why| format!(", which said: {why}"));
    format!("{}: {} after {}{why}", delivery.plugin, delivery.state, delivery.attempts.len())
}

fn joined(parts: &[String]) -> String {
    if parts.is_empty() { "no delivery".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use hookweir_event::{Attempt, Hops, Origin, Outcome, Timestamp};
    use hookweir_store::{DeliveryId, ShownAttempt, Summary};

    use super::*;

    fn delivery(id: u16, plugin: &str, state: DeliveryState, attempts: u32) -> ShownDelivery {
        let attempt = |number| ShownAttempt {
            number,
            started_at: Timestamp::default(),
            attempt: Attempt {
                outcome: Outcome::Retry,
                message: Some("nobody answers".into()),
                version: None,
                wall: std::time::Duration::ZERO,
                cpu: std::time::Duration::ZERO,
                logs: vec![],
            },
            exchanges: None,
        };
        ShownDelivery {
            id: DeliveryId { event: EventId::from_bytes([0; 16]), ordinal: id },
            plugin: plugin.parse().unwrap(),
            state,
            order_key: None,
            blocks: false,
            due_at: Timestamp::default(),
            discarded_at: None,
            replayed_at: None,
            settled_at: None,
            lost_leases: 0,
            attempts: (1..=attempts).map(attempt).collect(),
        }
    }

    fn shown(number: u8, parent: Option<u8>, kind: &str, deliveries: Vec<ShownDelivery>) -> Shown {
        let id = |number| EventId::from_bytes([number; 16]);
        let event = Summary {
            id: id(number),
            origin: Origin::Gateway,
            event_type: kind.parse().unwrap(),
            received_at: Timestamp::default(),
            parent: parent.map(id),
            root: None,
            hops: Hops(0),
            body_len: 0,
        };
        Shown { event, deliveries, duplicates: 0, duplicated_at: None }
    }

    fn expected(outputs: Vec<(&'static str, Vec<Ending>)>) -> Expected {
        let event = EventId::from_bytes([1; 16]);
        Expected { event, what: "a push", deliveries: vec![done_after("github", 1..=2)], outputs }
    }

    #[test]
    fn an_event_is_compared_with_all_that_came_of_it() {
        use DeliveryState::{Dead, Done};
        let all = [
            shown(1, None, "push", vec![delivery(1, "github", Done, 2)]),
            shown(2, Some(1), "told", vec![delivery(2, "ci", Done, 1)]),
            shown(3, Some(1), "told", vec![delivery(3, "ci", Dead, 1)]),
            shown(4, Some(2), "other", vec![]),
        ];
        let told = |ending| ("told", vec![ending]);
        assert_eq!(expected(vec![told(dead("ci")), told(done("ci"))]).compare(&all), Ok(()));
        for (outputs, words) in [
            (vec![told(done("ci"))], "nobody asked for: told"),
            (
                vec![told(done("ci")), told(done("ci"))],
                "ci: dead after 1, which said: nobody answers",
            ),
            (vec![("gone", vec![])], "its output gone: there is none"),
        ] {
            let fault = expected(outputs).compare(&all).unwrap_err();
            assert!(fault.starts_with("a push (01010101-") && fault.contains(words), "{fault}");
        }
        let fault = expected(vec![]).compare(&all[1..]).unwrap_err();
        assert!(fault.ends_with("it is not in the store"), "{fault}");
    }

    #[test]
    fn deliveries_are_the_same_by_plugin_state_and_attempts() {
        use DeliveryState::{Done, Due};
        let found = [delivery(1, "a", Done, 1), delivery(2, "b", Done, 3)];
        assert_eq!(same(&found, &[done_after("b", 2..=3), done("a")]), Ok(()));
        for wanted in [vec![done("a")], vec![done("a"), done("b")], vec![done("a"), done("c")]] {
            assert!(same(&found, &wanted).is_err(), "{wanted:?}");
        }
        let waits = same(&[delivery(1, "a", Due, 1)], &[]).unwrap_err();
        assert_eq!(waits, "a: due after 1, which said: nobody answers instead of no delivery");
    }
}

//! `hookweir tail`: what becomes of events as they come, over the admin API: a line for each attempt, with what the
//! plugin logged below it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Exit,
    events::Filter,
    operator::{Common, Look, Operator, Refused, items, printable, with_query},
    say, tell,
};

/// How often the gateway is asked.
const EVERY: Duration = Duration::from_millis(500);
/// Events that are followed at a time until all is settled; of more, the oldest are followed no further.
const OPEN_MAX: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &Args) -> Exit {
    Operator::run(&args.common, |operator| {
        operator.heed_interrupts()?;
        let mut tail = Tail { json: args.common.json(), ..Tail::default() };
        let parameters = args.filter.parameters();
        let place = |cursor: &Option<String>| {
            let parameters = parameters.clone().into_iter().chain([("cursor", cursor.clone())]);
            with_query("tail", parameters)
        };
        let mut cursor = match operator.look(&place(&None))? {
            Look::Found(begin) => begin["next"].as_str().map(str::to_owned),
            Look::Refused(refused) => return Err(refused.reason),
            Look::Interrupted => return Ok(()),
        };
        if !args.common.json() {
            say(row(["EVENT", "SOURCE/TYPE", "PLUGIN", "OUTCOME", "TOOK"]));
        }
        loop {
            let more = match tail.round(operator, &place(&cursor)) {
                Ok(Round::News { next, more }) => {
                    cursor = next.or(cursor);
                    more
                }
                Ok(Round::Nothing) => false,
                Ok(Round::Interrupted) => return Ok(()),
                // The gateway is away; it may come back.
                Err(reason) => {
                    tell(reason);
                    false
                }
            };
            if !more && operator.wait(EVERY)? {
                return Ok(());
            }
        }
    })
}

/// What came of asking once.
enum Round {
    /// What is new was told.
    News {
        /// Where the next is.
        next: Option<String>,
        /// Whether there is more already.
        more: bool,
    },
    /// The gateway refused to say what is new.
    Nothing,
    /// Ctrl-C was pressed.
    Interrupted,
}

/// What was told already.
#[derive(Default)]
struct Tail {
    json: bool,
    /// By event that has a delivery that is not settled: how many attempts of each delivery were told.
    open: BTreeMap<String, HashMap<String, usize>>,
    /// What the gateway refused, and why, since it refused nothing: each is said once, however often it is asked.
    refusals: BTreeSet<String>,
}

impl Tail {
    /// Looks once at what is open, and then at what is new at this place.
    fn round(&mut self, operator: &Operator, place: &str) -> Result<Round, String> {
        let mut was_refused = false;
        for id in self.open.keys().cloned().collect::<Vec<_>>() {
            match operator.look(&format!("events/{id}"))? {
                Look::Found(event) => self.tell(&event),
                // It was forgotten. Whatever else is said of it may be over the next time.
                Look::Refused(Refused { status: 404, .. }) => _ = self.open.remove(&id),
                Look::Refused(Refused { status, reason }) => {
                    self.refused(reason);
                    was_refused = true;
                    // Of one that can't be read the others may say nothing; all else would be said of them too.
                    if status != 500 {
                        return Ok(Round::Nothing);
                    }
                }
                Look::Interrupted => return Ok(Round::Interrupted),
            }
        }
        Ok(match operator.look(place)? {
            Look::Found(news) => {
                if !was_refused {
                    self.refusals.clear();
                }
                items(&news["items"]).for_each(|event| self.tell(event));
                let next = news["next"].as_str().map(str::to_owned);
                Round::News { next, more: news["more"] == true }
            }
            Look::Refused(Refused { reason, .. }) => {
                self.refused(reason);
                Round::Nothing
            }
            Look::Interrupted => Round::Interrupted,
        })
    }

    fn refused(&mut self, reason: String) {
        if self.refusals.insert(reason.clone()) {
            tell(reason);
        }
    }

    /// Tells the attempts that were not told yet.
    fn tell(&mut self, event: &Value) {
        let id = event["id"].as_str().unwrap_or_default().to_owned();
        let is_new = !self.open.contains_key(&id);
        let mut told = self.open.remove(&id).unwrap_or_default();
        let mut is_open = false;
        if is_new && items(&event["deliveries"]).next().is_none() {
            self.line(event, &Value::Null, &Value::Null);
        }
        for delivery in items(&event["deliveries"]) {
            let name = delivery["id"].as_str().unwrap_or_default().to_owned();
            let before = told.entry(name).or_default();
            let attempts: Vec<_> = items(&delivery["attempts"]).collect();
            for attempt in attempts.iter().skip(*before) {
                self.line(event, delivery, attempt);
            }
            *before = attempts.len();
            let state = delivery["state"].as_str();
            is_open |= !matches!(state, Some("done" | "dead" | "discarded"));
        }
        if is_open {
            self.open.insert(id, told);
            if self.open.len() > OPEN_MAX {
                self.open.pop_first();
            }
        }
    }

    fn line(&self, event: &Value, delivery: &Value, attempt: &Value) {
        if self.json {
            say(json!({
                "event": event["id"], "source": event["source"], "type": event["type"],
                "receivedAt": event["receivedAt"], "delivery": delivery["id"],
                "plugin": delivery["plugin"], "attempt": attempt,
            }));
            return;
        }
        lines(event, delivery, attempt).into_iter().for_each(say);
    }
}

fn lines(event: &Value, delivery: &Value, attempt: &Value) -> Vec<String> {
    let text = |value: &Value, key: &str| printable(value[key].as_str().unwrap_or("-"));
    let id = text(event, "id");
    // The last digits of an id are random: the first ones are the time.
    let id = format!("…{}", id.get(id.len().saturating_sub(7)..).unwrap_or_default());
    let kind = format!("{}/{}", text(event, "source"), text(event, "type"));
    let outcome = if attempt.is_null() { "unrouted".to_owned() } else { text(attempt, "outcome") };
    let millis = |micros: f64| format!("{:.1} ms", micros / 1e3);
    let took = attempt["wallMicros"].as_f64().map_or("-".to_owned(), millis);
    let mut lines = vec![row([&id, &kind, &text(delivery, "plugin"), &outcome, &took])];
    let message = attempt["message"].as_str();
    lines.extend(message.map(|message| format!("          └ {}", printable(message))));
    for line in items(&attempt["logs"]) {
        lines.push(format!("          {:<5} {}", text(line, "level"), text(line, "text")));
    }
    lines
}

fn row([event, kind, plugin, outcome, took]: [&str; 5]) -> String {
    format!("{event:<9} {kind:<40} {plugin:<14} {outcome:<13} {took:>9}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_is_a_line_and_nothing_is_obeyed_by_the_terminal() {
        let event = json!({ "id": "0190-1234567", "source": "shop", "type": "order.paid" });
        let attempt = json!({
            "outcome": "retry", "wallMicros": 1500, "message": "busy\u{1b}[31m",
            "logs": [{ "level": "warn", "text": "hm" }],
        });
        let told = lines(&event, &json!({ "plugin": "orders" }), &attempt);
        assert_eq!(told.len(), 3);
        assert!(told[0].starts_with("…1234567 ") && told[0].ends_with("1.5 ms"), "{told:?}");
        assert_eq!(told[1], "          └ busy\u{fffd}[31m");
        let unrouted = lines(&event, &Value::Null, &Value::Null);
        assert!(unrouted[0].contains("unrouted"), "{unrouted:?}");
    }

    #[test]
    fn what_is_open_is_followed_and_what_is_settled_is_not() {
        let mut tail = Tail { json: true, ..Tail::default() };
        let event = |state: &str, attempts: usize| {
            let attempts = vec![json!({ "outcome": "retry" }); attempts];
            json!({ "id": "e", "deliveries": [{ "id": "e/0", "state": state, "attempts": attempts }] })
        };
        tail.tell(&event("due", 1));
        assert_eq!(tail.open["e"]["e/0"], 1);
        tail.tell(&event("leased", 2));
        assert_eq!(tail.open["e"]["e/0"], 2);
        tail.tell(&event("done", 3));
        assert!(tail.open.is_empty());
    }
}

//! Alerts: tells when something is wrong, and when it is well again, as events of the gateway's own.
//!
//! Looks once a second at what metrics count. What crosses its threshold is raised once, and cleared once when
//! it is well below it (`judge` says when): each makes one event, `gateway/alert.*`, which is stored and
//! routed as any other. What is raised is known to the store, in the transaction of that event, and so is when
//! it was cleared: a restart neither forgets nor repeats it, nor cuts its rest short.
//!
//! An alert about the plugin that alerts are sent to can't feed itself: it makes one event until it is cleared,
//! and is not raised again for a window after that.

mod judge;
mod name;
mod standing;
mod watched;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hookweir_event::{Clock, Event, EventId, Hops, Origin, PluginName, Timestamp};
use hookweir_store::{NewNotice, Reader, Store};
use serde_json::{Map, Value, json};

use self::{
    judge::{Alarm, Measure, Turn},
    watched::{Moment, Sight, Watched, Windows},
};
pub use self::{
    name::{About, Kind, Name},
    standing::Standing,
};
use crate::{chance::Chance, live::Board, metrics::Surveyor, pauses::Pauses, tasks::Stop};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// The driver that watches.
pub struct Watch {
    board: Arc<Board>,
    store: Store,
    surveyor: Surveyor,
    pauses: Pauses,
    standing: Arc<Standing>,
    clock: Clock,
    chance: Chance,
    windows: Windows,
    alarms: BTreeMap<Name, Raised>,
    /// Whether the store has said what was raised before the start.
    remembers: bool,
    /// Whether the store failed the last time: it is said once.
    failed: bool,
}

/// An alarm, since when if it is raised, and how long it rests once it is cleared.
#[derive(Debug, Default)]
struct Raised {
    alarm: Alarm,
    since: Timestamp,
    rest: Duration,
}

/// Nothing is measured any more of what was raised: it is switched off, or whose it was is gone.
const GONE: &str = "it is not watched any more";

impl Watch {
    /// Watches what is on this board and in this store. Nothing is looked at before it runs.
    pub fn new(
        board: Arc<Board>,
        store: Store,
        (surveyor, pauses): (Surveyor, Pauses),
        (clock, chance): (Clock, Chance),
    ) -> Self {
        let (windows, alarms) = (Windows::default(), BTreeMap::new());
        let standing = Arc::default();
        let (remembers, failed) = (false, false);
        Self {
            board,
            store,
            surveyor,
            pauses,
            standing,
            clock,
            chance,
            windows,
            alarms,
            remembers,
            failed,
        }
    }

    /// What is raised, as it is seen each time.
    pub fn standing(&self) -> Arc<Standing> {
        self.standing.clone()
    }

    /// Looks until `stop`.
    pub async fn run(mut self, mut stop: Stop) {
        loop {
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            // A store that is slow to answer must not hold up the end.
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.look() => {}
            }
        }
    }

    async fn look(&mut self) {
        if !self.remembers && !self.remember(&self.store.reader()).await {
            return;
        }
        let survey = self.surveyor.survey().await;
        let moment = self.moment();
        let live = self.board.load_full();
        let is_paused = |name: &PluginName| self.pauses.waits(name);
        let watched = self.windows.look(Sight {
            live: &live,
            survey: survey.as_deref(),
            is_paused: &is_paused,
            moment,
        });
        let names: BTreeSet<_> = watched.iter().map(|watched| watched.name.clone()).collect();
        for watched in watched {
            self.judge(watched, moment).await;
        }
        self.let_go(&names, moment).await;
        let is_raised = |name: &Name| self.alarms.get(name).is_some_and(|r| r.alarm.is_raised());
        let standing = names.into_iter().map(|name| (is_raised(&name), name));
        self.standing.set(standing.map(|(is_raised, name)| (name, is_raised)).collect());
    }

    fn moment(&self) -> Moment {
        Moment { ticks: self.clock.ticks(), wall: self.clock.now() }
    }

    /// Clears what is raised and not watched any more, and forgets it when it has rested: it may come back.
    async fn let_go(&mut self, watched: &BTreeSet<Name>, moment: Moment) {
        let gone = self.alarms.iter().filter(|(name, _)| !watched.contains(name));
        let gone: Vec<_> = gone.map(|(name, raised)| (name.clone(), raised.rest)).collect();
        for (name, rest) in gone {
            let facts = vec![("reason", json!(GONE))];
            let measure = Measure::Quiet;
            self.judge(Watched { name: name.clone(), measure, rest, facts }, moment).await;
        }
        self.alarms.retain(|name, Raised { alarm, rest, .. }| {
            watched.contains(name) || alarm.is_raised() || alarm.is_resting(moment.ticks, *rest)
        });
    }

    /// What was raised before the start, and what rests since. Whether the store could say.
    async fn remember(&mut self, reader: &Reader) -> bool {
        let notices = match reader.notices().await {
            Ok(notices) => notices,
            Err(error) => {
                self.say_failed(&error);
                return false;
            }
        };
        let moment = self.moment();
        // Until it is watched, which says its own.
        let rest = self.board.load().config.alerts.window;
        for notice in notices {
            // Else it is of a later version's.
            if let Ok(name) = notice.name.parse() {
                let alarm = match notice.cleared_at {
                    None => Alarm::raised(),
                    Some(at) => Alarm::cleared(moment.wall.since(at), moment.ticks),
                };
                self.alarms.insert(name, Raised { alarm, since: notice.raised_at, rest });
            }
        }
        (self.remembers, self.failed) = (true, false);
        true
    }

    async fn judge(&mut self, watched: Watched, moment: Moment) {
        let raised = self.alarms.entry(watched.name.clone()).or_default();
        raised.rest = watched.rest;
        let turn = raised.alarm.judge(watched.measure, moment.ticks, watched.rest);
        let Some(turn) = turn else { return };
        let since = if turn == Turn::Raise { moment.wall } else { raised.since };
        let notice = self.notice(&watched, turn, since, moment.wall);
        let told = self.store.notice(notice).await;
        let Watched { name, facts, .. } = watched;
        match told {
            Ok(news) => {
                self.failed = false;
                if news {
                    tell(&name, turn, &facts);
                }
                if let Some(raised) = self.alarms.get_mut(&name) {
                    raised.alarm.turn(turn, moment.ticks);
                    raised.since = since;
                }
            }
            // It is judged again at the next look.
            Err(error) => self.say_failed(&error),
        }
    }

    /// Once, until the store does what it is asked again.
    fn say_failed(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.failed, true) {
            tracing::warn!(%error, "alerts can't be kept; they are judged again until they can");
        }
    }

    fn notice(&self, watched: &Watched, turn: Turn, since: Timestamp, now: Timestamp) -> NewNotice {
        let Watched { name, facts, .. } = watched;
        let raised = turn == Turn::Raise;
        let event_type = format!("alert.{}", name.kind.as_str()).parse();
        let event = Event {
            id: EventId::new(now, self.chance.bytes()),
            origin: Origin::Gateway,
            event_type: event_type.expect("invariant: the words of alerts make event types"),
            received_at: now,
            method: "POST".into(),
            path: String::new(),
            query: None,
            headers: vec![("content-type".into(), b"application/json".to_vec())],
            body: body(name, turn, since, facts).to_string().into_bytes(),
            attributes: Vec::new(),
            hops: Hops::default(),
        };
        let routes = self.board.load().route(&event);
        NewNotice { name: name.to_string(), raised, event, routes }
    }
}

/// What an alert tells: whether it is raised, whose it is, what was measured, what is allowed, since when.
fn body(name: &Name, turn: Turn, since: Timestamp, facts: &[(&'static str, Value)]) -> Value {
    let state = if turn == Turn::Raise { "raised" } else { "cleared" };
    let mut body = Map::from_iter([("state".to_owned(), json!(state))]);
    body.extend(name.about.label().map(|(what, name)| (what.to_owned(), json!(name))));
    // What nothing was measured of is left out.
    let facts = facts.iter().filter(|(_, value)| !value.is_null());
    body.extend(facts.map(|(name, value)| ((*name).to_owned(), value.clone())));
    let since = jiff::Timestamp::from_millisecond(since.as_millis());
    body.extend(since.ok().map(|since| ("since".to_owned(), json!(since.to_string()))));
    Value::Object(body)
}

fn tell(name: &Name, turn: Turn, facts: &[(&'static str, Value)]) {
    let facts: Vec<_> = facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let facts = facts.join(" ");
    match turn {
        Turn::Raise => tracing::error!(alert = %name, facts, "alert raised"),
        Turn::Clear => tracing::info!(alert = %name, facts, "alert cleared"),
    }
}

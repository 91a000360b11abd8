//! What the store has of events that a plugin handled: which are meant, and what came of each then. Only looks,
//! from one moment after another, beside a gateway that may run.

use std::{collections::BTreeSet, time::Duration};

use hookweir_event::{
    Digest, Event, EventId, Exchanges, Origin, Outcome, PluginName, StateEntry, Timestamp,
};
use hookweir_store::{Cursor, Filter, ReadError, Reader, ShownAttempt, ShownDelivery};

use super::did::Made;
use crate::dispatch::told;

/// How many are asked for at once.
const PAGE: usize = 1000;
/// How much later than its settlement an output may have been made: a settlement that joins a commit that was begun
/// has the time of its beginning.
const SETTLING: Duration = Duration::from_secs(1);
/// Bytes of state that are held, for each of the two versions.
const STATE_MAX: u64 = 256 << 20;

/// An event as the plugin was given it, and what came of that.
#[derive(Debug)]
pub(super) struct Recorded {
    /// With what the plugin was told of the delivery.
    pub(super) event: Event,
    pub(super) attempt: u32,
    /// When the attempt began.
    pub(super) at: Timestamp,
    pub(super) outcome: Outcome,
    pub(super) message: Option<String>,
    /// Which version ran.
    pub(super) version: Option<Digest>,
    pub(super) outputs: Vec<Made>,
    /// What it sent and was answered, if that was kept.
    pub(super) exchanges: Option<Exchanges>,
}

/// What is known of one event.
#[derive(Debug)]
pub(super) enum Found {
    Recorded(Box<Recorded>),
    /// The plugin did not run on it yet.
    NotRun,
    /// It is not kept any more, or can't be read.
    Lost,
}

/// Which events are meant.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) filter: Filter,
    /// Not more than the newest so many.
    pub(super) last: Option<usize>,
    /// These alone.
    pub(super) ids: Vec<EventId>,
}

/// The plugin's part of a store.
pub(super) struct Store {
    pub(super) reader: Reader,
    pub(super) plugin: PluginName,
}

impl Store {
    /// The ids of what is meant, in the order of the commits.
    pub(super) async fn ids(&self, chosen: &Chosen) -> Result<Vec<EventId>, String> {
        let Chosen { filter, last, ids } = chosen;
        let mut filter = Filter { plugin: Some(self.plugin.clone()), ..filter.clone() };
        let named: BTreeSet<_> = ids.iter().copied().collect();
        if !named.is_empty() {
            self.narrow(&mut filter, &named).await?;
        }
        let max = last.unwrap_or(usize::MAX);
        let (mut found, mut from): (Vec<EventId>, Option<Cursor>) = (Vec::new(), None);
        loop {
            let limit = PAGE.min(max - found.len());
            let page = self
                .reader
                .search_ids(&filter, from, limit)
                .await
                .map_err(|error| unread(&error))?;
            let meant = page.found.into_iter().filter(|id| named.is_empty() || named.contains(id));
            found.extend(meant);
            from = page.next;
            if from.is_none() || found.len() >= max {
                break;
            }
        }
        if let Some(id) = named.iter().find(|id| !found.contains(id)) {
            return Err(format!("{id} is no event of {} that the filter means", self.plugin));
        }
        found.reverse();
        Ok(found)
    }

    /// To the time in which these were received.
    async fn narrow(&self, filter: &mut Filter, ids: &BTreeSet<EventId>) -> Result<(), String> {
        for id in ids {
            let shown = self.reader.show(*id).await.map_err(|error| unread(&error))?;
            let shown = shown.ok_or_else(|| format!("there is no event {id}"))?;
            let at = shown.event.received_at;
            filter.since = Some(filter.since.map_or(at, |since| since.min(at)));
            let after = Timestamp::from_millis(at.as_millis().saturating_add(1));
            filter.until = Some(filter.until.map_or(after, |until| until.max(after)));
        }
        Ok(())
    }

    /// All of the plugin's state as it is now.
    pub(super) async fn state(&self) -> Result<Vec<StateEntry>, String> {
        let state = self
            .reader
            .whole_state(&self.plugin, STATE_MAX)
            .await
            .map_err(|error| unread(&error))?;
        state.ok_or_else(|| {
            format!(
                "the state of {} has more than the {} MiB that are held here; begin with none, by --fresh-state",
                self.plugin,
                STATE_MAX >> 20
            )
        })
    }

    /// One event, and its last attempt in which the plugin ran.
    pub(super) async fn look(&self, id: EventId) -> Result<Found, String> {
        let Some(shown) = self.reader.show(id).await.map_err(|error| unread(&error))? else {
            return Ok(Found::Lost);
        };
        let own = shown.deliveries.iter().filter(|delivery| delivery.plugin == self.plugin);
        let Some((delivery, ran)) = own.rev().find_map(|one| Some((one, last_run(one)?))) else {
            return Ok(Found::NotRun);
        };
        // One whose content has rotted is not told from a store that can't be read; the next one will tell.
        let Ok(Some(mut event)) = self.reader.event(id).await else { return Ok(Found::Lost) };
        event.attributes.extend(told(delivery.order_key.as_ref(), delivery.replayed_at));
        let outputs = match ran.attempt.outcome {
            Outcome::Done => self.outputs(id, delivery, ran).await?,
            _ => Vec::new(),
        };
        // Nor is this.
        let Ok(exchanges) = self.reader.exchanges(delivery.id, ran.number).await else {
            return Ok(Found::Lost);
        };
        Ok(Found::Recorded(Box::new(Recorded {
            event,
            attempt: ran.number,
            at: ran.started_at,
            outcome: ran.attempt.outcome,
            message: ran.attempt.message.clone(),
            version: ran.attempt.version,
            outputs,
            exchanges,
        })))
    }

    /// What an attempt made, in its order: outputs are committed when it is settled.
    async fn outputs(
        &self,
        parent: EventId,
        delivery: &ShownDelivery,
        ran: &ShownAttempt,
    ) -> Result<Vec<Made>, String> {
        let until = delivery.settled_at.unwrap_or(delivery.due_at) + SETTLING;
        let filter = Filter {
            origin: Some(Origin::Plugin(self.plugin.clone())),
            since: Some(ran.started_at),
            until: Some(until),
            ..Filter::default()
        };
        let (mut ids, mut from) = (Vec::new(), None);
        loop {
            let page =
                self.reader.search(&filter, from, PAGE).await.map_err(|error| unread(&error))?;
            let events = page.found.into_iter().map(|shown| shown.event);
            ids.extend(events.filter(|event| event.parent == Some(parent)).map(|event| event.id));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let mut outputs = Vec::new();
        for id in ids.into_iter().rev() {
            // One that can't be read is missing, and so the event is not comparable.
            if let Ok(Some(Event { event_type, headers, attributes, body, .. })) =
                self.reader.event(id).await
            {
                let kind = event_type.as_str().to_owned();
                outputs.push(Made { kind, headers, attributes, body });
            }
        }
        Ok(outputs)
    }
}

/// The last attempt in which the plugin's code ran.
fn last_run(delivery: &ShownDelivery) -> Option<&ShownAttempt> {
    let ran = |made: &&ShownAttempt| {
        !matches!(made.attempt.outcome, Outcome::Lost | Outcome::HopLimit | Outcome::Unreadable)
    };
    delivery.attempts.iter().rev().find(ran)
}

fn unread(error: &ReadError) -> String {
    error.to_string()
}

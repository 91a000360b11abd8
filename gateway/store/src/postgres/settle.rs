//! Settling: what came of leases, guarded by them, and the record of each attempt.
//!
//! A lease is held as long as the delivery's row has its boot and its turn. The row is locked first, so whoever takes a
//! lapsed lease away and whoever settles it come one after the other. A settlement that finds its attempt on record under
//! its own lease was made by a commit whose outcome nobody knew: it is done, once.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::Duration,
};

use hookweir_event::{Attempt, EventId, Exchanges, Fate, PluginName, StateChange, Timestamp};

use super::{
    Fault, Moment,
    batch::Batch,
    rows::{Line, id_of},
    state::Touched,
    tables,
};
use crate::{
    LeaseKey, Output, Settled, Settlement, StoreError, Written,
    bounds::{ATTEMPTS_MAX, bytes_fit, deliveries_fit},
    codec, exchanges,
};

/// A delivery: its event, and which of that one's it is.
pub(super) type Name = (EventId, i16);

/// What becomes of a delivery whose lease ends.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) name: Name,
    pub(super) attempts: i32,
    /// None: as it was.
    pub(super) due_at: Option<Timestamp>,
    /// If it is over.
    pub(super) settled_at: Option<Timestamp>,
    pub(super) dead: bool,
    /// It leaves its line.
    pub(super) leaves: bool,
    /// Those behind it wait for an operator, if it is in a line.
    pub(super) blocks: bool,
}

/// The record of an attempt.
#[derive(Debug)]
pub(super) struct AttemptRow<'m> {
    pub(super) event: EventId,
    pub(super) ordinal: i16,
    pub(super) number: i32,
    /// The boot and the turn of the lease that it was made under.
    pub(super) lease: (i64, i64),
    pub(super) started_at: Timestamp,
    pub(super) attempt: Cow<'m, Attempt>,
    pub(super) exchanges: Option<(u32, u32, Vec<u8>)>,
    /// Whether the delivery died of it.
    pub(super) buries: bool,
}

impl AttemptRow<'_> {
    /// The record, of an attempt that ended now.
    fn written(&self, now: Timestamp) -> tables::Attempt<'_> {
        let attempt = &*self.attempt;
        tables::Attempt {
            event: self.event.as_bytes(),
            ordinal: self.ordinal.into(),
            number: self.number.into(),
            lease: self.lease,
            started_at: self.started_at.as_millis(),
            ended_at: now.as_millis(),
            outcome: attempt.outcome.as_str(),
            message: attempt.message.as_deref().map(str::as_bytes),
            version: attempt.version.as_ref().map(|version| &version.as_bytes()[..]),
            wall_us: micros(attempt.wall),
            cpu_us: micros(attempt.cpu),
            logs: codec::write_logs(&attempt.logs).map(Cow::Owned),
        }
    }

    /// What it sent, if that is kept.
    fn sent(&self) -> Option<tables::Exchanges<'_>> {
        let (kept, left_out, content) = self.exchanges.as_ref()?;
        Some(tables::Exchanges {
            event: self.event.as_bytes(),
            ordinal: self.ordinal.into(),
            number: self.number.into(),
            kept: (*kept).into(),
            left_out: (*left_out).into(),
            content,
        })
    }
}

/// A delivery whose lease is held.
#[derive(Debug)]
pub(super) struct Held {
    /// The boot and the turn of the lease.
    pub(super) lease: (i64, i64),
    pub(super) plugin: String,
    /// The line it stands in.
    pub(super) line: Option<Line>,
}

/// Which of a delivery a key is of.
pub(super) fn name_of(key: &LeaseKey) -> Name {
    // It was made from one.
    (key.ids[0], i16::try_from(key.delivery).unwrap_or(i16::MAX))
}

/// The delivery out of those that are held, if it is by this lease: another one's may be ended beside it.
fn take(held: &mut HashMap<Name, Held>, key: &LeaseKey) -> Option<Held> {
    let name = name_of(key);
    match held.get(&name)?.lease == (key.boot, key.turn) {
        true => held.remove(&name),
        false => None,
    }
}

/// Settlements of which nobody knows whether they were committed, by their leases. Whoever is told so asks again, and is
/// told then; one that was committed is known by its attempt, and is not taken for one whose lease was lost.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    leases: Mutex<HashSet<(Name, i64, i64)>>,
}

impl Unheard {
    /// As many are remembered. That is far more than are under way at a time.
    const MAX: usize = 1 << 16;

    fn has(&self, key: &LeaseKey) -> bool {
        self.leases.lock().is_ok_and(|leases| leases.contains(&lease_of(key)))
    }

    /// Nobody knows of these.
    pub(super) fn add<'k>(&self, keys: impl Iterator<Item = &'k LeaseKey>) {
        if let Ok(mut leases) = self.leases.lock() {
            let room = Self::MAX.saturating_sub(leases.len());
            leases.extend(keys.take(room).map(lease_of));
        }
    }

    /// It is known of these.
    pub(super) fn remove<'k>(&self, keys: impl Iterator<Item = &'k LeaseKey>) {
        if let Ok(mut leases) = self.leases.lock()
            && !leases.is_empty()
        {
            for key in keys {
                leases.remove(&lease_of(key));
            }
        }
    }
}

fn lease_of(key: &LeaseKey) -> (Name, i64, i64) {
    (name_of(key), key.boot, key.turn)
}

type Settlements<'s, 'm> = &'s [(usize, &'m Settlement)];
type Writes<'s, 'm> = &'s [(usize, (&'m PluginName, &'m Vec<StateChange>))];

/// Those of the leases that are held, with their rows locked.
pub(super) async fn held(
    moment: &Moment<'_>,
    keys: &[&LeaseKey],
) -> Result<HashMap<Name, Held>, Fault> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let events: Vec<&[u8]> = keys.iter().map(|key| &key.ids[0].as_bytes()[..]).collect();
    let ordinals: Vec<i16> = keys.iter().map(|key| name_of(key).1).collect();
    let boots: Vec<i64> = keys.iter().map(|key| key.boot).collect();
    let turns: Vec<i64> = keys.iter().map(|key| key.turn).collect();
    let sql = "SELECT d.event, d.ordinal, d.plugin, d.order_key, d.standing, d.boot, d.turn FROM deliveries AS d
               JOIN unnest($1::bytea[], $2::smallint[], $3::bigint[], $4::bigint[])
                   AS k(event, ordinal, boot, turn) ON d.event = k.event AND d.ordinal = k.ordinal
               WHERE d.boot = k.boot AND d.turn = k.turn
               ORDER BY d.event, d.ordinal FOR UPDATE OF d";
    let mut held = HashMap::with_capacity(keys.len());
    for row in moment.rows(sql, &[&events, &ordinals, &boots, &turns]).await? {
        let plugin: String = row.get(2);
        let stands = row.get::<_, Option<i16>>(4).is_some();
        let key = row.get::<_, Option<Vec<u8>>>(3).filter(|_| stands);
        let line = key.map(|key| (plugin.clone(), key));
        let lease = (row.get(5), row.get(6));
        held.insert((id_of(&row, 0)?, row.get(1)), Held { lease, plugin, line });
    }
    Ok(held)
}

impl<'m> Batch<'m> {
    /// Settles those whose leases are held, and changes state that is written alone.
    pub(super) async fn settle_all(
        &mut self,
        settlements: Settlements<'_, 'm>,
        writes: Writes<'_, 'm>,
        mut held: HashMap<Name, Held>,
    ) -> Result<(Vec<(usize, Result<Settled, StoreError>)>, Vec<(usize, Written)>), Fault> {
        if settlements.is_empty() && writes.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut state = self.touch(&held, settlements, writes).await?;
        let (mut answers, mut lost) = (Vec::with_capacity(settlements.len()), Vec::new());
        for (at, settlement) in settlements {
            if let Err(reason) = settlement.outputs.iter().try_for_each(fits) {
                answers.push((*at, Err(StoreError::Failed(reason))));
                continue;
            }
            let Some(lease) = take(&mut held, &settlement.key) else {
                lost.push((*at, &settlement.key));
                continue;
            };
            let holds = settlement.state.is_empty()
                || state.change(&lease.plugin, &settlement.state, self.now);
            answers.push((
                *at,
                Ok(match holds {
                    true => {
                        self.settle(settlement, lease);
                        Settled::Committed
                    }
                    false => {
                        // In its old place: behind all others it might never win.
                        self.take_back(&settlement.key, &lease.plugin, None);
                        Settled::Conflict
                    }
                }),
            ));
        }
        let write = |(at, (plugin, changes)): &(usize, (&PluginName, &Vec<StateChange>))| {
            let holds = state.change(plugin.as_str(), changes, self.now);
            (*at, if holds { Written::Committed } else { Written::Conflict })
        };
        let written = writes.iter().map(write).collect();
        self.touched = state;
        for (at, settled) in self.settled_before(&lost).await? {
            answers.push((at, Ok(settled)));
        }
        Ok((answers, written))
    }

    /// Of leases that are not held: which were settled by themselves, in a commit whose outcome was not known.
    async fn settled_before(
        &self,
        lost: &[(usize, &LeaseKey)],
    ) -> Result<Vec<(usize, Settled)>, Fault> {
        let mut answers = Vec::with_capacity(lost.len());
        for (at, key) in lost {
            if !self.again && !self.known.unheard.has(key) {
                answers.push((*at, Settled::LeaseLost));
                continue;
            }
            let sql = "SELECT 1 FROM attempts WHERE event = $1 AND ordinal = $2 AND number = $3
                       AND boot = $4 AND turn = $5 AND outcome <> 'lost'";
            let (event, ordinal) = name_of(key);
            let number = number_of(key.attempt);
            let id = &event.as_bytes()[..];
            let found =
                self.moment.row(sql, &[&id, &ordinal, &number, &key.boot, &key.turn]).await?;
            let settled = if found.is_some() { Settled::Committed } else { Settled::LeaseLost };
            answers.push((*at, settled));
        }
        Ok(answers)
    }

    /// Settles a lease that is held, and whose state is as it has to be.
    fn settle(&mut self, settlement: &'m Settlement, lease: Held) {
        let (key, attempt) = (&settlement.key, Cow::Borrowed(&settlement.attempt));
        self.conclude(key, settlement.fate, lease, attempt, settlement.exchanges.as_ref());
        for output in &settlement.outputs {
            self.keep_output(output, key);
        }
    }

    /// Ends a lease that is held: the record of the attempt, and what becomes of the delivery.
    pub(super) fn conclude(
        &mut self,
        key: &LeaseKey,
        fate: Fate,
        lease: Held,
        attempt: Cow<'m, Attempt>,
        exchanges: Option<&Exchanges>,
    ) {
        let fate = match fate {
            Fate::Due { .. } if key.attempt >= ATTEMPTS_MAX => Fate::Dead { blocks: true },
            fate => fate,
        };
        let name = name_of(key);
        let over = fate_is_over(fate);
        let (due_at, dead) = match fate {
            Fate::Due { after } => (Some(self.now + after), false),
            Fate::Done => (None, false),
            Fate::Dead { .. } => (None, true),
        };
        let blocks = fate == Fate::Dead { blocks: true };
        let leaves = over && !blocks && lease.line.is_some();
        if let Some(line) = lease.line.filter(|_| leaves) {
            self.rows.lines.entry(line).or_default().leave += 1;
        }
        self.closings.push(Closing {
            name,
            attempts: number_of(key.attempt),
            due_at,
            settled_at: over.then_some(self.now),
            dead,
            leaves,
            blocks,
        });
        self.rows.attempts.push(AttemptRow {
            event: name.0,
            ordinal: name.1,
            number: number_of(key.attempt),
            lease: (key.boot, key.turn),
            started_at: key.leased_at,
            attempt,
            exchanges: exchanges.map(written),
            buries: dead,
        });
        self.count_settled(&lease.plugin, fate);
    }

    fn count_settled(&mut self, plugin: &str, fate: Fate) {
        self.counted.totals.leased -= 1;
        let depth = self.counted.of(plugin);
        depth.leased -= 1;
        match fate {
            Fate::Done => self.counted.totals.done += 1,
            Fate::Dead { .. } => {
                depth.dead += 1;
                self.counted.totals.dead += 1;
            }
            Fate::Due { .. } => {
                depth.due += 1;
                self.counted.totals.due += 1;
                self.work_due = true;
            }
        }
    }

    /// Returns leases unused. Those that are not held any more are passed over.
    pub(super) async fn give_back(
        &mut self,
        leases: &[LeaseKey],
        after: Duration,
    ) -> Result<(), Fault> {
        let keys: Vec<_> = leases.iter().collect();
        let mut held = held(self.moment, &keys).await?;
        // Two may end the same lease in one batch: the first does.
        let closing: HashSet<_> = self.closings.iter().map(|closing| closing.name).collect();
        held.retain(|name, _| !closing.contains(name));
        for key in leases {
            if let Some(lease) = take(&mut held, key) {
                self.take_back(key, &lease.plugin, Some(self.now + after));
            }
        }
        Ok(())
    }

    /// Due then, or when it was, and no attempt more.
    fn take_back(&mut self, key: &LeaseKey, plugin: &str, due_at: Option<Timestamp>) {
        self.closings.push(Closing {
            name: name_of(key),
            attempts: number_of(key.attempt) - 1,
            due_at,
            settled_at: None,
            dead: false,
            leaves: false,
            blocks: false,
        });
        self.known.fronts.forget(plugin);
        self.counted.totals.leased -= 1;
        self.counted.totals.due += 1;
        let depth = self.counted.of(plugin);
        (depth.leased, depth.due) = (depth.leased - 1, depth.due + 1);
        self.work_due = true;
    }

    /// Writes what becomes of the deliveries whose leases end.
    pub(super) async fn close(&self) -> Result<(), Fault> {
        let closings = &self.closings;
        if closings.is_empty() {
            return Ok(());
        }
        let events: Vec<&[u8]> = closings.iter().map(|it| &it.name.0.as_bytes()[..]).collect();
        let ordinals: Vec<i16> = closings.iter().map(|closing| closing.name.1).collect();
        let attempts: Vec<i32> = closings.iter().map(|closing| closing.attempts).collect();
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        let due: Vec<Option<i64>> = closings.iter().map(|closing| millis(closing.due_at)).collect();
        let settled: Vec<Option<i64>> =
            closings.iter().map(|closing| millis(closing.settled_at)).collect();
        let dead: Vec<i16> = closings.iter().map(|closing| i16::from(closing.dead)).collect();
        let leaves: Vec<bool> = closings.iter().map(|closing| closing.leaves).collect();
        let blocks: Vec<bool> = closings.iter().map(|closing| closing.blocks).collect();
        let sql = "UPDATE deliveries AS d SET boot = NULL, leased_at = NULL, attempts = c.attempts,
                       due_at = coalesce(c.due_at, d.due_at), settled_at = c.settled_at, dead = c.dead,
                       standing = CASE WHEN c.leaves THEN NULL
                                       WHEN c.blocks AND d.standing = 0 THEN 2 ELSE d.standing END
                   FROM unnest($1::bytea[], $2::smallint[], $3::int[], $4::bigint[], $5::bigint[], $6::smallint[],
                               $7::boolean[], $8::boolean[])
                       AS c(event, ordinal, attempts, due_at, settled_at, dead, leaves, blocks)
                   WHERE d.event = c.event AND d.ordinal = c.ordinal";
        self.moment
            .run(sql, &[&events, &ordinals, &attempts, &due, &settled, &dead, &leaves, &blocks])
            .await?;
        Ok(())
    }

    /// Writes the records of attempts.
    pub(super) async fn write_attempts(&self) -> Result<(), Fault> {
        let rows: Vec<_> = self.rows.attempts.iter().map(|row| row.written(self.now)).collect();
        tables::Attempt::insert(self.moment, &rows).await
    }

    /// Writes what attempts sent.
    pub(super) async fn write_exchanges(&self) -> Result<(), Fault> {
        let rows: Vec<_> = self.rows.attempts.iter().filter_map(AttemptRow::sent).collect();
        tables::Exchanges::insert(self.moment, &rows).await
    }

    /// Counts what attempts sent that are written, and what dead letters keep: their events, and what was sent for them.
    pub(super) async fn count_attempts(&mut self) -> Result<(), Fault> {
        let rows = std::mem::take(&mut self.rows.attempts);
        let sent = rows.iter().filter_map(|row| row.exchanges.as_ref());
        let bytes = sent.map(|(.., content)| i64::try_from(content.len()).unwrap_or(0));
        self.counted.totals.bytes += bytes.sum::<i64>();
        let died = rows.iter().filter(|row| row.buries).map(|row| (row.event, row.ordinal));
        self.counted.totals.dead_bytes += self.bytes_of(&died.collect::<Vec<Name>>()).await?;
        Ok(())
    }

    /// Bytes of the events of deliveries, each time again, and of what their attempts sent.
    pub(super) async fn bytes_of(&self, deliveries: &[Name]) -> Result<i64, Fault> {
        if deliveries.is_empty() {
            return Ok(0);
        }
        let events: Vec<&[u8]> =
            deliveries.iter().map(|(event, _)| &event.as_bytes()[..]).collect();
        let ordinals: Vec<i16> = deliveries.iter().map(|(_, ordinal)| *ordinal).collect();
        let sql = "SELECT coalesce(sum(e.bytes + coalesce(
                       (SELECT sum(length(content)) FROM exchanges AS x WHERE x.event = k.event AND x.ordinal = k.ordinal),
                       0)), 0)::bigint
                   FROM unnest($1::bytea[], $2::smallint[]) AS k(event, ordinal) JOIN events AS e ON e.id = k.event";
        Ok(self.moment.the_row(sql, &[&events, &ordinals]).await?.get(0))
    }

    /// Looks up what settlements and writes touch of their plugins' state.
    async fn touch<'a>(
        &mut self,
        held: &HashMap<Name, Held>,
        settlements: Settlements<'_, 'a>,
        writes: Writes<'_, 'a>,
    ) -> Result<Touched, Fault> {
        let mut touches: Vec<(String, &'a [StateChange])> = Vec::new();
        for (_, settlement) in settlements.iter().filter(|(_, it)| !it.state.is_empty()) {
            if let Some(lease) = held.get(&name_of(&settlement.key)) {
                touches.push((lease.plugin.clone(), &settlement.state));
            }
        }
        touches
            .extend(writes.iter().map(|(_, (plugin, changes))| (plugin.to_string(), &changes[..])));
        self.state_of(&touches).await
    }
}

/// Whether an output can be kept; if not, why not, whenever it is tried.
fn fits(output: &Output) -> Result<(), String> {
    deliveries_fit(output.routes.len()).and_then(|()| bytes_fit(output.event.body.len()))
}

fn fate_is_over(fate: Fate) -> bool {
    !matches!(fate, Fate::Due { .. })
}

/// How many are kept, how many were left out, and their blob.
fn written(sent: &Exchanges) -> (u32, u32, Vec<u8>) {
    (u32::try_from(sent.kept.len()).unwrap_or(u32::MAX), sent.left_out, exchanges::write(sent))
}

pub(super) fn number_of(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

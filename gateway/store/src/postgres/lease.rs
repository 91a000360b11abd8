//! Leasing: what is due of each plugin, the longest due first.
//!
//! Rows that another transaction has locked are passed over: who has them leases or settles them. Whoever leases comes
//! upon deliveries that a hold keeps where they stand among the others, and sets them aside, as the other engine does:
//! from then on no index that leases read has them (`held`). When the hold is lifted each lease takes back as many as it
//! may hand out, in the order their events were committed.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use hookweir_event::{Event, EventId, Fate, Hops, OrderKey, Timestamp};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::{
    Fault,
    batch::Batch,
    rows::{id_of, parsed, text_of},
    settle::{Held, Name},
};
use crate::{Lease, LeaseKey, Leased, Want, bounds, codec};

/// So many deliveries of a plugin one lease sets aside.
const ASIDE_MAX: usize = 256;

/// A delivery that may be leased.
struct Candidate {
    name: Name,
    plugin: String,
    origin: String,
    due_at: Timestamp,
}

/// What is asked for of one plugin, by all in a batch, in the order they asked.
#[derive(Default)]
struct Wanted {
    /// Who, and at most how many.
    by: Vec<(usize, usize)>,
}

impl Batch<'_> {
    /// Hands out what is due, and answers each who asked.
    pub(super) async fn lease_all(
        &mut self,
        asked: &[(usize, &Vec<Want>)],
    ) -> Result<Vec<(usize, Leased)>, Fault> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let mut wanted: BTreeMap<&str, Wanted> = BTreeMap::new();
        for (at, wants) in asked {
            for want in *wants {
                let entry = wanted.entry(want.plugin.as_str()).or_default();
                entry.by.push((*at, want.max));
            }
        }
        let none = BTreeSet::new();
        let (holds, mut candidates, next) = tokio::try_join!(
            biased;
            self.holds(),
            self.candidates(&wanted, &none),
            self.next_due(&wanted),
        )?;
        let in_force = match holds.is_empty() {
            true => none,
            false => {
                let in_force = self.keep_holds(holds, &wanted).await?;
                candidates = self.candidates(&wanted, &in_force).await?;
                in_force
            }
        };
        let (mut taken, mut owners) = (Vec::new(), HashMap::new());
        self.share(&wanted, candidates, &in_force, &mut taken, &mut owners).await?;
        let mut answers: BTreeMap<usize, Leased> =
            asked.iter().map(|(at, _)| (*at, Leased::default())).collect();
        for lease in self.mark(&taken).await? {
            let name = super::settle::name_of(&lease.key);
            if let Some(leased) = owners.get(&name).and_then(|at| answers.get_mut(at)) {
                leased.leases.push(lease);
            }
        }
        for (at, wants) in asked {
            let soonest = wants.iter().filter_map(|want| next.get(want.plugin.as_str())).min();
            if let (Some(leased), Some(due_at)) = (answers.get_mut(at), soonest) {
                leased.next_due = Some(due_at.since(self.now));
            }
        }
        Ok(answers.into_iter().collect())
    }

    /// The sources that are held, and those that were, each with whether it was lifted.
    async fn holds(&self) -> Result<Vec<(String, bool)>, Fault> {
        let sql = "SELECT origin, lifted_at IS NOT NULL FROM holds";
        let rows = self.moment.rows(sql, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The sources that are held. What is aside for others is taken back first.
    async fn keep_holds(
        &mut self,
        holds: Vec<(String, bool)>,
        wanted: &BTreeMap<&str, Wanted>,
    ) -> Result<BTreeSet<String>, Fault> {
        if holds.iter().any(|(_, lifted)| *lifted) {
            self.take_back_aside(wanted).await?;
        }
        let in_force = holds.into_iter().filter(|(_, lifted)| !lifted);
        Ok(in_force.map(|(origin, _)| origin).collect())
    }

    /// Takes back as many of each plugin's deliveries as may be handed out, of sources that are not held any more.
    async fn take_back_aside(&mut self, wanted: &BTreeMap<&str, Wanted>) -> Result<(), Fault> {
        let (plugins, limits) = asked_of(wanted, 0);
        let sql = "UPDATE deliveries AS d SET held = NULL, let_go_at = back.lifted_at
                   FROM (SELECT a.event, a.ordinal, h.lifted_at
                         FROM unnest($1::text[], $2::bigint[]) AS w(plugin, max)
                         CROSS JOIN (SELECT * FROM holds WHERE lifted_at IS NOT NULL) AS h
                         CROSS JOIN LATERAL (
                             SELECT event, ordinal FROM deliveries WHERE plugin = w.plugin AND held = h.origin
                             ORDER BY seq, ordinal LIMIT w.max FOR UPDATE SKIP LOCKED) AS a) AS back
                   WHERE d.event = back.event AND d.ordinal = back.ordinal RETURNING d.plugin, d.origin";
        let rows = self.moment.rows(sql, &[&plugins, &limits]).await?;
        for row in &rows {
            let (plugin, origin): (&str, &str) = (row.get(0), row.get(1));
            self.known.fronts.forget(plugin);
            self.counted.of(plugin).due += 1;
            self.counted.aside(plugin, origin).held -= 1;
        }
        // A hold that was lifted is over once nothing is aside for it.
        let sql = "DELETE FROM holds AS h WHERE lifted_at IS NOT NULL
                   AND NOT EXISTS (SELECT 1 FROM deliveries WHERE held = h.origin)";
        self.moment.run(sql, &[]).await?;
        Ok(())
    }

    /// What is due of each plugin: as many as are wanted of it, and some more where some may have to be set aside.
    async fn candidates(
        &self,
        wanted: &BTreeMap<&str, Wanted>,
        in_force: &BTreeSet<String>,
    ) -> Result<Vec<Candidate>, Fault> {
        let (plugins, limits) = asked_of(wanted, if in_force.is_empty() { 0 } else { ASIDE_MAX });
        let began = Instant::now();
        let fronts: Vec<_> =
            plugins.iter().map(|plugin| self.known.fronts.of(plugin, began)).collect();
        let since: Vec<i64> =
            fronts.iter().map(|front| front.map_or(i64::MIN, Timestamp::as_millis)).collect();
        let sql = "SELECT c.event, c.ordinal, w.plugin, c.origin, c.due_at
                   FROM unnest($1::text[], $2::bigint[], $4::bigint[]) AS w(plugin, max, since)
                   CROSS JOIN LATERAL (
                       SELECT event, ordinal, origin, due_at, seq FROM deliveries
                       WHERE plugin = w.plugin AND settled_at IS NULL AND standing IS DISTINCT FROM 1
                           AND held IS NULL AND boot IS NULL AND due_at >= w.since AND due_at <= $3
                       ORDER BY due_at, seq, ordinal LIMIT w.max FOR UPDATE SKIP LOCKED) AS c
                   ORDER BY w.plugin, c.due_at, c.seq, c.ordinal";
        let now = self.now.as_millis();
        let rows = self.moment.rows(sql, &[&plugins, &limits, &now, &since]).await?;
        let took = (began.elapsed(), Instant::now());
        let read = |row: &Row| {
            let name = (id_of(row, 0)?, row.get(1));
            let due_at = Timestamp::from_millis(row.get(4));
            Ok(Candidate { name, plugin: row.get(2), origin: row.get(3), due_at })
        };
        let candidates = rows.iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
        for (plugin, _) in plugins.iter().zip(fronts).filter(|(_, front)| front.is_none()) {
            let first = candidates.iter().find(|candidate| candidate.plugin == **plugin);
            let first_due = first.map_or(self.now, |candidate| candidate.due_at);
            self.known.fronts.learn(plugin, first_due, took);
        }
        Ok(candidates)
    }

    /// Shares them out among those who asked, and sets aside those that a hold keeps.
    async fn share(
        &mut self,
        wanted: &BTreeMap<&str, Wanted>,
        candidates: Vec<Candidate>,
        in_force: &BTreeSet<String>,
        taken: &mut Vec<Name>,
        owners: &mut HashMap<Name, usize>,
    ) -> Result<(), Fault> {
        let mut aside: Vec<Candidate> = Vec::new();
        let mut of_plugin: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
        for candidate in candidates {
            of_plugin.entry(candidate.plugin.clone()).or_default().push(candidate);
        }
        for (plugin, candidates) in of_plugin {
            let mut candidates = candidates.into_iter();
            let mut set_aside = 0;
            'asked: for (at, max) in wanted.get(plugin.as_str()).map_or(&[][..], |it| &it.by) {
                let mut handed = 0;
                while handed < *max {
                    if set_aside == ASIDE_MAX {
                        // There is more, which this one did not reach: whoever asks is to ask again.
                        self.work_due = true;
                        break 'asked;
                    }
                    let Some(candidate) = candidates.next() else { break };
                    if in_force.contains(&candidate.origin) {
                        set_aside += 1;
                        aside.push(candidate);
                        continue;
                    }
                    handed += 1;
                    owners.insert(candidate.name, *at);
                    taken.push(candidate.name);
                }
            }
        }
        self.set_aside(&aside).await
    }

    async fn set_aside(&mut self, aside: &[Candidate]) -> Result<(), Fault> {
        if aside.is_empty() {
            return Ok(());
        }
        let events: Vec<&[u8]> = aside.iter().map(|it| &it.name.0.as_bytes()[..]).collect();
        let ordinals: Vec<i16> = aside.iter().map(|it| it.name.1).collect();
        let sql = "UPDATE deliveries AS d SET held = d.origin
                   FROM unnest($1::bytea[], $2::smallint[]) AS k(event, ordinal)
                   WHERE d.event = k.event AND d.ordinal = k.ordinal";
        self.moment.run(sql, &[&events, &ordinals]).await?;
        for Candidate { plugin, origin, .. } in aside {
            self.counted.of(plugin).due -= 1;
            self.counted.aside(plugin, origin).held += 1;
        }
        Ok(())
    }

    /// Writes leases down, in the order they are handed out, and reads what they are of. Touches no index.
    async fn mark(&mut self, taken: &[Name]) -> Result<Vec<Lease>, Fault> {
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        let events: Vec<&[u8]> = taken.iter().map(|(event, _)| &event.as_bytes()[..]).collect();
        let ordinals: Vec<i16> = taken.iter().map(|(_, ordinal)| *ordinal).collect();
        let sql = "UPDATE deliveries AS d SET boot = $3, turn = turn + 1, batch = $4, leased_at = $5
                   FROM unnest($1::bytea[], $2::smallint[]) AS k(event, ordinal), events AS e
                   WHERE d.event = k.event AND d.ordinal = k.ordinal AND e.id = k.event
                   RETURNING d.event, d.ordinal, d.plugin, d.due_at, d.turn, d.attempts, d.lost_leases, d.excused,
                       d.order_key, d.replayed_at, d.let_go_at, e.origin, e.type, e.received_at, e.committed_at, e.hops,
                       e.root, e.envelope, e.body, d.standing, pg_current_xact_id()::text::bigint";
        let now = self.now.as_millis();
        let rows =
            self.moment.rows(sql, &[&events, &ordinals, &self.boot, &self.number, &now]).await?;
        self.leased_in = rows.first().map(|row| row.get(20)).or(self.leased_in);
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            found.insert((id_of(row, 0)?, row.get::<_, i16>(1)), row);
        }
        let mut leases = Vec::with_capacity(taken.len());
        for name in taken {
            let Some(row) = found.get(name) else { continue };
            let plugin: &str = row.get(2);
            self.counted.totals.due -= 1;
            self.counted.totals.leased += 1;
            let depth = self.counted.of(plugin);
            (depth.due, depth.leased) = (depth.due - 1, depth.leased + 1);
            let key = self.key_of(*name, row)?;
            match self.lease_of(&key, row) {
                Ok(lease) => leases.push(lease),
                Err(_) => self.bury_unreadable(key, row).await?,
            }
        }
        Ok(leases)
    }

    fn key_of(&self, name: Name, row: &Row) -> Result<LeaseKey, Fault> {
        let root = row.get::<_, Option<&[u8]>>(16);
        let root = root.map_or(Ok(name.0), |_| id_of(row, 16))?;
        let attempts: i32 = row.get(5);
        Ok(LeaseKey {
            delivery: i64::from(name.1),
            ids: [name.0, root],
            hops: u8::try_from(row.get::<_, i16>(15)).unwrap_or(u8::MAX),
            boot: self.boot,
            turn: row.get(4),
            attempt: u32::try_from(attempts).unwrap_or(0) + 1,
            leased_at: self.now,
            ordered: row.get::<_, Option<i16>>(19).is_some(),
        })
    }

    fn lease_of(&self, key: &LeaseKey, row: &Row) -> Result<Lease, Fault> {
        let time = |at| Timestamp::from_millis(row.get(at));
        let maybe = |at| row.get::<_, Option<i64>>(at).map(Timestamp::from_millis);
        let count = |at| u32::try_from(row.get::<_, i32>(at)).unwrap_or(0);
        let waits_since = maybe(10).map_or(time(3), |let_go: Timestamp| let_go.max(time(3)));
        Ok(Lease {
            attempt: key.attempt,
            key: key.clone(),
            plugin: parsed(row, 2)?,
            event: Arc::new(event_of(row, key.ids[0])?),
            lost_leases: count(6),
            excused: count(7),
            order_key: text_of(row, 8)?.map(|key| OrderKey::new(&key)),
            replayed_at: maybe(9),
            committed_at: time(14),
            waited: self.now.since(waits_since),
        })
    }

    /// Its event can't be read any more: it is a dead letter.
    async fn bury_unreadable(&mut self, key: LeaseKey, row: &Row) -> Result<(), Fault> {
        let attempt = Cow::Owned(bounds::unreadable());
        let fate = Fate::Dead { blocks: true };
        let plugin: String = row.get(2);
        let line = row.get::<_, Option<i16>>(19).and(row.get::<_, Option<Vec<u8>>>(8));
        let line = line.map(|key| (plugin.clone(), key));
        let lease = (key.boot, key.turn);
        self.conclude(&key, fate, Held { lease, plugin, line }, attempt, None);
        self.close().await?;
        self.closings.clear();
        self.write_attempts().await?;
        self.count_attempts().await
    }

    /// When the next delivery of each plugin is due that is not due yet.
    async fn next_due(
        &self,
        wanted: &BTreeMap<&str, Wanted>,
    ) -> Result<HashMap<String, Timestamp>, Fault> {
        let (plugins, _) = asked_of(wanted, 0);
        let sql = "SELECT w.plugin, n.due_at FROM unnest($1::text[]) AS w(plugin)
                   CROSS JOIN LATERAL (
                       SELECT due_at FROM deliveries
                       WHERE plugin = w.plugin AND settled_at IS NULL AND standing IS DISTINCT FROM 1
                           AND held IS NULL AND boot IS NULL AND due_at > $2
                       ORDER BY due_at LIMIT 1) AS n";
        let rows = self.moment.rows(sql, &[&plugins, &self.now.as_millis()]).await?;
        let read = |row: &Row| (row.get(0), Timestamp::from_millis(row.get(1)));
        Ok(rows.iter().map(read).collect())
    }
}

/// The plugins, and how many are wanted of each by all together.
fn asked_of<'a>(wanted: &BTreeMap<&'a str, Wanted>, beyond: usize) -> (Vec<&'a str>, Vec<i64>) {
    let plugins = wanted.keys().copied().collect();
    let max = |wanted: &Wanted| {
        let all = wanted.by.iter().fold(0_usize, |sum, (_, max)| sum.saturating_add(*max));
        i64::try_from(all.saturating_add(beyond)).unwrap_or(i64::MAX)
    };
    (plugins, wanted.values().map(max).collect())
}

/// The event of a row with its columns from 11 on.
fn event_of(row: &Row, id: EventId) -> Result<Event, Fault> {
    let envelope = codec::read_envelope(row.get(17));
    let envelope = envelope.ok_or_else(|| Fault::unreadable("an envelope"))?;
    Ok(Event {
        id,
        origin: parsed(row, 11)?,
        event_type: parsed(row, 12)?,
        received_at: Timestamp::from_millis(row.get(13)),
        method: envelope.method,
        path: envelope.path,
        query: envelope.query,
        headers: envelope.headers,
        body: row.get(18),
        attributes: envelope.attributes,
        hops: Hops(u8::try_from(row.get::<_, i16>(15)).unwrap_or(u8::MAX)),
    })
}

//! Appending: which of the events are new, by their claims.
//!
//! Who claims holds the claim's row until the commit, so that of two gateways that get the same webhook at once one waits
//! for the other, and then finds that the claim is held. An event that holds its claims already was appended by a commit
//! whose outcome nobody knew, and is acknowledged as what it is: the first.

use std::collections::{BTreeMap, HashMap};

use hookweir_event::{Digest, EventId, Hops, Timestamp};

use super::{
    Fault,
    batch::Batch,
    rows::{NewRow, id_of},
};
use crate::{
    Receipt, StoreError,
    bounds::{bytes_fit, deliveries_fit},
    verbs::Append,
};

/// The part of a dedupe key that is kept: as much as a UUID.
pub(super) type Claim = [u8; 16];

pub(super) fn claim_of(digest: &Digest) -> Claim {
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

impl Batch<'_> {
    /// Keeps those that are new, and answers each.
    pub(super) async fn append_all(
        &mut self,
        appends: &[(usize, &Append)],
    ) -> Result<Vec<(usize, Result<Receipt, StoreError>)>, Fault> {
        if appends.is_empty() {
            return Ok(Vec::new());
        }
        let mut held = self.holders(appends).await?;
        let mut taken: BTreeMap<Claim, (EventId, Timestamp)> = BTreeMap::new();
        let mut again: HashMap<EventId, i64> = HashMap::new();
        let mut answers = Vec::with_capacity(appends.len());
        for (at, new) in appends {
            let bytes = new.envelope.len() + new.body.len();
            if let Err(reason) = deliveries_fit(new.routes.len()).and_then(|()| bytes_fit(bytes)) {
                answers.push((*at, Err(StoreError::Failed(reason))));
                continue;
            }
            let claims: Vec<Claim> = new.claims.iter().map(claim_of).collect();
            match claims.iter().find_map(|claim| held.get(claim)) {
                // By a commit whose outcome nobody knew.
                Some(first) if *first == new.id => {}
                Some(first) => {
                    *again.entry(*first).or_default() += 1;
                    answers.push((*at, Ok(Receipt::new(*first, true))));
                    continue;
                }
                None => {
                    let until = self.now + new.dedupe_window;
                    for claim in &claims {
                        taken.insert(*claim, (new.id, until));
                        // One that is over at once holds nobody up.
                        if until > self.now {
                            held.insert(*claim, new.id);
                        }
                    }
                    self.keep(new, &claims);
                }
            }
            answers.push((*at, Ok(Receipt::new(new.id, false))));
        }
        self.take(&taken).await?;
        self.count_again(&again).await?;
        Ok(answers)
    }

    /// Keeps an event whose claims are taken, and the deliveries it is owed.
    pub(super) fn keep(&mut self, new: &Append, claims: &[Claim]) {
        self.rows.add(NewRow {
            id: new.id,
            origin: new.origin.to_string(),
            event_type: new.event_type.as_str().to_owned(),
            received_at: new.received_at,
            hops: new.hops,
            from: None,
            claims: claims.concat(),
            envelope: new.envelope.clone(),
            body: new.body.clone(),
            routes: new.routes.clone(),
            buried: false,
        });
    }

    /// Keeps an output of the event that the lease is of.
    pub(super) fn keep_output(&mut self, output: &crate::Output, parent: &crate::LeaseKey) {
        let hops = Hops(parent.hops).next();
        let event = &output.event;
        let mut envelope = Vec::with_capacity(256);
        crate::codec::write_envelope(event, &mut envelope);
        self.rows.add(NewRow {
            id: event.id,
            origin: event.origin.to_string(),
            event_type: event.event_type.as_str().to_owned(),
            received_at: event.received_at,
            hops,
            from: Some(parent.ids),
            claims: Vec::new(),
            envelope,
            body: event.body.clone(),
            routes: output.routes.clone(),
            buried: hops.beyond_limit(),
        });
    }

    /// Which events hold any of the claims.
    async fn holders(
        &self,
        appends: &[(usize, &Append)],
    ) -> Result<HashMap<Claim, EventId>, Fault> {
        let claims: Vec<&[u8]> = appends
            .iter()
            .flat_map(|(_, new)| &new.claims)
            .map(|claim| &claim.as_bytes()[..size_of::<Claim>()])
            .collect();
        if claims.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = "SELECT claim, event FROM claims WHERE claim = ANY($1) AND expires_at > $2";
        let rows = self.moment.rows(sql, &[&claims, &self.now.as_millis()]).await?;
        let read = |row: &tokio_postgres::Row| {
            let claim = row.get::<_, &[u8]>(0).try_into();
            Ok((claim.map_err(|_| Fault::unreadable("a claim"))?, id_of(row, 1)?))
        };
        rows.iter().map(read).collect()
    }

    /// Takes the claims, in one order, so that two who want the same ones don't wait for each other.
    async fn take(&self, taken: &BTreeMap<Claim, (EventId, Timestamp)>) -> Result<(), Fault> {
        if taken.is_empty() {
            return Ok(());
        }
        let claims: Vec<&[u8]> = taken.keys().map(|claim| &claim[..]).collect();
        let events: Vec<&[u8]> = taken.values().map(|(event, _)| &event.as_bytes()[..]).collect();
        let until: Vec<i64> = taken.values().map(|(_, until)| until.as_millis()).collect();
        let sql = "INSERT INTO claims AS c
                   SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[])
                   ON CONFLICT (claim) DO UPDATE
                   SET event = excluded.event, expires_at = excluded.expires_at
                   WHERE c.expires_at <= $4";
        let now = self.now.as_millis();
        let took = self.moment.run(sql, &[&claims, &events, &until, &now]).await?;
        if took < taken.len() as u64 {
            // Since we looked. Who looks again sees it.
            return Err(Fault::InTheWay("a claim was taken meanwhile".to_owned()));
        }
        Ok(())
    }

    /// Counts that events were sent again, those of them that are still there.
    async fn count_again(&mut self, again: &HashMap<EventId, i64>) -> Result<(), Fault> {
        if again.is_empty() {
            return Ok(());
        }
        let mut sorted: Vec<_> = again.iter().collect();
        sorted.sort_unstable();
        let events: Vec<&[u8]> = sorted.iter().map(|(event, _)| &event.as_bytes()[..]).collect();
        let counts: Vec<i64> = sorted.iter().map(|(_, count)| **count).collect();
        // Those of this transaction are not there yet, and are counted all the same.
        let new: Vec<bool> = sorted.iter().map(|(event, _)| self.rows.has(event)).collect();
        let sql = "INSERT INTO duplicates AS d
                   SELECT a.event, a.count, $4 FROM unnest($1::bytea[], $2::bigint[], $3::boolean[])
                       AS a(event, count, new)
                   WHERE a.new OR EXISTS (SELECT 1 FROM events WHERE id = a.event)
                   ON CONFLICT (event) DO UPDATE
                   SET count = d.count + excluded.count, last_at = excluded.last_at
                   RETURNING event";
        let now = self.now.as_millis();
        for row in self.moment.rows(sql, &[&events, &counts, &new, &now]).await? {
            let event = id_of(&row, 0)?;
            self.counted.totals.duplicates += again.get(&event).copied().unwrap_or(0);
        }
        Ok(())
    }
}

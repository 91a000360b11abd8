//! Appending: which of the events are new, by their claims.
//!
//! Who claims holds the claim's row until the commit, so that of two gateways that get the same webhook at once one waits
//! for the other, and then finds that the claim is held. An event that holds its claims already was appended by a commit
//! whose outcome nobody knew, and is acknowledged as what it is: the first.

use std::{borrow::Cow, collections::BTreeMap};

use hookweir_event::{Digest, EventId, Hops, Origin, Timestamp};

use super::{
    Fault,
    batch::Batch,
    found::{Claim, Holders},
    rows::{NewRow, id_of},
    tables,
};
use crate::{
    LeaseKey, Output, Receipt, StoreError,
    bounds::{bytes_fit, deliveries_fit},
    codec,
    verbs::Append,
};

pub(super) fn claim_of(digest: &Digest) -> Claim {
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// What a transaction writes of claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Those it takes, in one order, so that two who want the same ones don't wait for each other.
    taken: BTreeMap<Claim, (EventId, Timestamp)>,
    /// How often events were sent again.
    again: BTreeMap<EventId, i64>,
    /// Whether any of them may have a row that is over.
    over: bool,
}

impl Claims {
    /// Whether each event is the first with its claims, and none of those has a row that is over.
    pub(super) fn are_new(&self) -> bool {
        self.again.is_empty() && !self.over
    }
}

impl<'m> Batch<'m> {
    /// Keeps those that are new, and answers each.
    pub(super) fn append_all(
        &mut self,
        appends: &[(usize, &'m Append)],
        mut holders: Holders,
    ) -> Vec<(usize, Result<Receipt, StoreError>)> {
        let mut answers = Vec::with_capacity(appends.len());
        self.claims.over = holders.any_over(self.now);
        for (at, new) in appends {
            let bytes = new.envelope.len() + new.body.len();
            if let Err(reason) = deliveries_fit(new.routes.len()).and_then(|()| bytes_fit(bytes)) {
                answers.push((*at, Err(StoreError::Failed(reason))));
                continue;
            }
            let claims: Vec<Claim> = new.claims.iter().map(claim_of).collect();
            match claims.iter().find_map(|claim| holders.of(claim, self.now)) {
                // By a commit whose outcome nobody knew.
                Some(first) if first == new.id => {}
                Some(first) => {
                    *self.claims.again.entry(first).or_default() += 1;
                    answers.push((*at, Ok(Receipt::new(first, true))));
                    continue;
                }
                None => {
                    let until = self.now + new.dedupe_window;
                    for claim in &claims {
                        self.claims.taken.insert(*claim, (new.id, until));
                        // One that is over at once holds nobody up.
                        if until > self.now {
                            holders.insert(*claim, new.id, until);
                        }
                    }
                    self.keep(new, &claims);
                }
            }
            answers.push((*at, Ok(Receipt::new(new.id, false))));
        }
        answers
    }

    /// Keeps an event whose claims are taken, and the deliveries it is owed.
    pub(super) fn keep(&mut self, new: &'m Append, claims: &[Claim]) {
        self.rows.add(NewRow {
            id: new.id,
            origin: text_of(&new.origin),
            event_type: new.event_type.as_str(),
            received_at: new.received_at,
            hops: new.hops,
            from: None,
            claims: claims.concat(),
            envelope: Cow::Borrowed(&new.envelope),
            body: &new.body,
            routes: &new.routes,
            buried: false,
        });
    }

    /// Keeps an output of the event that the lease is of.
    pub(super) fn keep_output(&mut self, output: &'m Output, parent: &LeaseKey) {
        let hops = Hops(parent.hops).next();
        let event = &output.event;
        let mut envelope = Vec::with_capacity(256);
        codec::write_envelope(event, &mut envelope);
        self.rows.add(NewRow {
            id: event.id,
            origin: text_of(&event.origin),
            event_type: event.event_type.as_str(),
            received_at: event.received_at,
            hops,
            from: Some(parent.ids),
            claims: Vec::new(),
            envelope: Cow::Owned(envelope),
            body: &event.body,
            routes: &output.routes,
            buried: hops.beyond_limit(),
        });
    }

    /// Takes the claims.
    pub(super) async fn take(&self) -> Result<(), Fault> {
        let Claims { taken, over, .. } = &self.claims;
        if taken.is_empty() {
            return Ok(());
        }
        if !over && !self.careful {
            // None has a row, as far as we know; to look whether one has takes half as long again.
            let rows = taken.iter().map(|(claim, (event, until))| tables::Claim {
                claim,
                event: event.as_bytes(),
                expires_at: until.as_millis(),
            });
            return tables::Claim::insert(self.moment, &rows.collect::<Vec<_>>()).await;
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

    /// Counts that events were sent again, those of them that are still there; answers how often they were.
    pub(super) async fn count_again(&self) -> Result<i64, Fault> {
        let again = &self.claims.again;
        if again.is_empty() {
            return Ok(0);
        }
        let events: Vec<&[u8]> = again.keys().map(|event| &event.as_bytes()[..]).collect();
        let counts: Vec<i64> = again.values().copied().collect();
        // Those of this transaction may not be there yet, and are counted all the same.
        let new: Vec<bool> = again.keys().map(|event| self.rows.has(event)).collect();
        let sql = "INSERT INTO duplicates AS d
                   SELECT a.event, a.count, $4 FROM unnest($1::bytea[], $2::bigint[], $3::boolean[])
                       AS a(event, count, new)
                   WHERE a.new OR EXISTS (SELECT 1 FROM events WHERE id = a.event)
                   ON CONFLICT (event) DO UPDATE
                   SET count = d.count + excluded.count, last_at = excluded.last_at
                   RETURNING event";
        let now = self.now.as_millis();
        let mut counted = 0;
        for row in self.moment.rows(sql, &[&events, &counts, &new, &now]).await? {
            counted += again.get(&id_of(&row, 0)?).copied().unwrap_or(0);
        }
        Ok(counted)
    }
}

/// An origin as it is written.
fn text_of(origin: &Origin) -> Cow<'_, str> {
    match origin {
        Origin::Source(name) => Cow::Borrowed(name.as_str()),
        origin => Cow::Owned(origin.to_string()),
    }
}

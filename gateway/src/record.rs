//! What became of a source's requests since the start, or of those to a plugin's api: how many were taken and
//! by which secret, or answered, how many were refused and why, and the last refusals in full. Bounded, in
//! memory, for operators.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use hookweir_event::Timestamp;

/// The refusals of a source that are kept in full.
const REFUSALS_MAX: usize = 64;
/// The secrets of a source that are counted apart; the last stands for all after it.
const SECRETS_MAX: usize = 8;
/// The longest detail that is kept, in bytes. Some quote what a stranger sent.
const DETAIL_MAX: usize = 256;

/// What became of the requests to a source, or to a plugin's api.
#[derive(Debug, Default)]
pub struct Record {
    matched: [Matched; SECRETS_MAX],
    answered: AtomicU64,
    accepted: AtomicU64,
    refused: Mutex<Refusals>,
}

/// What one secret proved.
#[derive(Debug, Default)]
struct Matched {
    count: AtomicU64,
    last: AtomicU64,
}

#[derive(Debug, Default)]
struct Refusals {
    counts: BTreeMap<&'static str, u64>,
    last: VecDeque<Refused>,
}

/// One refusal, as the audit log has it. Holds no secret and no computed signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// When.
    pub at: Timestamp,
    /// What the sender was given as `X-Request-Id`.
    pub request_id: String,
    /// Who sent it.
    pub client: IpAddr,
    /// The word in the reply.
    pub code: &'static str,
    /// Why, as one word; the code again where there is no more to say.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub detail: String,
}

/// How often a secret proved a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proofs {
    /// The secret's place in the config, counted from 0.
    pub secret: usize,
    /// How many requests.
    pub count: u64,
    /// The last of them.
    pub last: Timestamp,
}

impl Record {
    /// A request was proven by the secret with this index.
    pub fn matched(&self, secret: usize, now: Timestamp) {
        let matched = &self.matched[secret.min(SECRETS_MAX - 1)];
        matched.count.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(now.as_millis()).unwrap_or_default();
        matched.last.store(now, Ordering::Relaxed);
    }

    /// A request was acknowledged, or a handshake answered.
    pub fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were acknowledged, and handshakes answered.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// A plugin answered a request.
    pub fn count_answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests the plugin answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// A request was refused.
    pub fn refused(&self, mut refused: Refused) {
        let end = refused.detail.floor_char_boundary(DETAIL_MAX);
        refused.detail.truncate(end);
        let mut refusals = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.counts.entry(refused.reason).or_default() += 1;
        if refusals.last.len() == REFUSALS_MAX {
            refusals.last.pop_front();
        }
        refusals.last.push_back(refused);
    }

    /// Which secrets proved requests: who rotates one sees when the old one is no longer used.
    pub fn proofs(&self) -> Vec<Proofs> {
        let proofs = self.matched.iter().enumerate().map(|(secret, matched)| {
            let last = i64::try_from(matched.last.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            let count = matched.count.load(Ordering::Relaxed);
            Proofs { secret, count, last: Timestamp::from_millis(last) }
        });
        proofs.filter(|proofs| proofs.count > 0).collect()
    }

    /// How many requests were refused, by reason.
    pub fn refused_by_reason(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).counts.clone()
    }

    /// The last refusals, the newest first.
    pub fn refusals(&self) -> Vec<Refused> {
        let refusals = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.last.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(number: usize) -> Refused {
        Refused {
            at: Timestamp::default(),
            request_id: number.to_string(),
            client: IpAddr::from([127, 0, 0, 1]),
            code: "unauthenticated",
            reason: if number.is_multiple_of(2) { "bad-signature" } else { "foreign-key" },
            detail: "é".repeat(DETAIL_MAX),
        }
    }

    #[test]
    fn the_last_refusals_are_kept_and_all_are_counted() {
        let record = Record::default();
        (0..REFUSALS_MAX + 9).for_each(|number| record.refused(refused(number)));
        let kept = record.refusals();
        assert_eq!(kept.len(), REFUSALS_MAX);
        assert_eq!(kept[0].request_id, (REFUSALS_MAX + 8).to_string());
        assert!(kept.iter().all(|refused| refused.detail.len() <= DETAIL_MAX));
        let counts = record.refused_by_reason();
        assert_eq!((counts["bad-signature"], counts["foreign-key"]), (37, 36));
    }

    #[test]
    fn secrets_are_counted_apart() {
        let record = Record::default();
        for (secret, now) in [(1, 5), (1, 7), (SECRETS_MAX + 1, 9)] {
            record.matched(secret, Timestamp::from_millis(now));
        }
        let proofs =
            |secret, count, last| Proofs { secret, count, last: Timestamp::from_millis(last) };
        assert_eq!(record.proofs(), [proofs(1, 2, 7), proofs(SECRETS_MAX - 1, 1, 9)]);
    }
}

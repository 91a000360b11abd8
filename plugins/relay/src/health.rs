//! How deliveries to an endpoint go: when one was taken last, and since when they fail.
//!
//! Kept apart from the endpoint, and what was taken apart from what failed: a delivery that was taken writes
//! without reading, so that it is never run again, and sent again, for what another one noted meanwhile. For the
//! same reason the first failure of a row has a key with its time in it: a listing tells that to an attempt
//! that has sent, and no attempt is run again for what it listed.

use hookweir_sdk::prelude::*;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{failed, now};

/// Within this time of the last failure that was noted another one says nothing new. Of many at once one writes,
/// and the others need not run again.
const NEWS: SignedDuration = SignedDuration::from_secs(1);

/// Bytes of the two entries of one endpoint, with their keys.
pub(crate) const ENTRIES_MAX: usize = 2 << 10;

/// The two entries of one endpoint that are read.
pub(crate) struct Health {
    id: String,
    taken: Option<Taken>,
    failed: Option<Failed>,
}

/// The last delivery that was answered with 2xx.
#[derive(Serialize, Deserialize)]
struct Taken {
    at: Timestamp,
    status: u16,
}

/// The last failure that was noted, and the first of its row.
#[derive(Serialize, Deserialize)]
struct Failed {
    /// None: the gateway did not send what failed, and nothing else has failed.
    since: Option<Timestamp>,
    at: Timestamp,
    /// None: there was no answer.
    status: Option<u16>,
    error: String,
}

/// What became of the last delivery of which something was noted.
pub(crate) struct Last<'a> {
    pub(crate) at: Timestamp,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<&'a str>,
}

impl Health {
    pub(crate) fn load(id: &str) -> Result<Self, Failure> {
        let (taken, failed) = (state::json(&taken(id))?, state::json(&failed(id))?);
        Ok(Self { id: id.to_owned(), taken, failed })
    }

    /// Notes that a delivery was taken.
    pub(crate) fn note_taken(id: &str, status: u16) -> Result<(), Failure> {
        state::set_json(&taken(id), &Taken { at: now()?, status })
    }

    /// Notes that one failed, and answers since when all do.
    pub(crate) fn note_failed(&self, noted: &failed::Failed) -> Result<Option<Timestamp>, Failure> {
        let before = self.failing_since();
        if before.is_none() {
            self.end_row()?;
        }
        let is_older = self.taken.as_ref().is_some_and(|taken| taken.at >= noted.at);
        let is_news = self.failed.as_ref().is_none_or(|last| noted.at > last.at + NEWS);
        let since = before.or((!noted.denied).then_some(noted.at));
        if is_older || (since == before && !is_news) {
            return Ok(before);
        }
        if let Some(since) = since.filter(|_| before.is_none()) {
            state::set(&failing(&self.id, since), "")?;
        }
        let failures =
            Failed { since, at: noted.at, status: noted.status, error: noted.why.clone() };
        state::set_json(&failed(&self.id), &failures)?;
        Ok(since)
    }

    /// Since when all that was noted are failures; None if the last was taken.
    pub(crate) fn failing_since(&self) -> Option<Timestamp> {
        let since = self.failed.as_ref()?.since?;
        self.taken.as_ref().is_none_or(|taken| taken.at < since).then_some(since)
    }

    /// When the last row of failures that was noted began, if no fresh start was made since. A delivery may
    /// have been taken meanwhile.
    pub(crate) fn listed_since(id: &str) -> Result<Option<Timestamp>, Failure> {
        let prefix = format!("failing:{id}:");
        let keys = state::keys(&prefix, None, 1)?;
        let since = keys.first().and_then(|key| key[prefix.len()..].parse().ok());
        since.map(Timestamp::from_millisecond).transpose().or_retry()
    }

    pub(crate) fn last(&self) -> Option<Last<'_>> {
        let taken = self.taken.as_ref().map(|taken| Last {
            at: taken.at,
            status: Some(taken.status),
            error: None,
        });
        let failed = self.failed.as_ref().map(|failed| Last {
            at: failed.at,
            status: failed.status,
            error: Some(&failed.error),
        });
        taken.into_iter().chain(failed).max_by_key(|last| last.at)
    }

    /// A fresh start: what failed is not held against the endpoint any more.
    pub(crate) fn forgive(id: &str) -> Result<(), Failure> {
        Self::load(id)?.end_row()?;
        state::delete(&failed(id)).map(drop)
    }

    pub(crate) fn forget(id: &str) -> Result<(), Failure> {
        Self::forgive(id)?;
        state::delete(&taken(id)).map(drop)
    }

    fn end_row(&self) -> Result<(), Failure> {
        match self.failed.as_ref().and_then(|failed| failed.since) {
            Some(since) => state::delete(&failing(&self.id, since)).map(drop),
            None => Ok(()),
        }
    }
}

fn taken(id: &str) -> String {
    format!("taken:{id}")
}

fn failed(id: &str) -> String {
    format!("failed:{id}")
}

fn failing(id: &str, since: Timestamp) -> String {
    format!("failing:{id}:{}", since.as_millisecond())
}

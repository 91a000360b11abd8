//! How deliveries to an endpoint go: when one was taken last, and since when they fail.
//!
//! Kept apart from the endpoint, and what was taken apart from what failed: a delivery that was taken writes
//! without reading, so that it is never run again, and sent again, for what another one noted meanwhile.

use hookweir_sdk::prelude::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::now;

/// The two entries of one endpoint.
pub(crate) struct Health {
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
    since: Timestamp,
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
        Ok(Self { taken: state::json(&taken(id))?, failed: state::json(&failed(id))? })
    }

    /// Notes that a delivery was taken.
    pub(crate) fn note_taken(id: &str, status: u16) -> Result<(), Failure> {
        state::set_json(&taken(id), &Taken { at: now()?, status })
    }

    /// Notes that one failed. Lasts only if the attempt ends well.
    pub(crate) fn note_failed(
        &self,
        id: &str,
        status: Option<u16>,
        error: &str,
    ) -> Result<(), Failure> {
        let at = now()?;
        let since = self.failing_since().unwrap_or(at);
        state::set_json(&failed(id), &Failed { since, at, status, error: error.to_owned() })
    }

    /// Since when all that was noted are failures; None if the last was taken.
    pub(crate) fn failing_since(&self) -> Option<Timestamp> {
        let since = self.failed.as_ref()?.since;
        self.taken.as_ref().is_none_or(|taken| taken.at < since).then_some(since)
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
        state::delete(&failed(id)).map(drop)
    }

    pub(crate) fn forget(id: &str) -> Result<(), Failure> {
        state::delete(&taken(id))?;
        Self::forgive(id)
    }
}

fn taken(id: &str) -> String {
    format!("taken:{id}")
}

fn failed(id: &str) -> String {
    format!("failed:{id}")
}

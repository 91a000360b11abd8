//! Looks at how the store stands, for all who want to know, once a second at most: however often a page is
//! asked for, the store has no more work.

use std::{sync::Arc, time::Duration};

use hookweir_event::Clock;
use hookweir_store::{Reader, Survey};
use tokio::sync::Mutex;

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);

/// Looks at a store. Clones share what was seen.
#[derive(Debug, Clone)]
pub struct Surveyor {
    reader: Reader,
    clock: Clock,
    seen: Arc<Mutex<Last>>,
}

/// What the last look came to.
#[derive(Debug, Default)]
struct Last {
    seen: Option<Seen>,
    /// Whether it failed: it is said once.
    failed: bool,
}

/// An answer.
#[derive(Debug)]
struct Seen {
    /// When, in ticks of the clock.
    at: Duration,
    survey: Arc<Survey>,
}

impl Surveyor {
    /// With a connection of its own, so that nobody waits for it.
    pub fn new(reader: &Reader, clock: Clock) -> Self {
        Self { reader: reader.apart(), clock, seen: Arc::default() }
    }

    /// How the store stands, as it was seen within a second; none if it can't be read. Who asks while
    /// somebody looks waits for the same answer.
    pub async fn survey(&self) -> Option<Arc<Survey>> {
        let mut last = self.seen.lock().await;
        let now = self.clock.ticks();
        if let Some(Seen { at, survey }) = &last.seen
            && now.saturating_sub(*at) < FRESH
        {
            return Some(survey.clone());
        }
        match self.reader.survey().await {
            Ok(survey) => {
                let survey = Arc::new(survey);
                let seen = Some(Seen { at: now, survey: survey.clone() });
                *last = Last { seen, failed: false };
                Some(survey)
            }
            Err(error) => {
                if !std::mem::replace(&mut last.failed, true) {
                    tracing::warn!(%error, "failed to look how the store stands");
                }
                None
            }
        }
    }
}

//! Looks at how the store stands, for all who want to know, once a second at most: however often a page is
//! asked for, the store has no more work. That holds for a look that fails too: the failure is the answer for
//! as long.

use std::{sync::Arc, time::Duration};

use hookweir_event::Clock;
use hookweir_store::{Reader, Survey};
use tokio::sync::Mutex;

use super::figures::Count;

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);

/// Looks at a store. Clones share what was seen.
#[derive(Debug, Clone)]
pub struct Surveyor {
    reader: Reader,
    clock: Clock,
    last: Arc<Mutex<Option<Look>>>,
    failures: Arc<Count>,
}

/// A look at the store.
#[derive(Debug)]
struct Look {
    /// When, in ticks of the clock.
    at: Duration,
    /// What was seen; none if it failed.
    survey: Option<Arc<Survey>>,
}

impl Surveyor {
    /// With a connection of its own, so that nobody waits for it.
    pub fn new(reader: &Reader, clock: Clock) -> Self {
        let (last, failures) = Default::default();
        Self { reader: reader.apart(), clock, last, failures }
    }

    /// How the store stands, as it was seen within a second; none if it could not be read. Who asks while
    /// somebody looks waits for the same answer.
    pub async fn survey(&self) -> Option<Arc<Survey>> {
        let mut last = self.last.lock().await;
        let now = self.clock.ticks();
        if let Some(Look { at, survey }) = &*last
            && now.saturating_sub(*at) < FRESH
        {
            return survey.clone();
        }
        // It is said once that it fails, and once that it does not any more.
        let failed = last.as_ref().is_some_and(|look| look.survey.is_none());
        let survey = match self.reader.survey().await {
            Ok(survey) => {
                if failed {
                    tracing::info!("how the store stands can be seen again");
                }
                Some(Arc::new(survey))
            }
            Err(error) => {
                self.failures.one();
                if !failed {
                    tracing::warn!(%error, "failed to look how the store stands; its metrics are missing, and alerts of it are not judged");
                }
                None
            }
        };
        *last = Some(Look { at: now, survey: survey.clone() });
        survey
    }

    /// How many looks have failed.
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

    use hookweir_event::Timestamp;
    use hookweir_store::{Options, SqliteFile, Store};

    use super::*;

    #[tokio::test]
    async fn a_look_that_fails_is_the_answer_for_a_second_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookweir.db");
        let time = Arc::new(AtomicI64::new(0));
        let now = time.clone();
        let clock = Clock::new(move || Timestamp::from_millis(now.load(Relaxed)));
        let surveyor = Surveyor::new(&Reader::at(&path), clock.clone());
        for (millis, failures) in [(0, 1), (999, 1), (1000, 2), (1500, 2)] {
            time.store(millis, Relaxed);
            assert!(surveyor.survey().await.is_none(), "there is no store");
            assert_eq!(surveyor.failures(), failures, "at {millis}");
        }
        let store = Store::open(Options::new(SqliteFile::new(path), [1; 16], clock)).await.unwrap();
        assert!(surveyor.survey().await.is_none(), "it was not there a moment ago");
        time.store(2000, Relaxed);
        assert!(surveyor.survey().await.is_some());
        assert_eq!(surveyor.failures(), 2);
        store.close().await.unwrap();
    }
}

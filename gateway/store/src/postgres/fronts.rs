//! Where the queues' fronts are, for when the database can't clear away what stood there.
//!
//! What is settled stays in the index of what is due, in front of everything else, until it is vacuumed; and that waits
//! for the oldest transaction of anybody's on the server. Each lease would read all that was settled since that one
//! began. So whoever has found that to look from the beginning takes long looks from the first that it found on, for
//! some time, and then from the beginning again: what comes to be due later is behind that place, but for what is due as
//! it was before (a lost lease, a commit that took long), which is found then.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use hookweir_event::Timestamp;
use tokio::time::Instant;

/// To look from the beginning takes long if it takes longer than that, most of which is the way to the server.
const LONG: Duration = Duration::from_millis(5);
/// It is not done again for so many times as long, so that it takes little of the time in all,
const PAUSE: u32 = 20;
/// but for this at most.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// What is due has been so at most for that long when it can be seen: longer commits are found from the beginning.
const LATE: Duration = Duration::from_secs(2);

/// Where to look from, of plugins of which it takes long to look from the beginning.
#[derive(Debug, Default)]
pub(super) struct Fronts {
    places: Mutex<BTreeMap<String, Front>>,
}

#[derive(Debug)]
struct Front {
    due_at: Timestamp,
    /// Until when that holds.
    until: Instant,
}

impl Fronts {
    /// From when on what is due of a plugin is to be looked for; none: from the beginning.
    pub(super) fn of(&self, plugin: &str, now: Instant) -> Option<Timestamp> {
        let places = self.places.lock().ok()?;
        places.get(plugin).filter(|front| now < front.until).map(|front| front.due_at)
    }

    /// It was looked from the beginning until now, which took a while, and this was the first that was due.
    pub(super) fn learn(
        &self,
        plugin: &str,
        first_due: Timestamp,
        (took, now): (Duration, Instant),
    ) {
        let Ok(mut places) = self.places.lock() else { return };
        if took < LONG {
            places.remove(plugin);
            return;
        }
        let late = i64::try_from(LATE.as_millis()).unwrap_or(0);
        let due_at = Timestamp::from_millis(first_due.as_millis() - late);
        let until = now + (took * PAUSE).min(PAUSE_MAX);
        places.insert(plugin.to_owned(), Front { due_at, until });
    }

    /// Something is due of the plugin as it was before: it is looked from the beginning.
    pub(super) fn forget(&self, plugin: &str) {
        if let Ok(mut places) = self.places.lock() {
            places.remove(plugin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_for_a_while_and_only_where_it_takes_long_to_find() {
        let (fronts, at, start) = (Fronts::default(), Timestamp::from_secs, Instant::now());
        fronts.learn("quick", at(100), (LONG / 2, start));
        fronts.learn("slow", at(100), (LONG * 2, start));
        fronts.learn("stuck", at(100), (2 * PAUSE_MAX, start));
        let places = |after| {
            ["quick", "slow", "stuck", "new"].map(|plugin| fronts.of(plugin, start + after))
        };
        assert_eq!(places(Duration::ZERO), [None, Some(at(98)), Some(at(98)), None]);
        assert_eq!(places(LONG * 2 * PAUSE), [None, None, Some(at(98)), None]);
        assert_eq!(places(PAUSE_MAX), [None; 4]);
        fronts.forget("slow");
        assert_eq!(fronts.of("slow", start), None);
    }
}

//! Claims in memory.

use std::collections::{BTreeMap, btree_map::Entry};

use super::runs::{Held, Key, run_of};

/// Claims in memory, run by run. Trees, since a table of hashes could be made slow by who sends claims
/// whose hashes begin alike, and small ones, since the top of a large one is looked through for each claim.
#[derive(Debug)]
pub(super) struct Young {
    pub(super) runs: Vec<BTreeMap<Key, Held>>,
    pub(super) len: usize,
}

impl Young {
    pub(super) fn new(runs: usize) -> Self {
        Self { runs: vec![BTreeMap::new(); runs], len: 0 }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Held> {
        self.runs[run_of(key, self.runs.len())].get(key)
    }

    /// Answers who had it before.
    pub(super) fn insert(&mut self, key: Key, held: Held) -> Option<Held> {
        let run = run_of(&key, self.runs.len());
        let before = self.runs[run].insert(key, held);
        self.len += usize::from(before.is_none());
        before
    }

    /// Puts back who had it before it was inserted.
    pub(super) fn restore(&mut self, key: Key, before: Option<Held>) {
        let run = run_of(&key, self.runs.len());
        match (self.runs[run].entry(key), before) {
            (Entry::Occupied(mut entry), Some(before)) => _ = entry.insert(before),
            (Entry::Occupied(entry), None) => {
                entry.remove();
                self.len -= 1;
            }
            (Entry::Vacant(_), _) => unreachable!("invariant: what was taken is there"),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Held)> {
        self.runs.iter().flatten()
    }
}

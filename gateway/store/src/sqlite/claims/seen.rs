//! Which of many claims are kept: for those who look on, a part of the table at a time.
//!
//! A claim only ever moves from the fresh ones into a generation, and is there before it is gone from where
//! it was. So who looks at the fresh ones first, and then at the generations, misses none, even from one
//! moment after another.

use std::collections::BTreeSet;

use hookweir_event::Digest;
use rusqlite::Connection;

use super::{
    Pace,
    runs::{Key, PACKED, run_keys, run_of, short, unpack},
};
use crate::sqlite::deliver::unreadable;

/// Claims that have not been found yet, by what they are kept under, in that order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sought(BTreeSet<Key>);

impl Sought {
    /// All of these.
    pub(crate) fn new(claims: &[Digest]) -> Self {
        Self(claims.iter().map(short).collect())
    }

    /// Whether this one was not found.
    pub(crate) fn contains(&self, claim: &Digest) -> bool {
        self.0.contains(&short(claim))
    }

    /// Takes out those that have not aged. Answers the generations that the others may be in.
    pub(crate) fn among_fresh(
        mut self,
        connection: &Connection,
    ) -> rusqlite::Result<(Self, Vec<i64>)> {
        let mut statement = connection.prepare_cached("SELECT claims FROM fresh_claims")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let packed = row.get_ref(0)?.as_blob()?;
            for (key, _) in unpack(packed).ok_or_else(|| unreadable(0))? {
                self.0.remove(&key);
            }
        }
        let mut statement = connection.prepare_cached("SELECT key FROM generations")?;
        let generations = statement.query_map([], |row| row.get(0))?;
        Ok((self, generations.collect::<rusqlite::Result<_>>()?))
    }

    /// Takes out those that are in a generation. Keys that begin alike are in one row, which is read once.
    pub(crate) fn among(
        mut self,
        connection: &Connection,
        generation: i64,
    ) -> rusqlite::Result<Self> {
        let (first, _) = run_keys(generation);
        let sought: Vec<_> = self.0.iter().copied().collect();
        let run = |key: &Key| run_of(key, Pace::USUAL.runs);
        let sql = "SELECT claims FROM claim_runs WHERE key = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        for alike in sought.chunk_by(|one, next| run(one) == run(next)) {
            let mut rows = statement.query([first + run(&alike[0]) as i64])?;
            let Some(row) = rows.next()? else { continue };
            let (claims, rest) = row.get_ref(0)?.as_blob()?.as_chunks::<PACKED>();
            if !rest.is_empty() {
                return Err(unreadable(0));
            }
            for key in alike {
                if claims.binary_search_by(|claim| claim[..key.len()].cmp(key)).is_ok() {
                    self.0.remove(key);
                }
            }
        }
        Ok(self)
    }
}

//! Claims: which event holds a dedupe key, and until when.
//!
//! Keys are hashes: in a table ordered by them, a batch of n claims dirties n pages, which was half of
//! what a commit wrote. So they age in generations:
//!
//! 1. **fresh**: a map in memory, and beside it one row of `fresh_claims` for each commit, packed, so
//!    that an ack still has its claims on disk.
//! 2. **aging**: a full fresh map, which takes no more and is written to the end of `claim_runs`, a step at
//!    a time. A run is one row: those of a generation whose keys begin alike, sorted. So a claim costs 32
//!    bytes, each page is written once, and a generation of 65,536 claims is 256 insertions.
//! 3. **aged**: a generation that is all in `claim_runs`. When the last of its claims has expired it is
//!    deleted, a step at a time.
//!
//! A filter in memory, kept beside an aged generation on disk, says which generations may hold a key: of a
//! new key, nearly always none. After a restart, all rows of `fresh_claims` are fresh: writing a
//! claim twice does no harm.

mod runs;
mod seen;
mod young;

use hookweir_event::{Digest, Timestamp};
use rusqlite::{Connection, params};

use self::{
    runs::{Held, Key, find, pack, run_keys, short, unpack},
    young::Young,
};
use super::{
    deliver::unreadable,
    fault::Fault,
    filter::{Filters, Slot},
};

pub(super) use self::runs::into_runs;
pub(in crate::sqlite) use self::runs::{each, holder_on_disk};
pub(crate) use self::seen::Sought;

/// When claims move, and how many at once. A generation must be gone before the next is full, at one
/// row a claim if need be: `every * (runs / moved + generation / erased) < generation`.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// So many make a generation: fresh claims begin to age.
    generation: usize,
    /// So many runs it has, 256 at most.
    runs: usize,
    /// After so many new claims there is a step.
    every: usize,
    /// A step moves so many runs.
    moved: usize,
    /// Or erases so many rows of a generation that was moved.
    erased: i64,
    /// And deletes so many runs of a generation that has expired: those go faster than new ones come.
    purged: u16,
}

impl Pace {
    /// Two generations are 7 MiB in memory at most, and 4 MiB to read at the next start. The filters
    /// have 2 MiB for each million claims. A run is 8 KiB.
    const USUAL: Self =
        Self { generation: 65_536, runs: 256, every: 256, moved: 2, erased: 1024, purged: 2 };
}

/// The writer's view of the claims. What a transaction changes is taken back by
/// [`rolled_back`](Self::rolled_back), or kept by [`committed`](Self::committed).
#[derive(Debug)]
pub(super) struct Claims {
    pace: Pace,
    fresh: Young,
    /// What the fresh ones are in.
    fresh_filter: Slot,
    aging: Option<Aging>,
    /// In the order they were made.
    aged: Vec<Generation>,
    filters: Filters,
    /// The last row of `fresh_claims` that was written, and the last that was erased.
    written: i64,
    erased: i64,
    /// New claims since the last step.
    arrived: usize,
    pending: Pending,
}

/// One that is in `claim_runs`, or will be.
#[derive(Debug, Clone, Copy)]
struct Generation {
    number: i64,
    /// When the last of its claims does.
    expires_at: Timestamp,
    filter: Slot,
}

/// A generation on its way into `claim_runs`.
#[derive(Debug)]
struct Aging {
    generation: Generation,
    claims: Young,
    at: Stage,
    /// The last row of `fresh_claims` that belongs to it.
    last_row: i64,
}

/// How far the aging generation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// So many of its runs are there.
    Moved(usize),
    /// All are there. Its rows of `fresh_claims` go next.
    Aged,
}

/// What the transaction in the making has changed.
#[derive(Debug, Default)]
struct Pending {
    /// New claims, and who had them before.
    taken: Vec<(Key, Held, Option<Held>)>,
    step: Option<Step>,
}

#[derive(Debug)]
struct Step {
    /// Where the aging generation is now, if there is one.
    at: Option<Stage>,
    erased: i64,
    /// A generation of which nothing is left.
    purged: Option<i64>,
}

impl Claims {
    /// As the database has them.
    pub(super) fn read(connection: &Connection) -> Result<Self, Fault> {
        Self::read_at(connection, Pace::USUAL)
    }

    fn read_at(connection: &Connection, pace: Pace) -> Result<Self, Fault> {
        let mut filters = Filters::each_for(pace.generation);
        let mut claims = Self {
            pace,
            fresh: Young::new(pace.runs),
            fresh_filter: filters.add(),
            aging: None,
            aged: Vec::new(),
            filters,
            written: 0,
            erased: 0,
            arrived: 0,
            pending: Pending::default(),
        };
        let mut statement =
            connection.prepare("SELECT key, expires_at, filter FROM generations ORDER BY key")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let saved = row.get_ref(2)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
            claims.aged.push(Generation {
                number: row.get(0)?,
                expires_at: Timestamp::from_millis(row.get(1)?),
                filter: claims.filters.restore(saved),
            });
        }
        // One that was on its way is fresh again.
        let last = claims.aged.last().map_or(-1, |generation| generation.number);
        connection.execute("DELETE FROM claim_runs WHERE key > ?1", [run_keys(last).1])?;
        let mut statement =
            connection.prepare("SELECT key, claims FROM fresh_claims ORDER BY key")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            claims.written = row.get(0)?;
            if claims.fresh.len == 0 {
                claims.erased = claims.written - 1;
            }
            let packed = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            for (key, held) in unpack(packed).ok_or_else(|| unreadable(1))? {
                claims.filters.insert(claims.fresh_filter, &key);
                claims.fresh.insert(key, held);
            }
        }
        Ok(claims)
    }

    /// The event that holds a claim now.
    pub(super) fn holder(
        &self,
        connection: &Connection,
        claim: &Digest,
        now: Timestamp,
    ) -> Result<Option<i64>, Fault> {
        let key = short(claim);
        for slot in self.filters.that_may_hold(&key) {
            let held = match self.aged.iter().find(|aged| aged.filter == slot) {
                Some(aged) => find(connection, aged.number, &key, self.pace.runs)?,
                None => self.young(&key),
            };
            if let Some(held) = held.filter(|held| held.expires_at > now) {
                return Ok(Some(held.event));
            }
        }
        Ok(None)
    }

    /// Who has a claim that has not aged.
    fn young(&self, key: &Key) -> Option<Held> {
        self.fresh.get(key).or_else(|| self.aging.as_ref()?.claims.get(key)).copied()
    }

    /// Takes a claim that nobody holds.
    pub(super) fn take(&mut self, claim: &Digest, event: i64, expires_at: Timestamp) {
        let key = short(claim);
        let held = Held { expires_at, event };
        // Should the transaction fail, it is in the filter for nothing, which is no harm.
        self.filters.insert(self.fresh_filter, &key);
        let before = self.fresh.insert(key, held);
        self.pending.taken.push((key, held, before));
    }

    /// The first eight bytes of the young claims of events from `first` on, with their events.
    pub(super) fn since(&self, first: i64) -> Vec<(u64, i64)> {
        let aging = self.aging.iter().flat_map(|aging| aging.claims.iter());
        let young = self.fresh.iter().chain(aging);
        let since = young.filter(|(_, held)| held.event >= first);
        let eight =
            |key: &Key| u64::from_be_bytes(*key.first_chunk().expect("invariant: it has 16"));
        since.map(|(key, held)| (eight(key), held.event)).collect()
    }

    /// Where [`back_to`](Self::back_to) goes back to.
    pub(super) fn mark(&self) -> usize {
        self.pending.taken.len()
    }

    /// Gives back the claims that were taken since the mark.
    pub(super) fn back_to(&mut self, mark: usize) {
        for (key, _, before) in self.pending.taken.drain(mark..).rev() {
            self.fresh.restore(key, before);
        }
    }

    /// Writes down what the transaction took, and moves older claims on. The last thing before the
    /// commit.
    pub(super) fn write(&mut self, connection: &Connection, now: Timestamp) -> Result<(), Fault> {
        let taken = &self.pending.taken;
        if !taken.is_empty() {
            let packed = pack(taken.iter().map(|(key, held, _)| (key, held)));
            connection
                .prepare_cached("INSERT INTO fresh_claims (key, claims) VALUES (?1, ?2)")?
                .execute(params![self.written + 1, packed])?;
        }
        if self.arrived + taken.len() >= self.pace.every {
            let purged = self.purge(connection, now)?;
            let (at, erased) = self.age(connection, now)?;
            self.pending.step = Some(Step { at, erased, purged });
        }
        Ok(())
    }

    /// Brings the aging generation on: its next runs into `claim_runs`, then its filter to disk, then
    /// its rows out of `fresh_claims`. Returns how far it came, and the last row that was erased.
    fn age(
        &mut self,
        connection: &Connection,
        now: Timestamp,
    ) -> Result<(Option<Stage>, i64), Fault> {
        let Some(aging) = &self.aging else { return Ok((None, self.erased)) };
        let generation = aging.generation;
        let Stage::Moved(moved_to) = aging.at else {
            let erased = aging.last_row.min(self.erased + self.pace.erased);
            let sql = "DELETE FROM fresh_claims WHERE key <= ?1";
            connection.prepare_cached(sql)?.execute([erased])?;
            return Ok((Some(Stage::Aged), erased));
        };
        let left = &aging.claims.runs[moved_to..];
        let (first, _) = run_keys(generation.number);
        for (nth, run) in (moved_to..).zip(left).take(self.pace.moved) {
            let holding = run.iter().filter(|(_, held)| held.expires_at > now);
            let packed = pack(holding);
            if packed.is_empty() {
                continue;
            }
            let sql = "INSERT INTO claim_runs (key, claims) VALUES (?1, ?2)";
            connection.prepare_cached(sql)?.execute(params![first + nth as i64, packed])?;
        }
        if !left.is_empty() {
            let moved = left.len().min(self.pace.moved);
            return Ok((Some(Stage::Moved(moved_to + moved)), self.erased));
        }
        let filter = self.filters.saved(generation.filter);
        connection
            .prepare_cached(
                "INSERT INTO generations (key, expires_at, filter) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![generation.number, generation.expires_at.as_millis(), filter])?;
        Ok((Some(Stage::Aged), self.erased))
    }

    /// Deletes the next runs of a generation that has expired. Returns it when none are left.
    fn purge(&self, connection: &Connection, now: Timestamp) -> Result<Option<i64>, Fault> {
        let Some(expired) = self.aged.iter().find(|aged| aged.expires_at <= now) else {
            return Ok(None);
        };
        let sql = "DELETE FROM claim_runs WHERE key IN
                   (SELECT key FROM claim_runs WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT ?3)";
        let (number, (first, last)) = (expired.number, run_keys(expired.number));
        let limit = self.pace.purged;
        let deleted = connection.prepare_cached(sql)?.execute(params![first, last, limit])?;
        if deleted == usize::from(limit) {
            return Ok(None);
        }
        connection.prepare_cached("DELETE FROM generations WHERE key = ?1")?.execute([number])?;
        Ok(Some(number))
    }

    /// The transaction is on disk.
    pub(super) fn committed(&mut self) {
        let Pending { taken, step } = &mut self.pending;
        self.arrived += taken.len();
        self.written += i64::from(!taken.is_empty());
        taken.clear();
        if let Some(Step { at, erased, purged }) = step.take() {
            self.arrived = 0;
            self.erased = erased;
            if let Some(at) = self.aged.iter().position(|aged| Some(aged.number) == purged) {
                self.filters.remove(self.aged.remove(at).filter);
            }
            if let (Some(aging), Some(at)) = (&mut self.aging, at) {
                if aging.at != at && at == Stage::Aged {
                    self.aged.push(aging.generation);
                }
                aging.at = at;
            }
        }
        self.aging.take_if(|aging| aging.at == Stage::Aged && self.erased == aging.last_row);
        if self.aging.is_none() && self.fresh.len >= self.pace.generation {
            self.begin_to_age();
        }
    }

    fn begin_to_age(&mut self) {
        let claims = std::mem::replace(&mut self.fresh, Young::new(self.pace.runs));
        let generation = Generation {
            number: self.aged.last().map_or(0, |aged| aged.number + 1),
            expires_at: claims.iter().map(|(_, held)| held.expires_at).max().unwrap_or_default(),
            filter: std::mem::replace(&mut self.fresh_filter, self.filters.add()),
        };
        let at = Stage::Moved(0);
        self.aging = Some(Aging { generation, claims, at, last_row: self.written });
    }

    /// The transaction never was.
    pub(super) fn rolled_back(&mut self) {
        self.back_to(0);
        self.pending.step = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

    use std::time::Duration;

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::sqlite::schema;

    const WINDOW: Duration = Duration::from_secs(100);
    /// Small enough that a history of some dozens of claims goes through all three ages.
    const QUICK: Pace = Pace { generation: 8, runs: 4, every: 1, moved: 2, erased: 4, purged: 2 };

    struct Bench {
        connection: Connection,
        claims: Claims,
        now: Timestamp,
    }

    impl Bench {
        fn new() -> Self {
            let mut connection = Connection::open_in_memory().unwrap();
            schema::migrate(&mut connection, 0).unwrap();
            let claims = Claims::read_at(&connection, QUICK).unwrap();
            Self { connection, claims, now: Timestamp::from_millis(1_000_000) }
        }

        fn holder(&self, claim: u8) -> Option<i64> {
            self.claims.holder(&self.connection, &Digest::of(&[claim]), self.now).unwrap()
        }

        /// Takes those that nobody holds, for this event; true if all is kept.
        fn transact(&mut self, claims: &[u8], event: i64, end: End) -> bool {
            self.connection.execute_batch("BEGIN").unwrap();
            let mark = self.claims.mark();
            for claim in claims {
                if self.holder(*claim).is_none() {
                    self.claims.take(&Digest::of(&[*claim]), event, self.now + WINDOW);
                }
            }
            if end == End::BackToMark {
                self.claims.back_to(mark);
            }
            self.claims.write(&self.connection, self.now).unwrap();
            if end == End::RollBack {
                self.connection.execute_batch("ROLLBACK").unwrap();
                self.claims.rolled_back();
            } else {
                self.connection.execute_batch("COMMIT").unwrap();
                self.claims.committed();
            }
            end == End::Commit
        }

        fn count(&self, sql: &str) -> u32 {
            self.connection.query_row(sql, [], |row| row.get(0)).unwrap()
        }

        /// How many claims were moved, and of these how many have expired.
        fn moved(&self) -> (usize, usize) {
            let mut statement = self.connection.prepare("SELECT claims FROM claim_runs").unwrap();
            let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
            let claims = rows.flat_map(|row| unpack(&row.unwrap()).unwrap().collect::<Vec<_>>());
            let expires: Vec<_> = claims.map(|(_, held)| held.expires_at).collect();
            let expired = expires.iter().filter(|at| **at <= self.now).count();
            (expires.len(), expired)
        }
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum End {
        Commit,
        BackToMark,
        RollBack,
    }

    #[derive(Debug, Clone)]
    enum Step {
        Transact(Vec<u8>, End),
        Restart,
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let end = prop_oneof![6 => Just(End::Commit), 1 => Just(End::BackToMark), 1 => Just(End::RollBack)];
        let step = prop_oneof![
            8 => (prop::collection::vec(0..40_u8, 0..5), end)
                .prop_map(|(claims, end)| Step::Transact(claims, end)),
            1 => Just(Step::Restart),
            2 => (0..60_u64).prop_map(Step::Pass),
        ];
        prop::collection::vec(step, 1..80)
    }

    proptest! {
        #[test]
        fn a_claim_is_held_by_who_took_it_until_it_expires(steps in steps()) {
            let mut bench = Bench::new();
            let mut model = BTreeMap::<u8, (i64, Timestamp)>::new();
            for (event, step) in (1..).zip(steps) {
                match step {
                    Step::Transact(claims, end) => {
                        let free: Vec<u8> =
                            claims.iter().copied().filter(|c| bench.holder(*c).is_none()).collect();
                        if bench.transact(&claims, event, end) {
                            let until = bench.now + WINDOW;
                            model.extend(free.into_iter().map(|claim| (claim, (event, until))));
                        }
                    }
                    Step::Restart => {
                        bench.claims = Claims::read_at(&bench.connection, QUICK).unwrap();
                    }
                    Step::Pass(seconds) => bench.now = bench.now + Duration::from_secs(seconds),
                }
                for claim in 0..40 {
                    let held = model.get(&claim).filter(|(_, until)| *until > bench.now);
                    prop_assert_eq!(bench.holder(claim), held.map(|(event, _)| *event));
                }
            }
        }
    }

    /// 64 at a time, so that each generation is whole before the next begins.
    fn fill(bench: &mut Bench, first: u8) {
        for claim in first..first + 64 {
            assert!(bench.transact(&[claim], i64::from(claim), End::Commit));
        }
    }

    #[test]
    fn claims_go_through_all_three_ages_and_leave_no_rows_behind() {
        let mut bench = Bench::new();
        fill(&mut bench, 0);
        let (moved, _) = bench.moved();
        assert!(moved >= 40, "{moved} of 64 were moved");
        let rows = bench.count("SELECT count(*) FROM fresh_claims");
        assert!(rows <= 24, "{rows} rows for two generations of 8 and what a step leaves");
    }

    #[test]
    fn expired_claims_are_purged_while_new_ones_come() {
        let mut bench = Bench::new();
        fill(&mut bench, 0);
        bench.now = bench.now + WINDOW;
        let (before, expired) = bench.moved();
        assert_eq!(before, expired);
        fill(&mut bench, 64);
        fill(&mut bench, 128);
        let (_, expired) = bench.moved();
        assert!(expired <= 1, "{expired} of {before} are left");
    }

    #[test]
    fn a_damaged_row_is_no_row() {
        let bench = Bench::new();
        let sql = "INSERT INTO fresh_claims VALUES (1, x'00')";
        bench.connection.execute_batch(sql).unwrap();
        Claims::read_at(&bench.connection, QUICK).unwrap_err();
    }
}

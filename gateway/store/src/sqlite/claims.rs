//! Claims: which event holds a dedupe key, and until when.
//!
//! Keys are hashes: in a table ordered by them, a batch of n claims dirties n pages, which was half of
//! what a commit wrote. So they age in generations:
//!
//! 1. **fresh**: a map in memory, and beside it one row of `fresh_claims` for each commit, packed, so
//!    that an ack still has its claims on disk.
//! 2. **aging**: a full fresh map, which takes no more and is written to the end of `claims` in the
//!    order of its keys, a step at a time: each page is written once.
//! 3. **aged**: a generation that is all in `claims`. A filter in memory, kept beside it on disk, says
//!    which generations may hold a key, so that few are looked in. When the last of its claims has
//!    expired it is deleted, a step at a time.
//!
//! A key is looked for in this order. After a restart, all rows of `fresh_claims` are fresh: writing a
//! claim twice does no harm.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Bound,
};

use hookweir_event::{Digest, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    deliver::unreadable,
    fault::Fault,
    filter::{Filters, Slot},
};

/// The first bytes of a SHA-256: as many as a UUID has.
type Key = [u8; 16];

/// Who has a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    expires_at: Timestamp,
    event: i64,
}

/// A claim in a row of `fresh_claims`: key, expiry, event.
const PACKED: usize = size_of::<Key>() + 8 + 8;

/// When claims move, and how many at once. A generation must be gone before the next is full, at one
/// row a claim if need be: `every / moved + every / erased < 1`.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// So many make a generation: fresh claims begin to age.
    generation: usize,
    /// After so many new claims there is a step.
    every: usize,
    /// A step moves so many.
    moved: usize,
    /// Or erases so many rows of a generation that was moved.
    erased: i64,
    /// And deletes so many of a generation that has expired. More than `every`, so that expired ones
    /// go faster than new ones come.
    purged: u16,
}

impl Pace {
    /// Two generations are 7 MiB in memory at most, and 4 MiB to read at the next start. The filters
    /// have 2 MiB for each million claims.
    const USUAL: Self =
        Self { generation: 65_536, every: 256, moved: 512, erased: 1024, purged: 320 };
}

/// The writer's view of the claims. What a transaction changes is taken back by
/// [`rolled_back`](Self::rolled_back), or kept by [`committed`](Self::committed).
#[derive(Debug)]
pub(super) struct Claims {
    pace: Pace,
    fresh: BTreeMap<Key, Held>,
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

/// One that is in `claims`, or will be.
#[derive(Debug, Clone, Copy)]
struct Generation {
    number: i64,
    /// When the last of its claims does.
    expires_at: Timestamp,
    filter: Slot,
}

/// A generation on its way into `claims`.
#[derive(Debug)]
struct Aging {
    generation: Generation,
    claims: BTreeMap<Key, Held>,
    at: Stage,
    /// The last row of `fresh_claims` that belongs to it.
    last_row: i64,
}

/// How far the aging generation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// All up to this key are in `claims`.
    Moved(Option<Key>),
    /// All are there. Its rows of `fresh_claims` go next.
    Aged,
}

/// What the transaction in the making has changed.
#[derive(Debug, Default)]
struct Pending {
    /// New claims, and who had them before.
    taken: Vec<(Key, Option<Held>)>,
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
        let mut claims = Self {
            pace,
            fresh: BTreeMap::new(),
            aging: None,
            aged: Vec::new(),
            filters: Filters::each_for(pace.generation),
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
        connection.execute("DELETE FROM claims WHERE generation > ?1", [last])?;
        let mut statement =
            connection.prepare("SELECT key, claims FROM fresh_claims ORDER BY key")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            claims.written = row.get(0)?;
            if claims.fresh.is_empty() {
                claims.erased = claims.written - 1;
            }
            let packed = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            claims.fresh.extend(unpack(packed).ok_or_else(|| unreadable(1))?);
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
        let young = self.fresh.get(&key).or_else(|| self.aging.as_ref()?.claims.get(&key));
        if let Some(held) = young {
            return Ok((held.expires_at > now).then_some(held.event));
        }
        let sql = "SELECT event FROM claims
                   WHERE generation = ?1 AND claim = ?2 AND expires_at > ?3";
        for slot in self.filters.that_may_hold(&key) {
            // The aging one has a filter as well; what it holds was found above.
            let Some(aged) = self.aged.iter().find(|aged| aged.filter == slot) else { continue };
            let found = connection
                .prepare_cached(sql)?
                .query_row(params![aged.number, key, now.as_millis()], |row| row.get(0))
                .optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Takes a claim that nobody holds.
    pub(super) fn take(&mut self, claim: &Digest, event: i64, expires_at: Timestamp) {
        let key = short(claim);
        let before = self.fresh.insert(key, Held { expires_at, event });
        self.pending.taken.push((key, before));
    }

    /// The first eight bytes of the young claims of events from `first` on, with their events.
    pub(super) fn since(&self, first: i64) -> Vec<(u64, i64)> {
        let young = self.fresh.iter().chain(self.aging.iter().flat_map(|aging| &aging.claims));
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
        for (key, before) in self.pending.taken.drain(mark..).rev() {
            match (self.fresh.entry(key), before) {
                (Entry::Occupied(mut entry), Some(before)) => _ = entry.insert(before),
                (Entry::Occupied(entry), None) => _ = entry.remove(),
                (Entry::Vacant(_), _) => unreachable!("invariant: what was taken is there"),
            }
        }
    }

    /// Writes down what the transaction took, and moves older claims on. The last thing before the
    /// commit.
    pub(super) fn write(&mut self, connection: &Connection, now: Timestamp) -> Result<(), Fault> {
        let taken = &self.pending.taken;
        if !taken.is_empty() {
            let packed = pack(taken.iter().map(|(key, _)| (key, &self.fresh[key])));
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

    /// Brings the aging generation on: its next claims into `claims`, then its filter to disk, then
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
        let sql = "INSERT INTO claims (generation, claim, expires_at, event)
                   VALUES (?1, ?2, ?3, ?4)";
        let mut insert = connection.prepare_cached(sql)?;
        let after = moved_to.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for (key, held) in aging.claims.range((after, Bound::Unbounded)).take(self.pace.moved) {
            last = Some(*key);
            if held.expires_at > now {
                let (expires_at, event) = (held.expires_at.as_millis(), held.event);
                insert.execute(params![generation.number, key, expires_at, event])?;
                // Should the transaction fail, it is in the filter for nothing, which is no harm.
                self.filters.insert(generation.filter, key);
            }
        }
        if last.is_some() {
            return Ok((Some(Stage::Moved(last)), self.erased));
        }
        let filter = self.filters.saved(generation.filter);
        connection
            .prepare_cached(
                "INSERT INTO generations (key, expires_at, filter) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![generation.number, generation.expires_at.as_millis(), filter])?;
        Ok((Some(Stage::Aged), self.erased))
    }

    /// Deletes the next claims of a generation that has expired. Returns it when none are left.
    fn purge(&self, connection: &Connection, now: Timestamp) -> Result<Option<i64>, Fault> {
        let Some(expired) = self.aged.iter().find(|aged| aged.expires_at <= now) else {
            return Ok(None);
        };
        let sql = "DELETE FROM claims WHERE generation = ?1 AND claim <= coalesce(
                       (SELECT claim FROM claims WHERE generation = ?1
                        ORDER BY claim LIMIT 1 OFFSET ?2), ?3)";
        let (number, skip) = (expired.number, self.pace.purged - 1);
        let deleted =
            connection.prepare_cached(sql)?.execute(params![number, skip, [u8::MAX; 16]])?;
        if deleted == usize::from(self.pace.purged) {
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
        if self.aging.is_none() && self.fresh.len() >= self.pace.generation {
            self.begin_to_age();
        }
    }

    fn begin_to_age(&mut self) {
        let claims = std::mem::take(&mut self.fresh);
        let generation = Generation {
            number: self.aged.last().map_or(0, |aged| aged.number + 1),
            expires_at: claims.values().map(|held| held.expires_at).max().unwrap_or_default(),
            filter: self.filters.add(),
        };
        let at = Stage::Moved(None);
        self.aging = Some(Aging { generation, claims, at, last_row: self.written });
    }

    /// The transaction never was.
    pub(super) fn rolled_back(&mut self) {
        self.back_to(0);
        self.pending.step = None;
    }
}

/// The event that holds a claim, expired or not, as far as the tables have it: for those who look on.
pub(crate) fn holder_on_disk(
    connection: &Connection,
    claim: &Digest,
) -> rusqlite::Result<Option<i64>> {
    let key = short(claim);
    let mut statement = connection.prepare_cached("SELECT claims FROM fresh_claims")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let packed = row.get_ref(0)?.as_blob()?;
        let mut claims = unpack(packed).ok_or_else(|| unreadable(0))?;
        if let Some((_, held)) = claims.find(|(found, _)| *found == key) {
            return Ok(Some(held.event));
        }
    }
    let sql = "SELECT c.event FROM generations AS g CROSS JOIN claims AS c
               ON c.generation = g.key AND c.claim = ?1 ORDER BY g.key DESC LIMIT 1";
    connection.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()
}

fn short(claim: &Digest) -> Key {
    let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *claim.as_bytes();
    key
}

fn pack<'a>(claims: impl ExactSizeIterator<Item = (&'a Key, &'a Held)>) -> Vec<u8> {
    let mut packed = Vec::with_capacity(claims.len() * PACKED);
    for (key, held) in claims {
        packed.extend_from_slice(key);
        packed.extend_from_slice(&held.expires_at.as_millis().to_be_bytes());
        packed.extend_from_slice(&held.event.to_be_bytes());
    }
    packed
}

/// `None` if it is not what [`pack`] makes.
fn unpack(packed: &[u8]) -> Option<impl Iterator<Item = (Key, Held)> + '_> {
    let (claims, rest) = packed.as_chunks::<PACKED>();
    rest.is_empty().then(|| {
        claims.iter().map(|claim| {
            let (key, rest) = claim.split_first_chunk().expect("invariant: PACKED is long enough");
            let (expires_at, event) = rest.split_at(8);
            let number =
                |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("invariant: 8 bytes"));
            let expires_at = Timestamp::from_millis(number(expires_at));
            (*key, Held { expires_at, event: number(event) })
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::sqlite::schema;

    const WINDOW: Duration = Duration::from_secs(100);
    /// Small enough that a history of some dozens of claims goes through all three ages.
    const QUICK: Pace = Pace { generation: 8, every: 2, moved: 4, erased: 8, purged: 4 };

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
        let moved = bench.count("SELECT count(*) FROM claims");
        assert!(moved >= 40, "{moved} of 64 were moved");
        let rows = bench.count("SELECT count(*) FROM fresh_claims");
        assert!(rows <= 24, "{rows} rows for two generations of 8 and what a step leaves");
    }

    #[test]
    fn expired_claims_are_purged_while_new_ones_come() {
        let mut bench = Bench::new();
        fill(&mut bench, 0);
        let before = bench.count("SELECT count(*) FROM claims");
        bench.now = bench.now + WINDOW;
        let sql =
            format!("SELECT count(*) FROM claims WHERE expires_at <= {}", bench.now.as_millis());
        assert_eq!(bench.count(&sql), before);
        fill(&mut bench, 64);
        fill(&mut bench, 128);
        assert!(bench.count(&sql) <= 1, "{} of {before} are left", bench.count(&sql));
    }

    #[test]
    fn a_damaged_row_is_no_row() {
        let bench = Bench::new();
        let sql = "INSERT INTO fresh_claims VALUES (1, x'00')";
        bench.connection.execute_batch(sql).unwrap();
        Claims::read_at(&bench.connection, QUICK).unwrap_err();
    }
}

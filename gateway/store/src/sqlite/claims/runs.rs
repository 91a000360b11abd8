//! Claims on disk: packed, in rows of those that one commit took and in sorted runs.

use hookweir_event::{Digest, Timestamp};
use rusqlite::{Connection, params};

use super::Pace;
use crate::sqlite::{deliver::unreadable, fault::Fault, filter::Filters};

/// The first bytes of a SHA-256: as many as a UUID has.
pub(super) type Key = [u8; 16];

/// Who has a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) expires_at: Timestamp,
    pub(super) event: i64,
}

/// A claim in a row: key, expiry, event.
pub(super) const PACKED: usize = size_of::<Key>() + 8 + 8;

/// Bits of a run's key for its number below its generation.
const RUN_BITS: u32 = 8;

/// The keys of the first and the last run that a generation can have.
pub(super) fn run_keys(generation: i64) -> (i64, i64) {
    let first = generation << RUN_BITS;
    (first, first | ((1 << RUN_BITS) - 1))
}

/// The run, of so many, that a claim is in.
pub(super) fn run_of(key: &Key, runs: usize) -> usize {
    (usize::from(key[0]) * runs) >> RUN_BITS
}

/// The event that holds a claim, expired or not, as far as the tables have it: for those who look on.
pub(in crate::sqlite) fn holder_on_disk(
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
    let mut statement =
        connection.prepare_cached("SELECT key FROM generations ORDER BY key DESC")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(held) = find(connection, row.get(0)?, &key, Pace::USUAL.runs)? {
            return Ok(Some(held.event));
        }
    }
    Ok(None)
}

/// All claims, expired or not, as far as the tables have them. One that moves is in two of them.
pub(in crate::sqlite) fn each(
    connection: &Connection,
    mut each: impl FnMut(&Key, Timestamp, i64) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    for table in ["fresh_claims", "claim_runs"] {
        let mut statement = connection.prepare(&format!("SELECT claims FROM {table}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let claims = unpack(row.get_ref(0)?.as_blob()?).ok_or_else(|| unreadable(0))?;
            for (key, held) in claims {
                each(&key, held.expires_at, held.event)?;
            }
        }
    }
    Ok(())
}

/// Who has a claim in an aged generation.
pub(super) fn find(
    connection: &Connection,
    generation: i64,
    key: &Key,
    runs: usize,
) -> rusqlite::Result<Option<Held>> {
    let mut statement =
        connection.prepare_cached("SELECT claims FROM claim_runs WHERE key = ?1")?;
    let run = run_keys(generation).0 + run_of(key, runs) as i64;
    let mut rows = statement.query([run])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (claims, rest) = row.get_ref(0)?.as_blob()?.as_chunks::<PACKED>();
    if !rest.is_empty() {
        return Err(unreadable(0));
    }
    let at = claims.binary_search_by(|claim| claim[..key.len()].cmp(key));
    Ok(at.ok().map(|at| read(&claims[at]).1))
}

/// Puts the claims of a schema before the runs into them: of each generation, all whose keys begin alike.
/// The filters are made anew.
pub(in crate::sqlite) fn into_runs(connection: &Connection) -> Result<(), Fault> {
    let mut statement = connection.prepare("SELECT key FROM generations ORDER BY key")?;
    let generations = statement.query_map([], |row| row.get(0))?;
    let mut filters = Filters::each_for(Pace::USUAL.generation);
    for generation in generations {
        let (generation, filter): (i64, _) = (generation?, filters.add());
        let mut runs = vec![Vec::new(); Pace::USUAL.runs];
        let sql =
            "SELECT claim, expires_at, event FROM claims WHERE generation = ?1 ORDER BY claim";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([generation])?;
        while let Some(row) = rows.next()? {
            let key: Key = row.get(0)?;
            let held = Held { expires_at: Timestamp::from_millis(row.get(1)?), event: row.get(2)? };
            runs[run_of(&key, Pace::USUAL.runs)].extend(pack(std::iter::once((&key, &held))));
            filters.insert(filter, &key);
        }
        let sql = "INSERT INTO claim_runs (key, claims) VALUES (?1, ?2)";
        let mut insert = connection.prepare_cached(sql)?;
        for (key, run) in (run_keys(generation).0..).zip(runs).filter(|(_, run)| !run.is_empty()) {
            insert.execute(params![key, run])?;
        }
        let sql = "UPDATE generations SET filter = ?2 WHERE key = ?1";
        connection.execute(sql, params![generation, filters.saved(filter)])?;
    }
    Ok(())
}

pub(super) fn short(claim: &Digest) -> Key {
    let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *claim.as_bytes();
    key
}

pub(super) fn pack<'a>(claims: impl Iterator<Item = (&'a Key, &'a Held)>) -> Vec<u8> {
    let mut packed = Vec::with_capacity(claims.size_hint().0 * PACKED);
    for (key, held) in claims {
        packed.extend_from_slice(key);
        packed.extend_from_slice(&held.expires_at.as_millis().to_be_bytes());
        packed.extend_from_slice(&held.event.to_be_bytes());
    }
    packed
}

/// `None` if it is not what [`pack`] makes.
pub(super) fn unpack(packed: &[u8]) -> Option<impl Iterator<Item = (Key, Held)> + '_> {
    let (claims, rest) = packed.as_chunks::<PACKED>();
    rest.is_empty().then(|| claims.iter().map(read))
}

fn read(claim: &[u8; PACKED]) -> (Key, Held) {
    let (key, rest) = claim.split_first_chunk().expect("invariant: PACKED is long enough");
    let (expires_at, event) = rest.split_at(8);
    let number = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("invariant: 8 bytes"));
    let expires_at = Timestamp::from_millis(number(expires_at));
    (*key, Held { expires_at, event: number(event) })
}

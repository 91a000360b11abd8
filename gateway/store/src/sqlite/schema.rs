//! The tables, their versions, and the keys.
//!
//! One key space: a delivery's key is its event's key and an ordinal, an attempt's key is its
//! delivery's and its number. So what belongs together lies together and is found by a range of keys
//! without an index, and all three tables grow at their end. 63 bits: 43 for events (at 10,000 a
//! second, 27 years), 10 for an event's deliveries, 10 for a delivery's attempts.

use hookweir_event::{EventId, Hops, Timestamp};
use rusqlite::{Connection, TransactionBehavior};

use super::{
    claims,
    deliver::parsed,
    fault::Fault,
    parcels::{Entry, Parcels, Place},
};
use crate::bounds::{ATTEMPTS_MAX, DELIVERIES_MAX};

/// `HKWR`, so that `file` and other programs can tell whose the database is.
pub(super) const APPLICATION_ID: i64 = 0x484b_5752;

/// Schema N is made by the first N migrations. A released one never changes: add another.
const MIGRATIONS: [&str; 12] = [V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12];

/// The newest schema that this version knows.
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Bits of a key for the ordinal below its parent.
pub(super) const ORDINAL_BITS: u32 = 10;
/// The last of them.
pub(super) const ORDINAL_MAX: u32 = (1 << ORDINAL_BITS) - 1;
// There is a key for each delivery of an event, and for each attempt of a delivery.
const _: () = assert!(ORDINAL_MAX as usize == DELIVERIES_MAX && ORDINAL_MAX == ATTEMPTS_MAX);

/// The key of a parent's n-th child.
pub(super) fn child_key(parent: i64, ordinal: u32) -> i64 {
    (parent << ORDINAL_BITS) | i64::from(ordinal.min(ORDINAL_MAX))
}

/// The key of a child's parent.
pub(super) fn parent_key(child: i64) -> i64 {
    child >> ORDINAL_BITS
}

/// Which of its parent's children a key is.
pub(super) fn ordinal(child: i64) -> i64 {
    child & i64::from(ORDINAL_MAX)
}

/// The first and the last key that a parent's children can have.
pub(super) fn child_keys(parent: i64) -> (i64, i64) {
    (child_key(parent, 0), child_key(parent, ORDINAL_MAX))
}

/// - `claims` is keyed by the first 16 bytes of a SHA-256: as many as a UUID, and a third of the
///   table less than with 32.
/// - `duplicates` is a table of its own: a counter in `events` would rewrite the body each time.
/// - `totals` is one row, written once per commit, so that nobody ever has to count.
const V1: &str = "
CREATE TABLE origins(key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE plugins(key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE versions(key INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE boots(key INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE) STRICT;

CREATE TABLE events(
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    origin INTEGER NOT NULL,
    type TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    hops INTEGER NOT NULL,
    parent INTEGER,                       -- for outputs: the event whose delivery made it
    root INTEGER,                         -- for outputs: the first event of the chain
    envelope BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE duplicates(event INTEGER PRIMARY KEY, count INTEGER NOT NULL) STRICT;
CREATE TABLE claims(
    claim BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL,
    event INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries(
    key INTEGER PRIMARY KEY,              -- event << 10 | ordinal
    plugin INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    boot INTEGER,                         -- who leased it; null: nobody
    turn INTEGER NOT NULL DEFAULT 0,      -- how often it was leased
    leased_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    lost_leases INTEGER NOT NULL DEFAULT 0,
    settled_at INTEGER,                   -- null: open
    dead INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX deliveries_open ON deliveries(plugin, due_at) WHERE settled_at IS NULL;
CREATE TABLE attempts(
    key INTEGER PRIMARY KEY,              -- delivery << 10 | number
    started_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    message TEXT,
    version INTEGER,
    wall_us INTEGER NOT NULL,
    cpu_us INTEGER NOT NULL,
    logs BLOB
) STRICT;

CREATE TABLE totals(
    key INTEGER PRIMARY KEY CHECK (key = 1),
    next_event INTEGER NOT NULL,
    events INTEGER NOT NULL,
    outputs INTEGER NOT NULL,
    unrouted INTEGER NOT NULL,
    due INTEGER NOT NULL,
    leased INTEGER NOT NULL,
    done INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    duplicates INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
";

/// Claims wait here until they are written into `claims`, those of one commit packed in one row (the
/// module `claims`).
const V2: &str = "
CREATE TABLE fresh_claims(key INTEGER PRIMARY KEY, claims BLOB NOT NULL) STRICT;
";

/// Claims lie by generation: each is written once, in the order of its keys, at the end of the table,
/// and goes as a whole. What was there before is a generation without a filter.
const V3: &str = "
ALTER TABLE claims RENAME TO ungrouped_claims;
CREATE TABLE claims(
    generation INTEGER NOT NULL,
    claim BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY (generation, claim)
) STRICT, WITHOUT ROWID;
CREATE TABLE generations(
    key INTEGER PRIMARY KEY,
    expires_at INTEGER NOT NULL,          -- the last of its claims
    filter BLOB                           -- null: it may hold anything
) STRICT;
INSERT INTO claims SELECT 0, claim, expires_at, event FROM ungrouped_claims ORDER BY claim;
INSERT INTO generations SELECT 0, max(expires_at), NULL FROM ungrouped_claims HAVING count(*) > 0;
DROP TABLE ungrouped_claims;
";

/// - Order: those of one plugin and order key that are not over yet stand in a line, by `place`: the
///   first is due, leased or, dead, blocks the others. Those behind are in no index that leases read.
/// - State, with versions from one count, so that none comes back.
/// - `totals.clock` is the store's time at the last commit: it must not go back over a restart.
const V4: &str = "
ALTER TABLE deliveries ADD COLUMN excused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN order_key TEXT;
ALTER TABLE deliveries ADD COLUMN place INTEGER;
ALTER TABLE deliveries ADD COLUMN standing INTEGER;   -- null: in no line; 0: first, 1: behind, 2: blocks
DROP INDEX deliveries_open;
CREATE INDEX deliveries_open ON deliveries(plugin, due_at)
    WHERE settled_at IS NULL AND standing IS NOT 1;
CREATE INDEX deliveries_in_line ON deliveries(plugin, order_key, place, key)
    WHERE standing IS NOT NULL;
CREATE INDEX deliveries_blocking ON deliveries(plugin, key) WHERE standing = 2;

CREATE TABLE state(
    key INTEGER PRIMARY KEY,
    plugin INTEGER NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    expires_at INTEGER,
    UNIQUE (plugin, name)
) STRICT;
CREATE INDEX state_expiring ON state(expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE totals ADD COLUMN next_version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE totals ADD COLUMN clock INTEGER NOT NULL DEFAULT 0;
";

/// Retention (the module `retain`): how many bytes of events there are, and of events that dead letters
/// keep; until when an event's claims hold, and the ids of events that are gone whose claims still do. An output
/// outlives its parent, so it has the ids of where it comes from.
const V5: &str = "
ALTER TABLE events ADD COLUMN claimed_until INTEGER;  -- null: not written down
ALTER TABLE events ADD COLUMN parent_id BLOB;
ALTER TABLE events ADD COLUMN root_id BLOB;
UPDATE events SET parent_id = (SELECT p.id FROM events AS p WHERE p.key = events.parent),
    root_id = (SELECT r.id FROM events AS r WHERE r.key = events.root) WHERE parent IS NOT NULL;
CREATE TABLE departed(
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    claimed_until INTEGER NOT NULL
) STRICT;
CREATE INDEX departed_free ON departed(claimed_until);
ALTER TABLE duplicates ADD COLUMN last_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN dead_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET
    bytes = (SELECT coalesce(sum(length(envelope) + length(body)), 0) FROM events),
    dead_bytes = (SELECT coalesce(sum(length(e.envelope) + length(e.body)), 0)
                  FROM deliveries AS d JOIN events AS e ON e.key = d.key >> 10 WHERE d.dead);
";

/// What searches go by (the modules `blocks` and `search`), and replays.
const V6: &str = "
CREATE TABLE blocks(
    key INTEGER PRIMARY KEY,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    common BLOB NOT NULL,
    rare BLOB NOT NULL
) STRICT;
CREATE INDEX deliveries_dead ON deliveries(key) WHERE dead = 1;
ALTER TABLE deliveries ADD COLUMN replayed_at INTEGER;
";

/// Events lie in parcels (the module `parcels`), most deliveries have no row (the module `fresh`), and the
/// claims that have aged lie in runs (the module `claims`). What is there is moved by [`migrate`].
const V7: &str = "
CREATE TABLE parcels(
    key INTEGER PRIMARY KEY,              -- of its first event
    committed_at INTEGER NOT NULL,
    directory BLOB NOT NULL,
    content BLOB NOT NULL
) STRICT;
CREATE TABLE moments(
    moment INTEGER NOT NULL,              -- of an id, in 16 ms
    parcel INTEGER NOT NULL,
    PRIMARY KEY (moment, parcel)
) STRICT, WITHOUT ROWID;
CREATE TABLE claim_runs(
    key INTEGER PRIMARY KEY,              -- generation << 8 | number
    claims BLOB NOT NULL
) STRICT;
ALTER TABLE totals ADD COLUMN fronts BLOB NOT NULL DEFAULT x'';
ALTER TABLE totals ADD COLUMN leases BLOB NOT NULL DEFAULT x'';
ALTER TABLE attempts ADD COLUMN ended_at INTEGER;     -- null: not written down
";

/// The content of parcels may be packed (the module `pack`), which who knows 7 can't read; what is there
/// stays as it is. And what a plugin's state takes is counted.
const V8: &str = "
ALTER TABLE plugins ADD COLUMN state_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE plugins SET state_bytes = (SELECT coalesce(sum(length(CAST(s.name AS BLOB)) + length(s.value)), 0)
    FROM state AS s WHERE s.plugin = plugins.key);
";

/// What operators do: dead letters that are put aside (`dead` is 2 then, so that the index of the others does
/// not have them), and what is paused.
const V9: &str = "
ALTER TABLE deliveries ADD COLUMN discarded_at INTEGER;
CREATE INDEX deliveries_dead_of ON deliveries(plugin, key) WHERE dead = 1;
CREATE INDEX deliveries_discarded ON deliveries(key) WHERE dead = 2;
ALTER TABLE totals ADD COLUMN discarded INTEGER NOT NULL DEFAULT 0;
CREATE TABLE pauses(
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    since INTEGER NOT NULL,
    by TEXT NOT NULL,
    why TEXT,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
";

/// How many deliveries of each plugin stand where (the module `depths`; empty: nobody has counted yet), and
/// what was noticed and is not over, or was lately (the module `notices`).
const V10: &str = "
ALTER TABLE totals ADD COLUMN depths BLOB NOT NULL DEFAULT x'';
CREATE TABLE notices(
    name TEXT PRIMARY KEY,
    raised_at INTEGER NOT NULL,
    cleared_at INTEGER,                   -- null: it is not over
    event BLOB NOT NULL,                  -- the one that told of it last
    body BLOB NOT NULL                    -- of that one
) STRICT, WITHOUT ROWID;
";

/// What attempts sent and were answered (the module `exchanges`), where that is kept.
const V11: &str = "
CREATE TABLE exchanges(
    key INTEGER PRIMARY KEY,              -- of the attempt
    kept INTEGER NOT NULL,
    left_out INTEGER NOT NULL,
    content BLOB NOT NULL
) STRICT;
";

/// Sources that are held, and deliveries that are set aside for that (the module `hold`).
const V12: &str = "
CREATE TABLE holds(
    origin INTEGER PRIMARY KEY,
    lifted_at INTEGER                     -- null: it is in force
) STRICT;
ALTER TABLE deliveries ADD COLUMN held INTEGER;       -- the origin whose hold it is aside for
ALTER TABLE deliveries ADD COLUMN let_go_at INTEGER;  -- when the hold was lifted that it was aside for
DROP INDEX deliveries_open;
CREATE INDEX deliveries_open ON deliveries(plugin, due_at)
    WHERE settled_at IS NULL AND standing IS NOT 1 AND held IS NULL;
CREATE INDEX deliveries_held ON deliveries(plugin, held) WHERE held IS NOT NULL;
";

/// The schema in which events and claims moved.
const PARCELS: i64 = 7;

/// Moves the events from their rows into parcels.
fn into_parcels(connection: &Connection) -> Result<(), Fault> {
    let sql = "SELECT e.key, e.id, e.origin, e.type, e.received_at, e.hops, e.parent_id, e.root_id,
                   e.claimed_until, e.envelope, e.body FROM events AS e ORDER BY e.key";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut parcels = Parcels::default();
    while let Some(row) = rows.next()? {
        let id = |at| row.get::<_, Option<_>>(at).map(|id| id.map(EventId::from_bytes));
        let received_at = Timestamp::from_millis(row.get(4)?);
        let entry = Entry {
            key: row.get(0)?,
            id: EventId::from_bytes(row.get(1)?),
            origin: row.get(2)?,
            event_type: parsed(row, 3)?,
            received_at,
            hops: Hops(row.get(5)?),
            from: id(6)?.zip(id(7)?).map(|(parent, root)| [parent, root]),
            claimed_until: row.get::<_, Option<_>>(8)?.map(Timestamp::from_millis),
            // Their deliveries have rows, all of them.
            plugins: Vec::new(),
            place: Place::default(),
        };
        let blob = |at| row.get_ref(at)?.as_blob().map_err(rusqlite::Error::from);
        let (envelope, body) = (blob(9)?, blob(10)?);
        parcels.add(received_at, entry, envelope, body);
        parcels.write_full(connection)?;
    }
    parcels.write(connection)
}

/// Brings a database of ours, or an empty one, to the newest schema: all in one transaction. Says whether
/// there was anything to do.
pub(super) fn migrate(connection: &mut Connection, from: i64) -> Result<bool, Fault> {
    let steps = MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(0));
    if steps.len() == 0 {
        return Ok(false);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in steps {
        transaction.execute_batch(step)?;
    }
    if from < PARCELS {
        into_parcels(&transaction)?;
        claims::into_runs(&transaction)?;
        transaction.execute_batch("DROP TABLE events; DROP TABLE claims")?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", NEWEST)?;
    transaction.commit()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_lie_between_their_parents_keys() {
        let (first, last) = child_keys(7);
        assert_eq!(parent_key(first), 7);
        assert_eq!(parent_key(last), 7);
        assert_eq!(last + 1, child_keys(8).0);
        assert_eq!(child_key(7, 5), first + 5);
    }
}

-- Schema 1. A released one never changes: add another file, and name it in schema.rs.
--
-- Text that a plugin or a stranger wrote is bytea: PostgreSQL's text can't hold a zero byte. Times are
-- milliseconds since 1970, by the database's clock. Ids are the 16 bytes of a UUIDv7, which begins with its
-- time: what belongs to an event is kept in the partition of the day that its id names, so that a whole day is
-- dropped at once when it is over (days). What is of no such day, or outlived its own, is in the default partitions.
--
-- Autovacuum, as it comes, waits until a fifth of a table is dead: of a queue that is the part that everybody reads.
-- What changes much is vacuumed when a fiftieth is, or, where there are few rows that change all the time, after so
-- many changes whatever the size; and ten times as fast as it comes, or it would never be done with a day's indexes.
-- A fillfactor leaves room for new versions in the same page: such a change writes no index, and whoever reads the
-- page next takes the old versions away, without any vacuum.

CREATE TABLE meta(
    key int PRIMARY KEY CHECK (key = 1),
    schema bigint NOT NULL,
    store bytea NOT NULL,                  -- which store this is, for copies of it
    clock bigint NOT NULL                  -- the latest time that anybody saw here
);

-- A gateway that has it open. It may lease as long as its row is there and not gone, and holds that row locked while it
-- does. That it lives it says in `beats`, a table of its own, so that the one need not wait for the other. Whoever finds
-- that to be too long ago declares it gone: what it had leased is free from then on.
CREATE TABLE boots(
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner bytea NOT NULL,
    gone boolean NOT NULL DEFAULT false
);
CREATE TABLE beats(
    boot bigint NOT NULL PRIMARY KEY,
    seen_at bigint NOT NULL
) WITH (fillfactor = 20);

-- What one gateway does for all, from time to time: whoever has the row locked, or has put off for others when it is
-- to be done.
CREATE TABLE chores(
    name text PRIMARY KEY,
    next_at bigint NOT NULL
) WITH (fillfactor = 20);
INSERT INTO chores VALUES ('retention', 0), ('lapsed', 0), ('days', 0);

-- The days that have partitions.
CREATE TABLE days(
    name text PRIMARY KEY,                 -- what the partitions' names end with
    first_at bigint NOT NULL,              -- the first millisecond of them,
    until_at bigint NOT NULL,              -- and the first that is none any more
    touched bigint NOT NULL DEFAULT 0      -- how often something was changed of events that were over
) WITH (fillfactor = 20);

CREATE SEQUENCE event_seq AS bigint CACHE 1;

CREATE TABLE events(
    id bytea NOT NULL PRIMARY KEY,
    seq bigint NOT NULL,                   -- what listings and searches go by
    tx bigint NOT NULL,                    -- the transaction that made it: what news goes by
    origin text NOT NULL,
    type text NOT NULL,
    received_at bigint NOT NULL,
    committed_at bigint NOT NULL,
    hops smallint NOT NULL,
    parent bytea,                          -- for outputs: the event whose delivery made it
    root bytea,                            -- for outputs: the first event of the chain
    claims bytea NOT NULL,                 -- the first 16 bytes of each of its dedupe keys
    bytes bigint NOT NULL,                 -- of envelope and body, as they are counted
    body_len bigint NOT NULL,
    envelope bytea NOT NULL,
    body bytea NOT NULL
) PARTITION BY RANGE (id);
CREATE TABLE events_other PARTITION OF events DEFAULT;
CREATE INDEX events_seq ON events(seq);
-- For news alone, which without it would have to read all events to miss none. It grows at its end.
CREATE INDEX events_tx ON events(tx, seq);

-- A table of its own: a counter in `events` would write the body anew.
CREATE TABLE duplicates(
    event bytea NOT NULL PRIMARY KEY,
    count bigint NOT NULL,
    last_at bigint NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- Dedupe keys. The event may be gone: its id is what a duplicate is answered with. They go by the second, and whoever
-- looks for those that expired comes upon all that went since the last vacuum.
CREATE TABLE claims(
    claim bytea NOT NULL PRIMARY KEY,      -- the first 16 bytes
    event bytea NOT NULL,
    expires_at bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_limit = 2000);
CREATE INDEX claims_expiring ON claims(expires_at);

-- A delivery is open while `settled_at` is null, and leased while `boot` is not null. A lease changes no column of an
-- index or of its condition, so that it writes none. A settlement takes it out of `deliveries_open`: what is left of it
-- there stands in front of what is due, until a vacuum.
CREATE TABLE deliveries(
    event bytea NOT NULL,
    ordinal smallint NOT NULL,
    seq bigint NOT NULL,                   -- of its event
    origin text NOT NULL,                  -- of its event
    plugin text NOT NULL,
    due_at bigint NOT NULL,
    boot bigint,                           -- who leased it; null: nobody
    turn bigint NOT NULL DEFAULT 0,        -- how often it was leased
    batch bigint NOT NULL DEFAULT 0,       -- of its boot, which leased it last
    leased_at bigint,
    attempts int NOT NULL DEFAULT 0,
    lost_leases int NOT NULL DEFAULT 0,
    excused int NOT NULL DEFAULT 0,
    settled_at bigint,                     -- null: open
    dead smallint NOT NULL DEFAULT 0,      -- 1: a dead letter, 2: one that was put aside
    order_key bytea,
    place bigint,                          -- in the line of its plugin and order key
    standing smallint,                     -- null: in no line; 0: first, 1: behind, 2: blocks
    replayed_at bigint,
    discarded_at bigint,
    held text,                             -- the source for whose hold it is aside
    let_go_at bigint,                      -- when the hold was lifted that it was aside for
    PRIMARY KEY (event, ordinal)
) PARTITION BY RANGE (event);
CREATE TABLE deliveries_other PARTITION OF deliveries DEFAULT
    WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
          autovacuum_vacuum_cost_limit = 2000);
CREATE INDEX deliveries_open ON deliveries(plugin, due_at, seq, ordinal)
    WHERE settled_at IS NULL AND standing IS DISTINCT FROM 1 AND held IS NULL;
CREATE INDEX deliveries_in_line ON deliveries(plugin, order_key, place) WHERE standing IS NOT NULL;
CREATE INDEX deliveries_blocking ON deliveries(plugin, seq, ordinal) WHERE standing = 2;
CREATE INDEX deliveries_dead ON deliveries(plugin, seq, ordinal) WHERE dead = 1;
CREATE INDEX deliveries_discarded ON deliveries(seq, ordinal) WHERE dead = 2;
CREATE INDEX deliveries_held ON deliveries(plugin, held, seq, ordinal) WHERE held IS NOT NULL;

-- The lines of order keys. Whoever changes who stands in one has its row locked, until the commit: so places are in
-- the order of commits.
CREATE TABLE lines(
    plugin text NOT NULL,
    order_key bytea NOT NULL,
    last bigint NOT NULL,                  -- the last place that was given
    length bigint NOT NULL,                -- how many stand in it
    PRIMARY KEY (plugin, order_key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX lines_empty ON lines(plugin) WHERE length = 0;

CREATE TABLE attempts(
    event bytea NOT NULL,
    ordinal smallint NOT NULL,
    number int NOT NULL,
    boot bigint NOT NULL,                  -- with `turn`: the lease that it was made under
    turn bigint NOT NULL,
    started_at bigint NOT NULL,
    ended_at bigint NOT NULL,
    outcome text NOT NULL,
    message bytea,
    version bytea,
    wall_us bigint NOT NULL,
    cpu_us bigint NOT NULL,
    logs bytea,
    PRIMARY KEY (event, ordinal, number)
) PARTITION BY RANGE (event);
CREATE TABLE attempts_other PARTITION OF attempts DEFAULT;

CREATE TABLE exchanges(
    event bytea NOT NULL,
    ordinal smallint NOT NULL,
    number int NOT NULL,
    kept int NOT NULL,
    left_out bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (event, ordinal, number)
) PARTITION BY RANGE (event);
CREATE TABLE exchanges_other PARTITION OF exchanges DEFAULT;

-- The plugins that anything was ever routed to, or that have state. Whoever changes a plugin's state has its row
-- locked, until the commit.
CREATE TABLE plugins(
    name text NOT NULL PRIMARY KEY,
    state_bytes bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE SEQUENCE state_version AS bigint CACHE 1;
CREATE TABLE state(
    plugin text NOT NULL,
    name bytea NOT NULL,
    version bigint NOT NULL,
    value bytea NOT NULL,
    expires_at bigint,
    PRIMARY KEY (plugin, name)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX state_expiring ON state(expires_at) WHERE expires_at IS NOT NULL;

-- How many of each there are, so that nobody ever has to count. Each is the sum of what all have written: who writes
-- much has a row of its own (`shard`), so that none waits for another's commit.
CREATE TABLE totals(
    shard int NOT NULL PRIMARY KEY,
    events bigint NOT NULL,
    outputs bigint NOT NULL,
    unrouted bigint NOT NULL,
    due bigint NOT NULL,
    leased bigint NOT NULL,
    done bigint NOT NULL,
    dead bigint NOT NULL,
    discarded bigint NOT NULL,
    duplicates bigint NOT NULL,
    bytes bigint NOT NULL,
    dead_bytes bigint NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- The same of each plugin's deliveries that are not done; `held` is how many of them are aside for the hold of `origin`, which
-- are in none of the others. Where it is of no origin, that is empty.
CREATE TABLE depths(
    shard int NOT NULL,
    plugin text NOT NULL,
    origin text NOT NULL,
    due bigint NOT NULL,
    behind bigint NOT NULL,
    leased bigint NOT NULL,
    dead bigint NOT NULL,
    held bigint NOT NULL,
    PRIMARY KEY (shard, plugin, origin)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE pauses(
    kind text NOT NULL,
    name text NOT NULL,
    since bigint NOT NULL,
    by_whom bytea NOT NULL,
    why bytea,
    PRIMARY KEY (kind, name)
);
-- Sources that are held, or were, as long as anything is aside still.
CREATE TABLE holds(
    origin text NOT NULL PRIMARY KEY,
    lifted_at bigint                       -- null: it is in force
);
CREATE TABLE notices(
    name bytea NOT NULL PRIMARY KEY,
    raised_at bigint NOT NULL,
    cleared_at bigint,                     -- null: it is not over
    event bytea NOT NULL,                  -- the one that told of it last
    body bytea NOT NULL                    -- of that one
);
-- What is, or was, copied here from another engine's store (`incoming`). Until it is whole no gateway opens this one.
CREATE TABLE copied(
    key int NOT NULL PRIMARY KEY CHECK (key = 1),
    store bytea NOT NULL,                  -- which store,
    state bytea NOT NULL,                  -- and as it was then
    boot bigint NOT NULL,                  -- in `boots`, gone: who has the leases that it had
    part smallint NOT NULL,                -- how far it is
    place bigint NOT NULL,
    whole boolean NOT NULL DEFAULT false
);

-- Schema 2. A released one never changes: add another file, and name it in schema.rs.

-- Transactions, after a restore. A dump brings the numbers of the cluster that it was taken from, which may be above all
-- that this one has given so far. `events.tx` is the number of a transaction here and this much (news).
ALTER TABLE meta ADD COLUMN tx_offset bigint NOT NULL DEFAULT 0;

-- How many milliseconds the time here is ahead of the server's clock: another server that takes over may have one that
-- is behind what the clock of the one before said.
ALTER TABLE meta ADD COLUMN ahead bigint NOT NULL DEFAULT 0;

-- Versions of plugins that gateways share (published). Whoever changes any of it has the row of `sharing` locked: they
-- come one after another, and each sees what all before it left. That is seldom: a version is proposed, a word is said.
CREATE TABLE sharing(
    key int PRIMARY KEY CHECK (key = 1),
    revision bigint NOT NULL               -- grows with each change; proposals are numbered by it
) WITH (fillfactor = 20);
INSERT INTO sharing VALUES (1, 0);
-- Who takes part. Whether it lives is in `beats`.
CREATE TABLE gateways(
    boot bigint NOT NULL PRIMARY KEY,
    name text NOT NULL
);
-- What each of them runs.
CREATE TABLE runs(
    boot bigint NOT NULL,
    plugin text NOT NULL,
    version bytea,                         -- null: its events wait
    standing bytea NOT NULL,
    PRIMARY KEY (boot, plugin)
);
-- Contents, by their SHA-256. What nothing below names goes after a while.
CREATE TABLE modules(
    version bytea NOT NULL PRIMARY KEY,
    put_at bigint NOT NULL,
    content bytea NOT NULL
);
-- What is live for all. A plugin that was removed keeps its row.
CREATE TABLE published(
    plugin text NOT NULL PRIMARY KEY,
    number bigint NOT NULL,                -- of the proposal that it was
    version bytea,                         -- null: it was removed
    trusted boolean NOT NULL,              -- it is on no probation
    pin bytea,                             -- the version that is held
    by_whom text NOT NULL,
    live_at bigint NOT NULL
);
-- Of each plugin the last proposal, as long as it is under way, or if it was refused.
CREATE TABLE proposals(
    plugin text NOT NULL PRIMARY KEY,
    number bigint NOT NULL,
    version bytea,                         -- null: it is to be removed
    trusted boolean NOT NULL,
    hold boolean NOT NULL,
    away bytea,                            -- the version that is turned away for it,
    away_cause text,
    away_reason bytea,
    by_whom text NOT NULL,
    made_at bigint NOT NULL,
    until_at bigint NOT NULL,              -- when its time is up
    refused_by text,                       -- null: it is under way
    refused_reason bytea
);
-- What was said of those.
CREATE TABLE words(
    plugin text NOT NULL,
    boot bigint NOT NULL,
    gateway text NOT NULL,
    word text NOT NULL,
    reason bytea,
    PRIMARY KEY (plugin, boot)
);
-- Versions that were proposed, the last few hundred of each plugin.
CREATE TABLE versions(
    plugin text NOT NULL,
    version bytea NOT NULL,
    number bigint NOT NULL,                -- of the last proposal of it
    from_at bigint,                        -- when it went live last; null: it never did
    until_at bigint,                       -- when another took its place
    away_cause text,                       -- null: it may go live
    away_reason bytea,
    away_at bigint,
    PRIMARY KEY (plugin, version)
);

-- What gateways tell each other (`confer`): for each what it said last, which is as good as gone a few seconds later. One
-- speaks at a time, with the chore's row locked. A crash may lose the last of it, since its commits are not waited for.
CREATE TABLE said(
    boot bytea NOT NULL PRIMARY KEY,       -- the gateway's own name for its boot, which stays when `boots` has another
    heard_at bigint NOT NULL,
    rates text[] NOT NULL,                 -- names of rates, and of each,
    asked bigint[] NOT NULL,               -- how much was asked for of late, in millionths of the rate,
    parts bigint[] NOT NULL,               -- how much it may let through,
    short bigint[] NOT NULL,               -- and how much less that is than it wanted
    plugins text[] NOT NULL,               -- plugins with a breaker that is open, or was closed, and of each
    versions bytea[] NOT NULL,             -- the version that it judges,
    whys text[] NOT NULL,                  -- why it is open, empty if a probe has closed it,
    open_ms bigint[] NOT NULL              -- and for how long it has been
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
INSERT INTO chores VALUES ('confer', 0);

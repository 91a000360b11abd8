-- Schema 2. A released one never changes: add another file, and name it in schema.rs. See schema-1.sql for what is the
-- same of all tables.

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

-- Schema 2. A released one never changes: add another file, and name it in schema.rs.

-- Transactions, after a restore. A dump brings the numbers of the cluster that it was taken from, which may be above all
-- that this one has given so far. `events.tx` is the number of a transaction here and this much (news).
ALTER TABLE meta ADD COLUMN tx_offset bigint NOT NULL DEFAULT 0;

-- How many milliseconds the time here is ahead of the server's clock: another server that takes over may have one that
-- is behind what the clock of the one before said.
ALTER TABLE meta ADD COLUMN ahead bigint NOT NULL DEFAULT 0;

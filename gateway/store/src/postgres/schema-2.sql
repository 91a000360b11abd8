-- Schema 2. A released one never changes: add another file, and name it in schema.rs.

-- Transactions, after a restore. A dump brings the numbers of the cluster that it was taken from, which may be above all
-- that this one has given so far. `events.tx` is the number of a transaction here and this much (news).
ALTER TABLE meta ADD COLUMN tx_offset bigint NOT NULL DEFAULT 0;

-- Schema 2. See schema-1.sql for what holds for all of them.

-- Time ---------------------------------------------------------------------------------------------------------------
-- How many milliseconds the time here is ahead of the server's clock: another server that takes over may have one that
-- is behind what the clock of the one before said.
ALTER TABLE meta ADD COLUMN ahead bigint NOT NULL DEFAULT 0;

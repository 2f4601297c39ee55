-- The producer's span and whether it is sampled, so that spans made of these rows hang where they belong, and what was
-- asked for. Rows of before say that there was no parent.
ALTER TABLE {database}.requests
    ADD COLUMN IF NOT EXISTS parent_span UInt64 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS trace_flags UInt8 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS endpoint LowCardinality(String);

ALTER TABLE {database}.events
    ADD COLUMN IF NOT EXISTS trace_flags UInt8 CODEC(ZSTD(1));

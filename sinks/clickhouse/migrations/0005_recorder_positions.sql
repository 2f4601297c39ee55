-- Up to where every table holds what the trace topic had: the recorder goes on reading there. It may be behind, never
-- ahead: it is written after the rows, and which rows are new is decided by the rows themselves.
CREATE TABLE IF NOT EXISTS {database}.recorder_positions
(
    kp         UInt16,
    next_ko    UInt64,
    written_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(next_ko)
ORDER BY kp
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

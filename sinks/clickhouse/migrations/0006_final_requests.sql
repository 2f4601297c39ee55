-- One row per attempt. A take-over of a request that had already ended tells its row again: the first telling counts.
CREATE VIEW IF NOT EXISTS {database}.attempts AS
SELECT *, minute, ttft_ms, e2e_ms, tpot_ms
FROM {database}.requests
ORDER BY log_ts, kp, ko, ki
LIMIT 1 BY lane_topic, lane_partition, lane_offset, attempt, produced_ts;

-- One row per request: the attempt whose terminal record its reader accepted. Where two attempts wrote one, it is the
-- later hop's: it would not have begun, had the earlier terminal record been before it in the log. An attempt's counts
-- before a processor's (which has no attempt and is only accepted where nobody started).
-- produced_ts is the same in all rows of a request; as a key it lets a range of time reach the table.
CREATE VIEW IF NOT EXISTS {database}.requests_final AS
SELECT *, minute, ttft_ms, e2e_ms, tpot_ms
FROM {database}.requests
WHERE final = 1
ORDER BY hop DESC, attempt = '', finished_us DESC, log_ts, kp, ko, ki
LIMIT 1 BY lane_topic, lane_partition, lane_offset, produced_ts;

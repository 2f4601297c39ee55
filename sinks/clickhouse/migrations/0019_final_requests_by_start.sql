-- Where several attempts of one hop wrote a terminal record, the one whose record readers accepted is not the one that
-- ended last: a worker that was frozen, thought dead and taken over writes its own after that of its successor.
-- Who takes over has read the log and goes on only where its start counts, so such an attempt counts before a fresh one,
-- and of several the one that started last. Of two fresh ones (a request that was dispatched twice) the first counts.
CREATE OR REPLACE VIEW {database}.requests_final AS
SELECT *, minute, ttft_ms, e2e_ms, tpot_ms
FROM {database}.requests
WHERE final = 1
QUALIFY row_number() OVER (
    PARTITION BY produced_ts, lane_offset, lane_partition, lane_topic
    ORDER BY hop DESC, attempt = '', mode = 'fresh', if(mode = 'fresh', 1, -1) * toInt64(started_us), log_ts, kp, ko, ki
) = 1;

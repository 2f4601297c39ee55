-- title: Report: slowest requests
-- The completed requests of the range that took longest, and the station before which each spent most of its time.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
-- parameter: limit UInt32 = 12  how many
WITH
    ['admitted', 'batched', 'dispatched', 'started', 'first token', 'last token', 'finished'] AS stations,
    arrayFilter(
        station -> station.2 > 0,
        arrayZip(stations, [admitted_us, batched_us, dispatched_us, started_us, first_us, last_us, finished_us])
    ) AS reached,
    arrayDifference(arrayPushFront(arrayMap(station -> toInt64(station.2), reached), 0)) AS steps_us
SELECT
    request_id,
    tenant,
    model,
    latency_class,
    worker,
    finished_us / 1000 AS whole_ms,
    ttft_ms AS first_token_ms,
    tokens_out AS tokens_made,
    reached[indexOf(steps_us, arrayMax(steps_us)) - 1].1 AS slow_before,
    arrayMax(steps_us) / 1000 AS slow_ms
FROM (
    SELECT *
    FROM requests_final
    WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime} AND outcome = 'completed' AND finished_us > 0
    ORDER BY finished_us DESC, request_id
    LIMIT {limit:UInt32}
)
ORDER BY finished_us DESC, request_id

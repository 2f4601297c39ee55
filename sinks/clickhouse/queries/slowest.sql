-- title: Slowest requests
-- The completed requests that took longest, and the station before which each spent most of its time.
-- parameter: hours Float64 = 1  how far back
-- parameter: limit UInt32 = 20  how many
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
    round(e2e_ms, 1) AS total_ms,
    round(ttft_ms, 1) AS first_token_ms,
    tokens_out,
    reached[indexOf(steps_us, arrayMax(steps_us)) - 1].1 AS slow_before,
    round(arrayMax(steps_us) / 1000, 1) AS slow_ms
FROM (
    SELECT *, ttft_ms, e2e_ms
    FROM requests_final
    WHERE outcome = 'completed' AND finished_us > 0
        AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    ORDER BY finished_us DESC, request_id
    LIMIT {limit:UInt32}
)
ORDER BY finished_us DESC, request_id

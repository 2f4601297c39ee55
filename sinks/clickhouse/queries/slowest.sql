-- title: Slowest requests
-- The completed requests that took longest, and the station before which each spent most of its time.
-- parameter: hours Float64 = 1  how far back
-- parameter: limit UInt32 = 20  how many
WITH [
        toInt64(admitted_us),
        toInt64(batched_us) - toInt64(admitted_us),
        toInt64(dispatched_us) - toInt64(batched_us),
        toInt64(started_us) - toInt64(dispatched_us),
        toInt64(first_us) - toInt64(started_us),
        toInt64(last_us) - toInt64(first_us),
        toInt64(finished_us) - toInt64(last_us)
    ] AS steps_us
SELECT
    request_id,
    tenant,
    model,
    latency_class,
    worker,
    round(e2e_ms, 1) AS total_ms,
    round(ttft_ms, 1) AS first_token_ms,
    tokens_out,
    ['admitted', 'batched', 'dispatched', 'started', 'first token', 'last token', 'finished'][
        indexOf(steps_us, arrayMax(steps_us))
    ] AS slow_before,
    round(arrayMax(steps_us) / 1000, 1) AS slow_ms
FROM requests_final
WHERE outcome = 'completed' AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
ORDER BY total_ms DESC
LIMIT {limit:UInt32}

-- title: Batch sizes
-- How many requests the batching decisions of each class put together, what filled them and how long they had waited.
-- parameter: hours Float64 = 24  how far back
SELECT
    model,
    latency_class,
    reason,
    count() AS batches,
    sum(size) AS requests,
    round(avg(size), 1) AS mean_size,
    quantileExact(0.5)(size) AS p50_size,
    max(size) AS largest,
    round(avg(size / greatest(size_limit, 1)), 2) AS fill,
    round(quantileTDigest(0.95)(wait_max_us) / 1000, 1) AS wait_p95_ms
FROM batches
WHERE formed_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
GROUP BY model, latency_class, reason
ORDER BY model, latency_class, batches DESC

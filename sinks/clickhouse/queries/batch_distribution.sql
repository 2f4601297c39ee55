-- title: Batch-size distribution and saturation
-- How often batches of each size were formed, how full they were, and the share of them that took all there was room
-- for.
-- parameter: hours Float64 = 24  how far back
SELECT
    model,
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 65535][
        arrayFirstIndex(bound -> size <= bound, [1, 2, 4, 8, 16, 32, 64, 128, 256, 65535])
    ] AS size_up_to,
    count() AS batches,
    sum(size) AS requests,
    round(avg(size / greatest(size_limit, 1)), 3) AS fill,
    round(countIf(size >= size_limit) / count(), 3) AS saturated_ratio,
    round(avg(wait_max_us) / 1000, 1) AS longest_wait_mean_ms,
    round(avg(queue_depth), 1) AS left_waiting_mean
FROM batches
WHERE formed_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
GROUP BY model, size_up_to
ORDER BY model, size_up_to

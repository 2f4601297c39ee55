-- title: What is recorded
-- Rows of each table, the newest of them, and rows of messages of the trace topic that appear twice (always 0).
SELECT
    name AS table,
    sum(n) AS rows,
    max(at) AS newest,
    sum(greatest(toInt64(n) - toInt64(last) - 1, 0)) AS doubled
FROM (
    SELECT 'events' AS name, count() AS n, max(log_ts) AS at, max(ki) AS last FROM events
    GROUP BY kp, ko
    UNION ALL
    SELECT 'requests' AS name, count() AS n, max(log_ts) AS at, max(ki) AS last FROM requests
    GROUP BY kp, ko
    UNION ALL
    SELECT 'batches' AS name, count() AS n, max(log_ts) AS at, max(ki) AS last FROM batches
    GROUP BY kp, ko
    UNION ALL
    SELECT 'engine_steps' AS name, count() AS n, max(log_ts) AS at, max(ki) AS last FROM engine_steps
    GROUP BY kp, ko
    UNION ALL
    SELECT 'gpu_samples' AS name, count() AS n, max(log_ts) AS at, max(ki) AS last FROM gpu_samples
    GROUP BY kp, ko
    UNION ALL
    SELECT 'feedback' AS name, count() AS n, max(log_ts) AS at, max(ki) AS last FROM feedback
    GROUP BY kp, ko
    UNION ALL
    SELECT 'scaling_decisions' AS name, count() AS n, max(log_ts) AS at, max(ki) AS last FROM scaling_decisions
    GROUP BY kp, ko
    UNION ALL
    SELECT 'rollout_decisions' AS name, count() AS n, max(log_ts) AS at, max(ki) AS last FROM rollout_decisions
    GROUP BY kp, ko
    UNION ALL
    SELECT 'texts' AS name, count() AS n, max(log_ts) AS at, max(ki) AS last FROM texts
    GROUP BY kp, ko
)
GROUP BY name
ORDER BY name

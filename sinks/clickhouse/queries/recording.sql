-- title: What is recorded
-- Rows of each table, the newest of them, and messages of the trace topic that appear twice (always 0).
SELECT
    name AS table,
    sum(rows) AS rows,
    max(newest) AS newest,
    sum(doubled) AS doubled
FROM (
    SELECT 'events' AS name, count() AS rows, max(log_ts) AS newest, rows - uniqExact(kp, ko, ki) AS doubled FROM events
    UNION ALL
    SELECT 'requests', count(), max(log_ts), count() - uniqExact(kp, ko, ki) FROM requests
    UNION ALL
    SELECT 'batches', count(), max(log_ts), count() - uniqExact(kp, ko, ki) FROM batches
    UNION ALL
    SELECT 'engine_steps', count(), max(log_ts), count() - uniqExact(kp, ko, ki) FROM engine_steps
)
GROUP BY name
ORDER BY name

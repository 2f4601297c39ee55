-- title: What scaling decisions bought
-- Every decision that changed replicas: why, how long until they were ready, and the wait for a slot of completed
-- requests in the three minutes before it and after that.
-- parameter: hours Float64 = 24  how far back
WITH waits AS (
    SELECT
        toString(model) AS model,
        minute,
        quantileTDigest(0.95)(started_us - admitted_us) / 1000 AS wait_p95_ms
    FROM requests_final
    WHERE outcome = 'completed' AND started_us > 0 AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY model, minute
)
SELECT
    d.ts AS decided,
    d.deployment AS deployment,
    d.action AS action,
    d.replicas_before AS replicas_before,
    d.replicas_after AS replicas_after,
    d.reason AS reason,
    dateDiff('second', d.ts, d.ready_ts) AS ready_after_s,
    round(avgIf(w.wait_p95_ms, w.minute < d.ts AND w.minute >= d.ts - toIntervalMinute(3)), 1) AS wait_p95_before_ms,
    round(
        avgIf(w.wait_p95_ms, w.minute >= d.ready_ts AND w.minute < d.ready_ts + toIntervalMinute(3)), 1
    ) AS wait_p95_after_ms
FROM scaling_decisions AS d
LEFT JOIN waits AS w ON w.model = toString(d.model)
WHERE d.action != 'hold' AND d.ts >= now() - toIntervalSecond(3600 * {hours:Float64})
GROUP BY decided, deployment, action, replicas_before, replicas_after, reason, ready_after_s, d.ts, d.ready_ts
ORDER BY decided

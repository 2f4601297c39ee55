-- title: Not completed, by reason
-- Requests that ended without an answer: how, why, in which lane, and after how long.
-- parameter: hours Float64 = 24  how far back
SELECT
    outcome,
    error_code,
    reason,
    model,
    latency_class,
    count() AS requests,
    uniqExact(tenant) AS tenants,
    round(quantileTDigest(0.5)(finished_us) / 1000, 1) AS told_after_p50_ms,
    max(produced_ts) AS newest
FROM requests_final
WHERE outcome != 'completed' AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
GROUP BY outcome, error_code, reason, model, latency_class
ORDER BY requests DESC, outcome, error_code, reason, model, latency_class

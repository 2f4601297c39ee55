-- title: Report: classes
-- Requests of the range by lane: how they ended, how fast they were, and how many of those that ended met the targets of
-- their class. What was cancelled counts neither way; attainment is NaN where there is no target.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
SELECT
    r.model AS model,
    r.latency_class AS latency_class,
    count() AS requests,
    countIf(outcome = 'completed') AS completed,
    quantilesTDigestIf(0.5, 0.95, 0.99)(r.ttft_ms, outcome = 'completed' AND r.ttft_ms > 0) AS first_token_ms,
    quantileTDigestIf(0.95)(r.tpot_ms, outcome = 'completed' AND r.tpot_ms > 0) AS tpot_p95_ms,
    quantilesTDigestIf(0.5, 0.95, 0.99)(r.e2e_ms, outcome = 'completed') AS whole_ms,
    any(t.ttft_ms) AS target_ttft_ms,
    any(t.tpot_ms) AS target_tpot_ms,
    any(t.e2e_ms) AS target_e2e_ms,
    any(t.objective_ratio) AS objective,
    countIf(
        outcome = 'completed'
        AND (t.ttft_ms = 0 OR r.ttft_ms <= t.ttft_ms)
        AND (t.tpot_ms = 0 OR r.tpot_ms <= t.tpot_ms)
        AND (t.e2e_ms = 0 OR r.e2e_ms <= t.e2e_ms)
    ) AS good,
    countIf(outcome != 'cancelled') AS counted,
    if(target_ttft_ms + target_tpot_ms + target_e2e_ms > 0, good / counted, nan) AS attainment
FROM requests_final AS r
LEFT JOIN (SELECT * FROM slo_targets FINAL) AS t ON t.model = r.model AND t.latency_class = r.latency_class
WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime}
GROUP BY model, latency_class
ORDER BY model, latency_class

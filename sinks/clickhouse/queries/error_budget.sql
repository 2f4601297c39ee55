-- title: Error budget
-- Per model and class: how many requests may miss their promise over the range, how many did, and what is left; below 0
-- the objective is missed already.
-- parameter: days Float64 = 30  how far back
SELECT
    model,
    latency_class,
    objective_ratio,
    requests,
    missed,
    round(requests * (1 - objective_ratio), 1) AS may_miss,
    round(1 - missed / greatest(requests * (1 - objective_ratio), 1e-9), 4) AS left_ratio
FROM (
    SELECT
        r.model AS model,
        r.latency_class AS latency_class,
        any(s.objective_ratio) AS objective_ratio,
        count() AS requests,
        countIf(
            r.outcome != 'completed'
            OR (s.ttft_ms > 0 AND r.answer_first_us > s.ttft_ms * 1000)
            OR (s.tpot_ms > 0 AND r.tpot_ms > s.tpot_ms)
            OR (s.e2e_ms > 0 AND r.finished_us > s.e2e_ms * 1000)
        ) AS missed
    FROM requests_final AS r
    SEMI LEFT JOIN (SELECT * FROM slo_targets FINAL) AS s ON s.model = r.model AND s.latency_class = r.latency_class
    WHERE r.outcome != 'cancelled' AND r.produced_ts >= now() - toIntervalSecond(86400 * {days:Float64})
    GROUP BY model, latency_class
)
ORDER BY left_ratio

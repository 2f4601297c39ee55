-- title: SLO attainment and burn rate
-- Share of requests that kept what their class is promised, and how many times faster than allowed the error budget
-- was used over 5 minutes, an hour and the whole range; above 14.4 over both short ones, somebody should look at once.
-- It is empty where no request ended.
-- parameter: hours Float64 = 6  how far back
WITH nullIf(1 - objective_ratio, 0) AS allowed_ratio
SELECT
    model,
    latency_class,
    objective_ratio,
    sum(requests) AS counted,
    sum(kept) AS kept_promise,
    round(kept_promise / counted, 4) AS attained_ratio,
    round((1 - kept_promise / counted) / allowed_ratio, 2) AS burn_rate,
    round((1 - sumIf(kept, is_hour) / nullIf(sumIf(requests, is_hour), 0)) / allowed_ratio, 2) AS burn_rate_1h,
    round((1 - sumIf(kept, is_recent) / nullIf(sumIf(requests, is_recent), 0)) / allowed_ratio, 2) AS burn_rate_5m,
    toUInt8(ifNull(burn_rate_1h > 14.4 AND burn_rate_5m > 14.4, 0)) AS is_urgent
FROM (
    SELECT
        r.model AS model,
        r.latency_class AS latency_class,
        any(s.objective_ratio) AS objective_ratio,
        r.minute >= now() - toIntervalHour(1) AS is_hour,
        r.minute >= now() - toIntervalMinute(5) AS is_recent,
        count() AS requests,
        countIf(
            r.outcome = 'completed'
            AND (s.ttft_ms = 0 OR r.answer_first_us <= s.ttft_ms * 1000)
            AND (s.tpot_ms = 0 OR r.tpot_ms <= s.tpot_ms)
            AND (s.e2e_ms = 0 OR r.finished_us <= s.e2e_ms * 1000)
        ) AS kept
    FROM requests_final AS r
    SEMI LEFT JOIN (SELECT * FROM slo_targets FINAL) AS s ON s.model = r.model AND s.latency_class = r.latency_class
    WHERE r.outcome != 'cancelled' AND r.produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY model, latency_class, is_hour, is_recent
)
GROUP BY model, latency_class, objective_ratio
ORDER BY model, latency_class

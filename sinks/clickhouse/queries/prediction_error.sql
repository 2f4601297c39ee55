-- title: Prediction error of the scheduler
-- How far the first token was from what the processor had predicted when it dispatched the request, of requests that
-- one dispatch served: above 0 it came later than predicted.
-- parameter: hours Float64 = 1  how far back
SELECT
    model,
    latency_class,
    count() AS requests,
    round(avg(actual_ms - predicted_ms), 2) AS mean_error_ms,
    round(quantileTDigest(0.5)(abs(actual_ms - predicted_ms)), 2) AS absolute_error_p50_ms,
    round(quantileTDigest(0.95)(abs(actual_ms - predicted_ms)), 2) AS absolute_error_p95_ms,
    round(avg(abs(actual_ms - predicted_ms) / greatest(actual_ms, 1)), 4) AS relative_error_mean,
    round(countIf(actual_ms > predicted_ms) / count(), 4) AS later_than_predicted_ratio
FROM (
    SELECT
        any(model) AS model,
        any(latency_class) AS latency_class,
        anyIf(value, is_prediction) AS predicted_ms,
        anyIf(value, NOT is_prediction) AS actual_ms
    FROM (
        SELECT
            sipHash64(request_id) AS request,
            model,
            latency_class,
            1 AS is_prediction,
            simpleJSONExtractFloat(detail, 'predicted_ttft_s') * 1000 AS value
        FROM events
        WHERE kind = 'request.dispatched' AND detail LIKE '%predicted_ttft_s%'
            AND toStartOfMinute(ts) >= now() - toIntervalSecond(3600 * {hours:Float64})
        UNION ALL
        SELECT
            sipHash64(request_id) AS request,
            model,
            latency_class,
            0 AS is_prediction,
            toFloat64(first_us) / 1000 AS value
        FROM requests_final
        WHERE outcome = 'completed' AND attempt != ''
            AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    )
    GROUP BY request
    HAVING countIf(is_prediction) = 1 AND countIf(NOT is_prediction) = 1
)
GROUP BY model, latency_class
ORDER BY model, latency_class

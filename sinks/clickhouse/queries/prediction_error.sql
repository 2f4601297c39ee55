-- title: Prediction error of the scheduler
-- How far requests were from what the processor had predicted when it dispatched them, counted from that decision on:
-- the first token where engines batch continuously, the end of the batch where they run batches to completion. Of
-- requests that one dispatch served from the beginning; above 0 they came later than predicted.
-- parameter: hours Float64 = 1  how far back
SELECT
    model,
    latency_class,
    if(is_batch, 'batch', 'first token') AS predicted,
    count() AS requests,
    round(avg(actual_ms - predicted_ms), 2) AS mean_error_ms,
    round(quantilesTDigest(0.5, 0.95)(abs(actual_ms - predicted_ms))[1], 2) AS absolute_error_p50_ms,
    round(quantilesTDigest(0.5, 0.95)(abs(actual_ms - predicted_ms))[2], 2) AS absolute_error_p95_ms,
    round(avg(abs(actual_ms - predicted_ms) / greatest(actual_ms, 1)), 4) AS relative_error_mean,
    round(countIf(actual_ms > predicted_ms) / count(), 4) AS later_than_predicted_ratio
FROM (
    SELECT
        any(model) AS model,
        any(latency_class) AS latency_class,
        max(by_batch) AS is_batch,
        sum(told_ms) AS predicted_ms,
        argMin(was_ms, acceptance) AS actual_ms
    FROM (
        SELECT
            cityHash64(tenant, model, request_id) AS request,
            model,
            latency_class,
            1 AS predictions,
            simpleJSONExtractFloat(detail, 'predicted_ttft_s') AS ttft_s,
            ttft_s = 0 AS by_batch,
            1000 * if(
                by_batch,
                simpleJSONExtractFloat(detail, 'starts_in_s') + simpleJSONExtractFloat(detail, 'service_s'),
                ttft_s
            ) AS told_ms,
            nan AS was_ms,
            toUInt64(0) AS place,
            9223372036854775807 AS acceptance
        FROM events
        WHERE kind = 'request.dispatched' AND detail != '' AND told_ms > 0
            AND toStartOfMinute(ts) >= now() - toIntervalSecond(3600 * {hours:Float64})
        UNION ALL
        SELECT
            cityHash64(tenant, model, request_id) AS request,
            model,
            latency_class,
            0 AS predictions,
            0. AS ttft_s,
            0 AS by_batch,
            0. AS told_ms,
            if(
                outcome = 'completed' AND attempt != '' AND mode = 'fresh' AND batched_us > 0,
                (toFloat64(if(first_us > 0, first_us, finished_us)) - toFloat64(batched_us)) / 1000,
                nan
            ) AS was_ms,
            cityHash64(lane_topic, lane_partition, lane_offset) AS place,
            acceptance
        FROM requests
        WHERE final = 1 AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    )
    GROUP BY request
    HAVING sum(predictions) = 1 AND NOT isNaN(actual_ms)
        AND minIf(place, predictions = 0) = maxIf(place, predictions = 0)
)
GROUP BY model, latency_class, predicted
ORDER BY model, latency_class, predicted

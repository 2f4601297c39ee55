-- title: Queue depth
-- By minute, model and class: requests that waited in the processor, as each arrival found them.
-- parameter: hours Float64 = 1  how far back
SELECT
    toStartOfMinute(ts) AS minute,
    model,
    latency_class,
    count() AS arrivals,
    round(avg(queue_depth), 1) AS mean_depth,
    max(queue_depth) AS largest_depth
FROM events
WHERE kind = 'request.admitted' AND toStartOfMinute(ts) >= now() - toIntervalSecond(3600 * {hours:Float64})
GROUP BY toStartOfMinute(ts), model, latency_class
ORDER BY minute, model, latency_class

-- title: GPU time without a price
-- By type of GPU: hours that workers report and gpu_prices has no price for. They count as nothing in every other
-- question about money. Empty: all that was paid for has a price.
-- parameter: hours Float64 = 24  how far back
-- parameter: plan String = on_demand  reserved or on_demand prices
SELECT
    gpu,
    round(sum(paid) / 3.6e12, 6) AS gpu_hours,
    min(hour) AS first_hour,
    max(hour) AS last_hour
FROM (
    SELECT toString(gpu) AS gpu, toStartOfHour(toStartOfMinute(ts)) AS hour, sum(paid_ns) AS paid
    FROM gpu_samples
    WHERE toStartOfMinute(ts) >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY gpu, hour
)
WHERE paid > 0 AND dictGetOrNull('gpu_price', 'usd_per_gpu_hour', (gpu, {plan:String}), hour) IS NULL
GROUP BY gpu
ORDER BY gpu_hours DESC, gpu

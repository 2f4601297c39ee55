-- title: What idle and loading time costs
-- By model, type of GPU and hour: GPU hours paid for, the share that was busy, and what the idle and the loading rest
-- cost.
-- parameter: hours Float64 = 24  how far back
-- parameter: plan String = on_demand  reserved or on_demand prices
SELECT
    model,
    gpu,
    hour,
    round(paid / 3.6e12, 6) AS gpu_hours,
    round(busy / greatest(paid, 1), 4) AS busy_ratio,
    round(paid / 3.6e12 * price, 6) AS paid_usd,
    round(busy / 3.6e12 * price, 6) AS busy_usd,
    round(idle / 3.6e12 * price, 6) AS idle_usd,
    round(loading / 3.6e12 * price, 6) AS loading_usd
FROM (
    SELECT
        model,
        gpu,
        toStartOfHour(minute) AS hour,
        sum(paid_ns) AS paid,
        sum(busy_ns) AS busy,
        sum(idle_ns) AS idle,
        sum(loading_ns) AS loading,
        dictGetOrDefault('gpu_price', 'usd_per_gpu_hour', (gpu, {plan:String}), hour, 0.) AS price
    FROM (
        SELECT
            toString(model) AS model,
            toString(gpu) AS gpu,
            toStartOfMinute(ts) AS minute,
            sum(paid_ns) AS paid_ns,
            sum(busy_ns) AS busy_ns,
            sum(idle_ns) AS idle_ns,
            sum(loading_ns) AS loading_ns
        FROM gpu_samples
        WHERE toStartOfMinute(ts) >= now() - toIntervalSecond(3600 * {hours:Float64})
        GROUP BY model, gpu, toStartOfMinute(ts)
    )
    GROUP BY model, gpu, hour
)
ORDER BY hour, model, gpu

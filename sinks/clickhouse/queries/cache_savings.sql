-- title: What caches save
-- By model: prompt tokens that the engines had cached and requests that were answered out of the cache of answers or
-- along with an equal one, and the GPU time and money that they would have taken: a cached prompt token as much as one
-- that was computed (fitted, by type of GPU, to the time of the engines' steps), an answer as much as the mean of
-- those that were computed. Empty where the steps do not tell the time of a prompt token, or no answer was computed.
-- parameter: hours Float64 = 24  how far back
-- parameter: plan String = on_demand  reserved or on_demand prices
WITH
    -- Time = a * steps + b * prompt tokens + c * tokens out, least squares. In cosines of the columns, b is what prompt
    -- tokens explain beyond the other two, and `apart` the share of them that the other two do not explain: too little
    -- of it, and b is noise. The millionth keeps b where steps and tokens out go together, as with a constant batch.
    fitted AS (
        WITH
            1.000001 AS one,
            one * one - sd * sd AS others,
            one - (one * (sp * sp + pd * pd) - 2 * sd * sp * pd) / others AS apart,
            py - (one * (sp * sy + pd * dy) - sd * (sp * dy + pd * sy)) / others AS beyond
        SELECT
            model,
            gpu,
            if(reports >= 10 AND apart > 0.001, greatest(beyond / apart, 0) * sqrt(yy / pp), NULL) AS prompt_token_us
        FROM (
            SELECT
                s.model AS model,
                g.gpu AS gpu,
                sum(s.n) AS reports,
                sum(s.yy) AS yy,
                sum(s.pp) AS pp,
                sum(s.sp) / sqrt(sum(s.ss) * pp) AS sp,
                ifNotFinite(sum(s.sd) / sqrt(sum(s.ss) * sum(s.dd)), 0) AS sd,
                ifNotFinite(sum(s.pd) / sqrt(pp * sum(s.dd)), 0) AS pd,
                sum(s.sy) / sqrt(sum(s.ss) * yy) AS sy,
                sum(s.py) / sqrt(pp * yy) AS py,
                ifNotFinite(sum(s.dy) / sqrt(sum(s.dd) * yy), 0) AS dy
            FROM (
                WITH
                    toFloat64(steps) AS s,
                    toFloat64(prefill_tokens) AS p,
                    toFloat64(decode_tokens) AS d,
                    toFloat64(busy_us) * gpus AS y
                SELECT
                    toString(model) AS model,
                    toString(worker) AS worker,
                    count() AS n,
                    sum(s * s) AS ss,
                    sum(p * p) AS pp,
                    sum(d * d) AS dd,
                    sum(y * y) AS yy,
                    sum(s * p) AS sp,
                    sum(s * d) AS sd,
                    sum(p * d) AS pd,
                    sum(s * y) AS sy,
                    sum(p * y) AS py,
                    sum(d * y) AS dy
                FROM engine_steps
                WHERE steps > 0 AND ts >= now() - toIntervalSecond(3600 * {hours:Float64})
                GROUP BY model, worker
            ) AS s
            LEFT JOIN worker_gpus AS g ON g.worker = s.worker
            GROUP BY model, gpu
        )
    ),
    used AS (
        SELECT
            u.model AS model,
            g.gpu AS gpu,
            dictGetOrDefault('gpu_price', 'usd_per_gpu_hour', (g.gpu, {plan:String}), u.hour, 0.) / 3.6e12 AS usd_per_ns,
            sum(u.requests) AS requests,
            sum(u.prompt) AS prompt,
            sum(u.cached) AS cached,
            sum(u.without) AS without,
            sum(u.computed) AS computed,
            sum(u.computed_ns) AS computed_ns
        FROM (
            SELECT
                toString(model) AS model,
                toString(worker) AS worker,
                toStartOfHour(produced_ts) AS hour,
                count() AS requests,
                sum(tokens_in) AS prompt,
                sumIf(tokens_cached, gpu_ns > 0) AS cached,
                countIf(outcome = 'completed' AND (attempt = '' OR reason IN ('coalesced', 'attached'))) AS without,
                countIf(outcome = 'completed' AND gpu_ns > 0) AS computed,
                sumIf(gpu_ns, outcome = 'completed') AS computed_ns
            FROM requests_final
            WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
            GROUP BY model, worker, hour
        ) AS u
        LEFT JOIN worker_gpus AS g ON g.worker = u.worker
        GROUP BY model, gpu, usd_per_ns
    ),
    used.cached * ifNull(fitted.prompt_token_us, 0) * 1e3 AS prompt_ns,
    if(countIf(used.cached > 0 AND fitted.prompt_token_us IS NULL) = 0, 1, NULL) AS told,
    if(answered_without_engine > 0, answered_without_engine / nullIf(sum(used.computed), 0), 0) AS per_computed
SELECT
    used.model AS model,
    sum(used.requests) AS requests,
    sum(used.cached) AS cached_tokens,
    round(cached_tokens / greatest(sum(used.prompt), 1), 4) AS cached_tokens_ratio,
    sum(used.without) AS answered_without_engine,
    round(sum(prompt_ns) * told / 1e9, 3) AS prompt_s_saved,
    round(sum(used.computed_ns) * per_computed / 1e9, 3) AS answer_s_saved,
    round(sum(prompt_ns * used.usd_per_ns) * told + sum(used.computed_ns * used.usd_per_ns) * per_computed, 6)
        AS usd_saved
FROM used
LEFT JOIN fitted ON fitted.model = used.model AND fitted.gpu = used.gpu
GROUP BY model
ORDER BY usd_saved DESC NULLS LAST, model

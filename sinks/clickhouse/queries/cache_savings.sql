-- title: What caches save
-- By model: prompt tokens that the engines had cached and requests that were answered out of the cache of answers or
-- along with an equal one, and the engine time and money that they would have taken: a cached prompt token as much as
-- a computed one (fitted to the engines' seconds), an answer as much as the mean of those that were computed.
-- parameter: hours Float64 = 24  how far back
-- parameter: plan String = on_demand  reserved or on_demand prices
WITH
    fitted AS (
        SELECT
            toString(model) AS model,
            greatest(
                (covarSamp(prefill_tokens, busy_us) * varSamp(decode_tokens)
                    - covarSamp(decode_tokens, busy_us) * covarSamp(prefill_tokens, decode_tokens))
                / nullIf(
                    varSamp(prefill_tokens) * varSamp(decode_tokens)
                        - covarSamp(prefill_tokens, decode_tokens) * covarSamp(prefill_tokens, decode_tokens),
                    0
                ),
                0
            ) AS us_per_prompt_token,
            any(gpus) AS gpus
        FROM engine_steps
        WHERE ts >= now() - toIntervalSecond(3600 * {hours:Float64}) AND steps > 0
        GROUP BY model
    ),
    priced AS (
        SELECT
            toString(model) AS model,
            avg(dictGetOrDefault('gpu_price', 'usd_per_gpu_hour', (toString(gpu), {plan:String}), now(), 0.))
                AS usd_per_gpu_hour
        FROM (SELECT model, gpu FROM gpu_samples GROUP BY model, gpu)
        GROUP BY model
    ),
    used AS (
        SELECT
            toString(model) AS model,
            count() AS requests,
            sum(tokens_in) AS prompt_tokens,
            sumIf(tokens_cached, gpu_ns > 0) AS cached_tokens,
            countIf(outcome = 'completed' AND (attempt = '' OR reason IN ('coalesced', 'attached'))) AS without_engine,
            avgIf(gpu_ns, gpu_ns > 0 AND outcome = 'completed') AS mean_ns
        FROM requests_final
        WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
        GROUP BY model
    )
SELECT
    used.model AS model,
    used.requests AS requests,
    used.cached_tokens AS cached_tokens,
    round(used.cached_tokens / greatest(used.prompt_tokens, 1), 4) AS cached_tokens_ratio,
    used.without_engine AS answered_without_engine,
    round(ifNull(used.cached_tokens * fitted.us_per_prompt_token * fitted.gpus / 1e6, 0), 3) AS prompt_s_saved,
    round(ifNull(used.without_engine * used.mean_ns / 1e9, 0), 3) AS answer_s_saved,
    round((prompt_s_saved + answer_s_saved) / 3600 * priced.usd_per_gpu_hour, 6) AS usd_saved
FROM used
LEFT JOIN fitted ON fitted.model = used.model
LEFT JOIN priced ON priced.model = used.model
ORDER BY usd_saved DESC, model

-- title: Where time goes
-- Share of the whole time of completed requests that was spent before each station, by model and class. Where several
-- attempts served one, what lies before the last of them is in `other`.
-- parameter: hours Float64 = 24  how far back
SELECT
    model,
    latency_class,
    requests,
    round(total_us / requests / 1000, 1) AS mean_ms,
    round(100 * queued_us / total_us, 1) AS before_admission_pct,
    round(100 * waited_us / total_us, 1) AS waiting_for_a_batch_pct,
    round(100 * slot_us / total_us, 1) AS in_a_slot_pct,
    round(100 * prefill_us / total_us, 1) AS first_token_pct,
    round(100 * decode_us / total_us, 1) AS further_tokens_pct,
    round(100 * (total_us - queued_us - waited_us - slot_us - prefill_us - decode_us) / total_us, 1) AS other_pct
FROM (
    SELECT
        model,
        latency_class,
        count() AS requests,
        greatest(sum(finished_us), 1) AS total_us,
        sum(admitted_us) AS queued_us,
        sumIf(toInt64(batched_us) - toInt64(admitted_us), batched_us > 0 AND mode = 'fresh') AS waited_us,
        sumIf(toInt64(started_us) - toInt64(batched_us), started_us > 0 AND batched_us > 0 AND mode = 'fresh') AS slot_us,
        sumIf(toInt64(first_us) - toInt64(started_us), first_us > 0 AND started_us > 0) AS prefill_us,
        sumIf(toInt64(last_us) - toInt64(first_us), first_us > 0) AS decode_us
    FROM requests_final
    WHERE outcome = 'completed' AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY model, latency_class
)
ORDER BY model, latency_class

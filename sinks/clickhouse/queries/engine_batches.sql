-- title: Engine batches
-- How many sequences the engine's steps ran together, and how long a step took: batches as the GPU saw them.
-- parameter: hours Float64 = 24  how far back
SELECT
    deployment,
    worker,
    sum(steps) AS steps_run,
    round(sum(decode_tokens) / greatest(sum(steps), 1), 1) AS mean_batch,
    max(running_max) AS largest_batch,
    max(waiting_max) AS most_waiting,
    round(sum(busy_us) / 1e6, 1) AS busy_s,
    round(sum(busy_us) / 1e3 / greatest(sum(steps), 1), 1) AS step_ms
FROM engine_steps
WHERE ts >= now() - toIntervalSecond(3600 * {hours:Float64})
GROUP BY deployment, worker
ORDER BY deployment, worker

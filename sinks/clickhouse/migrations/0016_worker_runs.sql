-- Which GPUs a worker has, to know the price of its time.
CREATE VIEW IF NOT EXISTS {database}.worker_gpus AS
SELECT toString(worker) AS worker, any(toString(gpu)) AS gpu
FROM (SELECT worker, gpu FROM {database}.gpu_samples GROUP BY worker, gpu)
GROUP BY worker;

-- Every start of a worker and what it was paid for. A run that says nothing of its end although its worker began again
-- has crashed: gap_ns is paid from its last report until then, and nobody knows what for. told_us is what its rows
-- cover; where it is less than from begins to reported_to, rows are missing.
CREATE VIEW IF NOT EXISTS {database}.worker_runs AS
SELECT
    *,
    leadInFrame(begins, 1, toDateTime64(0, 6, 'UTC')) OVER (
        PARTITION BY worker ORDER BY begins ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    ) AS next_begins,
    multiIf(last_state = 'stopped', 'stopped', toUnixTimestamp64Micro(next_begins) > 0, 'crashed', 'running') AS ended,
    if(
        ended = 'crashed',
        toUInt64(
            greatest(toUnixTimestamp64Micro(next_begins) - toUnixTimestamp64Micro(reported_to), 0)
        ) * 1000 * gpus,
        toUInt64(0)
    ) AS gap_ns
FROM (
    SELECT
        toString(worker) AS worker,
        toString(run) AS run,
        toString(model) AS model,
        toString(deployment) AS deployment,
        toString(gpu) AS gpu,
        gpus,
        min(since_ts) AS begins,
        max(ts) AS reported_to,
        argMax(state, ts) AS last_state,
        sum(toUnixTimestamp64Micro(ts) - toUnixTimestamp64Micro(since_ts)) AS told_us,
        sum(paid_ns) AS paid_ns,
        sum(loading_ns) AS loading_ns,
        sum(busy_ns) AS busy_ns,
        sum(idle_ns) AS idle_ns,
        sum(settled_ns) AS settled_ns
    FROM {database}.gpu_samples
    GROUP BY worker, run, model, deployment, gpu, gpus
);

"""Workers: how full their engines and GPUs are, and which of them ended how."""

from infra.grafana.model import MODEL, Board, Panel

_STEPS = "$__timeFilter(ts) AND model IN (${model:singlequote})"

BOARD = Board(
    uid="millrace-workers",
    title="Millrace: workers",
    about="Engines, GPUs, and starts of workers. Engine steps are kept for 30 days.",
    variables=(MODEL,),
    panels=(
        Panel(
            title="Engine busy",
            kind="timeseries",
            unit="percentunit",
            about="Share of time in which the engine worked on at least one sequence, by worker.",
            sql=f"""
SELECT $__timeInterval(ts) AS time, worker AS line, sum(busy_us) / greatest(sum(interval_us), 1) AS busy
FROM engine_steps
WHERE {_STEPS}
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Sequences running",
            kind="timeseries",
            decimals=0,
            about="Most at once, by worker. Low beside a full queue: look at the reasons of the lanes.",
            sql=f"""
SELECT $__timeInterval(ts) AS time, worker AS line, max(running_max) AS running
FROM engine_steps
WHERE {_STEPS}
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="KV cache in use",
            kind="timeseries",
            unit="percentunit",
            about="Share of the engine's cache of keys and values that is taken, by worker. At 1 it preempts.",
            sql=f"""
SELECT $__timeInterval(ts) AS time, worker AS line, max(kv_usage_ratio) AS used
FROM engine_steps
WHERE {_STEPS}
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Step time",
            kind="timeseries",
            unit="ms",
            about="Mean time of an engine step, by worker; none while it is idle.",
            sql=f"""
SELECT $__timeInterval(ts) AS time, worker AS line, sum(busy_us) / nullIf(sum(steps), 0) / 1000 AS step
FROM engine_steps
WHERE {_STEPS}
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Tokens computed",
            kind="timeseries",
            unit="suffix:tok/s",
            about="Over all workers: prompts (prefill) and answers (decode).",
            sql=f"""
SELECT $__timeInterval(ts) AS time,
    sum(prefill_tokens) / $__interval_s AS prefill, sum(decode_tokens) / $__interval_s AS decode
FROM engine_steps
WHERE {_STEPS}
GROUP BY time
ORDER BY time""",
        ),
        Panel(
            title="Attempts that ended early",
            kind="timeseries",
            unit="cps",
            counts=True,
            about="Attempts without a terminal record: handed back, parked, dead. Frequent: look at the workers' logs.",
            sql="""
SELECT $__timeInterval(produced_ts) AS time, outcome AS line, count() / $__interval_s AS attempts
FROM attempts
WHERE final = 0 AND $__timeFilter(produced_ts) AND model IN (${model:singlequote})
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="GPU utilization",
            kind="timeseries",
            unit="percentunit",
            about="As the driver tells it, by worker; 0 where it tells nothing.",
            sql=f"""
SELECT $__timeInterval(ts) AS time, worker AS line, avg(utilization_ratio) AS used
FROM gpu_samples
WHERE {_STEPS}
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="GPU memory",
            kind="timeseries",
            unit="bytes",
            about="Memory in use by worker; 0 where the driver tells nothing.",
            sql=f"""
SELECT $__timeInterval(ts) AS time, worker AS line, max(memory_bytes) AS memory
FROM gpu_samples
WHERE {_STEPS}
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="GPU power",
            kind="timeseries",
            unit="watt",
            about="Mean power by worker; 0 where the driver tells nothing.",
            sql=f"""
SELECT $__timeInterval(ts) AS time, worker AS line, avg(power_w) AS power
FROM gpu_samples
WHERE {_STEPS}
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Starts of workers",
            kind="table",
            width=24,
            about="Every start that reported in the range, whole: how it ended and where its GPU time went.",
            sql="""
SELECT worker, run, deployment, gpu, gpus, begins, reported_to, ended,
    round(paid_ns / 1e9, 1) AS paid_s, round(busy_ns / 1e9, 1) AS busy_s, round(idle_ns / 1e9, 1) AS idle_s,
    round(loading_ns / 1e9, 1) AS loading_s, round(gap_ns / 1e9, 1) AS unobserved_s
FROM worker_runs
WHERE reported_to >= $__fromTime AND begins <= $__toTime AND model IN (${model:singlequote})
ORDER BY begins DESC
LIMIT 100""",
        ),
    ),
)

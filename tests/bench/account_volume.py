"""Half a million requests and five million events over a day, made by the engine itself. Two of ten workers crash.

Its rows come from a partition of their own, so that a recorder can go on beside them.
"""

from collections.abc import Iterator
from typing import Final

from tests.account_data.filling import minutes_computed

WORKERS: Final = 10
DAY_S: Final = 86_400

_ADDRESS = "toUInt16(9) AS kp, toUInt64({base} + intDiv(n, 500)) AS ko, toUInt32(n % 500) AS ki, "
_PRODUCED = "(toDateTime64(now(), 6, 'UTC') - toIntervalMicrosecond(toUInt64((1 - n / {count}) * 86300 * 1000000)))"

_REQUESTS = """
INSERT INTO {db}.requests (kp, ko, ki, log_ts, request_id, lane_topic, lane_partition, lane_offset, attempt, final,
    hop, mode,
    trace_id, tenant, latency_class, model, deployment, worker, batch_id, batch_size, produced_ts, admitted_us,
    batched_us,
    dispatched_us, started_us, first_us, last_us, finished_us, deadline_us, tokens_in, tokens_cached, tokens_out,
    chunks,
    outcome, finish_reason, error_code, reason, gpu_ns)
SELECT {address} toDateTime64(produced_ts, 3, 'UTC') AS log_ts,
    concat('r', toString(n)) AS request_id,
    concat('inference.requests.', model, '.', latency_class) AS lane_topic, toUInt64(0) AS lane_partition,
    toUInt64(n) AS lane_offset,
    if(h % 100 < 3, '', concat('a', toString(n))) AS attempt, toUInt8(h % 50 != 7) AS final,
    toUInt64(h % 200 = 9) AS hop,
    'fresh' AS mode, toFixedString(unhex(lower(hex(sipHash128(n)))), 16) AS trace_id,
    concat('tenant-', toString(h % 40)) AS tenant, ['realtime', 'interactive', 'bulk'][h % 3 + 1] AS latency_class,
    ['tiny', 'large'][n % 2 + 1] AS model, concat(model, if(h % 10 < 3, '@v2', '@v1')) AS deployment,
    if(attempt = '', '', concat(model, '-', toString(h % 5))) AS worker,
    concat('b', toString(intDiv(n, 8))) AS batch_id, toUInt64(8) AS batch_size,
    {produced} AS produced_ts, toUInt64(1000 + h % 5000) AS admitted_us, admitted_us + h % 90000 AS batched_us,
    batched_us + 900 AS dispatched_us, dispatched_us + h % 7000 AS started_us,
    started_us + 30000 + h % 600000 AS first_us,
    first_us + tokens_out * (20000 + h % 30000) AS last_us, last_us + 900 AS finished_us,
    toUInt64(60000000) AS deadline_us,
    toUInt64(20 + h % 900) AS tokens_in, if(h % 4 = 0, intDiv(tokens_in, 2), 0) AS tokens_cached,
    toUInt64(2 + h % 200) AS tokens_out, tokens_out AS chunks,
    multiIf(final = 0, 'returned', attempt = '', 'rejected', h % 70 = 1, 'cancelled', h % 90 = 2, 'failed', 'completed')
        AS outcome,
    if(outcome = 'completed', 'stop', '') AS finish_reason, if(outcome = 'rejected', 'queue_full', '') AS error_code,
    error_code AS reason, if(attempt = '', 0, 1000000 + h % 900000000) AS gpu_ns
FROM (SELECT number AS n, sipHash64(number) AS h FROM numbers({first}, {size}))
"""

_EVENTS = """
INSERT INTO {db}.events (kp, ko, ki, log_ts, ts, kind, component, process, trace_id, request_id, origin, attempt,
    tenant,
    latency_class, model, deployment, worker, batch_id, batch_size, tokens_in, tokens_out, duration_us,
    queue_depth, running,
    outcome, error_code, reason, detail)
SELECT {address} toDateTime64(ts, 3, 'UTC') AS log_ts, {produced} AS ts,
    ['request.admitted', 'request.dispatched', 'attempt.started', 'request.finished', 'lane.deferred', 'request.queued',
     'slot.owned', 'request.admitted', 'attempt.progress', 'request.dispatched'][n % 10 + 1] AS kind,
    if(n % 10 < 2, 'processor', 'worker') AS component, 'p1' AS process,
    toFixedString(unhex(lower(hex(sipHash128(intDiv(n, 10))))), 16) AS trace_id,
    concat('r', toString(intDiv(n, 10))) AS request_id,
    concat('inference.requests.', model, '.', latency_class, '/0/', toString(intDiv(n, 10))) AS origin,
    concat('a', toString(intDiv(n, 10))) AS attempt, concat('tenant-', toString(h % 40)) AS tenant,
    ['realtime', 'interactive', 'bulk'][h % 3 + 1] AS latency_class, ['tiny', 'large'][intDiv(n, 10) % 2 + 1] AS model,
    concat(model, '@v1') AS deployment, concat(model, '-', toString(h % 5)) AS worker,
    concat('b', toString(intDiv(n, 80))) AS batch_id, toUInt64(8) AS batch_size, toUInt64(h % 900) AS tokens_in,
    toUInt64(h % 200) AS tokens_out, toUInt64(h % 100000) AS duration_us, toUInt64(h % 50) AS queue_depth,
    toUInt64(h % 32) AS running, '' AS outcome, '' AS error_code, '' AS reason,
    if(n % 10 = 1, concat('{{"predicted_ttft_s":', toString(0.03 + (h % 600) / 1000), '}}'), '') AS detail
FROM (SELECT number AS n, sipHash64(intDiv(number, 10)) AS h FROM numbers({first}, {size}))
"""

_BATCHES = """
INSERT INTO {db}.batches
SELECT {address} toDateTime64(formed_ts, 3, 'UTC') AS log_ts, concat('b', toString(n)) AS batch_id,
    {produced} AS formed_ts,
    ['tiny', 'large'][n % 2 + 1] AS model, concat(model, '@v1') AS deployment,
    ['realtime', 'interactive', 'bulk'][h % 3 + 1] AS latency_class, concat(model, '-', toString(h % 5)) AS worker,
    'p1' AS processor, toUInt64(1 + h % 16) AS size, toUInt64(16) AS size_limit, toUInt64(h % 4000) AS tokens_in,
    toUInt64(h % 90000) AS wait_max_us, toUInt64(h % 500000) AS wait_sum_us, toUInt64(h % 40) AS queue_depth,
    ['full', 'credit', 'deadline'][h % 3 + 1] AS reason
FROM (SELECT number AS n, sipHash64(number) AS h FROM numbers({first}, {size}))
"""

_STEPS = """
INSERT INTO {db}.engine_steps
SELECT {address} toDateTime64(ts, 3, 'UTC') AS log_ts,
    toDateTime64(toStartOfSecond(toDateTime64(now(), 6, 'UTC')) - toIntervalSecond(86300 - intDiv(n, 10)), 6,
    'UTC') AS ts,
    concat(model, '-', toString(intDiv(n % 10, 2))) AS worker, ['tiny', 'large'][n % 2 + 1] AS model,
    concat(model, '@v1') AS deployment, toUInt64(1) AS gpus, toUInt64(1000000) AS interval_us, toUInt64(30) AS steps,
    toUInt64(h % 900000) AS busy_us, toUInt64(h % 4000) AS prefill_tokens, toUInt64(h % 700) AS decode_tokens,
    toUInt64(h % 32) AS running_max, toUInt64(h % 9) AS waiting_max, toFloat32(h % 100 / 100) AS kv_usage_ratio
FROM (SELECT number AS n, sipHash64(number) AS h FROM numbers({first}, {size}))
"""

_GPUS = """
INSERT INTO {db}.gpu_samples
SELECT {address} toDateTime64(ts, 3, 'UTC') AS log_ts,
    toDateTime64(toStartOfSecond(toDateTime64(now(), 6, 'UTC')) - toIntervalSecond(86300 - intDiv(n, 10)), 6,
    'UTC') AS ts,
    ts - toIntervalSecond(1) AS since_ts, concat(model, '-', toString(intDiv(n % 10, 2))) AS worker,
    concat(worker, '-', toString(intDiv(n, 10 * 21575))) AS run, ['tiny', 'large'][n % 2 + 1] AS model,
    concat(model, '@v1') AS deployment, if(model = 'tiny', 'L4', 'H100') AS gpu, toUInt64(1) AS gpus,
    if(endsWith(worker, '-0'), 'ready', 'stopped') AS state,
    toUInt64(1000000000) AS paid_ns, toUInt64(0) AS loading_ns, h % 900000000 AS busy_ns, paid_ns - busy_ns AS idle_ns,
    busy_ns AS settled_ns, toFloat32(0) AS utilization_ratio, toUInt64(0) AS memory_bytes, toFloat32(0) AS power_w
FROM (SELECT number AS n, sipHash64(number) AS h FROM numbers({first}, {size}))
"""

_FEEDBACK = """
INSERT INTO {db}.feedback (kp, ko, ki, log_ts, ts, request_id, signal, score, label, source, tenant, model)
SELECT {address} toDateTime64(ts, 3, 'UTC') AS log_ts, {produced} AS ts, concat('r', toString(n * 10)) AS request_id,
    'thumbs' AS signal, toFloat64(h % 10 < 8) AS score, ['', 'fine', 'wrong'][h % 3 + 1] AS label, '' AS source,
    concat('tenant-', toString(sipHash64(n * 10) % 40)) AS tenant, ['tiny', 'large'][n * 10 % 2 + 1] AS model
FROM (SELECT number AS n, sipHash64(number) AS h FROM numbers({first}, {size}))
"""

_REST = (
    "INSERT INTO {db}.gpu_prices (gpu, plan, valid_from, usd_per_gpu_hour) VALUES "
    "('L4', 'on_demand', now() - 200000, 0.8), ('H100', 'on_demand', now() - 200000, 4)",
    "INSERT INTO {db}.slo_targets (model, latency_class, objective_ratio, ttft_ms, tpot_ms, e2e_ms) SELECT m, "
    "c, 0.9, 400, "
    "50, 0 FROM (SELECT arrayJoin(['tiny', 'large']) AS m, arrayJoin(['realtime', 'interactive', 'bulk']) AS c)",
    "INSERT INTO {db}.scaling_decisions (log_ts, ts, model, deployment, action, replicas_before, "
    "replicas_after, ready_ts) "
    "SELECT now64(3), now64(6) - number * 3600, 'tiny', 'tiny@v1', 'up', 1, 2, now64(6) - number * 3600 + 60 "
    "FROM numbers(20)",
    "INSERT INTO {db}.rollout_decisions (log_ts, ts, model, stable, canary) "
    "VALUES (now64(3), now64(6), 'tiny', 'tiny@v1', 'tiny@v2')",
    "SYSTEM RELOAD DICTIONARY {db}.gpu_price",
)

PIECE: Final = 500_000
"""Rows of one insert: as large parts as merges would have made."""


def statements(database: str, *, requests: int, events: int) -> Iterator[str]:
    """Statements that fill a migrated database. Two days' partitions, as the day before now spans."""
    seconds = 86_300 * WORKERS
    volumes = (
        (_REQUESTS, requests),
        (_EVENTS, events),
        (_BATCHES, requests // 8),
        (_STEPS, seconds),
        (_GPUS, seconds),
        (_FEEDBACK, requests // 10),
    )
    base = 0
    for text, count in volumes:
        for first in range(0, count, PIECE):
            size = min(PIECE, count - first)
            address = _ADDRESS.format(base=base)
            yield text.format(
                db=database, address=address, produced=_PRODUCED.format(count=count), first=first, size=size
            )
        base += count // 500 + 1
    for text in _REST:
        yield text.format(db=database)
    yield from minutes_computed(database)

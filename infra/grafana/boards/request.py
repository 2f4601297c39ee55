"""One request: its spans, attempts and events."""

from infra.grafana.model import Board, Panel, Variable

BOARD = Board(
    uid="millrace-request",
    title="Millrace: one request",
    about="Everything that is known of a request id. The range has to contain the request.",
    variables=(Variable(name="id", label="Request"),),
    since="now-24h",
    refresh="",
    panels=(
        Panel(
            title="Spans",
            kind="trace",
            width=24,
            height=14,
            about="The stations of every attempt as spans.",
            sql="""
SELECT
    TraceId AS traceID,
    SpanId AS spanID,
    ParentSpanId AS parentSpanID,
    ServiceName AS serviceName,
    SpanName AS operationName,
    toUnixTimestamp64Nano(Timestamp) * 0.000001 AS startTime,
    Duration / 1e6 AS duration,
    arrayMap(key -> map('key', key, 'value', SpanAttributes[key]), mapKeys(SpanAttributes)) AS tags,
    if(StatusCode = 'Error', 2, 0) AS statusCode
FROM otel_traces
WHERE RequestId = ${id:singlequote} AND ${id:singlequote} != '' AND $__timeFilter(Timestamp)
ORDER BY Timestamp
LIMIT 1000""",
        ),
        Panel(
            title="Attempts",
            kind="table",
            unit="none",
            width=24,
            height=6,
            about="Times after the record, 0 where a station was not reached. Final: it wrote an end.",
            sql="""
SELECT attempt, hop, mode, worker, deployment, outcome, error_code AS error, final,
    admitted_us / 1000 AS admitted_ms, batched_us / 1000 AS batched_ms, dispatched_us / 1000 AS dispatched_ms,
    started_us / 1000 AS started_ms, first_us / 1000 AS first_ms, last_us / 1000 AS last_ms,
    finished_us / 1000 AS finished_ms, tokens_in, tokens_out, gpu_ns / 1e6 AS gpu_ms
FROM requests
WHERE request_id = ${id:singlequote} AND ${id:singlequote} != ''
ORDER BY produced_ts, hop, started_us
LIMIT 1 BY lane_topic, lane_partition, lane_offset, attempt, produced_ts""",
        ),
        Panel(
            title="Events",
            kind="table",
            unit="none",
            width=24,
            height=10,
            about="Kept for a week; told by the clocks of several machines.",
            sql="""
SELECT ts, kind, process, worker, attempt, batch_size, tokens_out, outcome, error_code, reason, detail
FROM events
WHERE request_id = ${id:singlequote} AND ${id:singlequote} != ''
ORDER BY ts, log_ts, kp, ko, ki
LIMIT 1000""",
        ),
    ),
)

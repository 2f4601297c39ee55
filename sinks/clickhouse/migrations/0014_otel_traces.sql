-- The account as spans, in the columns of the OpenTelemetry collector's ClickHouse exporter: what shows its traces
-- shows these. One row of an attempt is the request's span and one per station that it reached.
CREATE VIEW IF NOT EXISTS {database}.otel_traces AS
SELECT
    toDateTime64(produced_ts, 9, 'UTC') + toIntervalMicrosecond(s.2) AS Timestamp,
    lower(hex(trace_id)) AS TraceId,
    lower(hex(sipHash64(lane_topic, lane_partition, lane_offset, attempt, s.1))) AS SpanId,
    if(s.1 = 'request', '', lower(hex(sipHash64(lane_topic, lane_partition, lane_offset, attempt, 'request'))))
        AS ParentSpanId,
    '' AS TraceState,
    s.1 AS SpanName,
    s.5 AS SpanKind,
    s.4 AS ServiceName,
    map('service.name', s.4, 'service.instance.id', if(s.4 = 'millrace-worker', toString(worker), ''))
        AS ResourceAttributes,
    'millrace' AS ScopeName,
    '' AS ScopeVersion,
    map(
        'gen_ai.operation.name', 'chat',
        'gen_ai.request.model', toString(model),
        'gen_ai.response.model', toString(deployment),
        'gen_ai.response.finish_reasons', toString(finish_reason),
        'gen_ai.usage.input_tokens', toString(tokens_in),
        'gen_ai.usage.cache_read.input_tokens', toString(tokens_cached),
        'gen_ai.usage.output_tokens', toString(tokens_out),
        'error.type', toString(error_code),
        'messaging.system', 'kafka',
        'messaging.destination.name', toString(lane_topic),
        'messaging.destination.partition.id', toString(lane_partition),
        'messaging.kafka.offset', toString(lane_offset),
        'messaging.batch.message_count', toString(batch_size),
        'millrace.request.id', request_id,
        'millrace.attempt', attempt,
        'millrace.batch.id', batch_id,
        'millrace.tenant', toString(tenant),
        'millrace.latency_class', toString(latency_class)
    ) AS SpanAttributes,
    toUInt64(greatest(toInt64(s.3) - toInt64(s.2), 0)) * 1000 AS Duration,
    multiIf(outcome = 'completed', 'Ok', outcome = 'failed', 'Error', 'Unset') AS StatusCode,
    toString(error_code) AS StatusMessage,
    CAST([], 'Array(DateTime64(9))') AS `Events.Timestamp`,
    CAST([], 'Array(LowCardinality(String))') AS `Events.Name`,
    CAST([], 'Array(Map(LowCardinality(String), String))') AS `Events.Attributes`,
    CAST([], 'Array(String)') AS `Links.TraceId`,
    CAST([], 'Array(String)') AS `Links.SpanId`,
    CAST([], 'Array(String)') AS `Links.TraceState`,
    CAST([], 'Array(Map(LowCardinality(String), String))') AS `Links.Attributes`
FROM {database}.attempts
ARRAY JOIN arrayFilter(span -> span.1 = 'request' OR span.3 > 0, [
    ('request', toUInt64(0), finished_us, 'millrace-client', 'PRODUCER'),
    ('kafka', toUInt64(0), admitted_us, 'millrace-processor', 'CONSUMER'),
    ('admission', admitted_us, batched_us, 'millrace-processor', 'INTERNAL'),
    ('dispatch', batched_us, dispatched_us, 'millrace-processor', 'PRODUCER'),
    ('slot', dispatched_us, started_us, 'millrace-worker', 'CONSUMER'),
    ('prefill', started_us, first_us, 'millrace-worker', 'SERVER'),
    ('decode', first_us, last_us, 'millrace-worker', 'SERVER'),
    ('answer', last_us, if(last_us > 0, finished_us, 0), 'millrace-worker', 'PRODUCER')
]) AS s;

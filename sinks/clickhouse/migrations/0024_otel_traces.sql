-- The account as spans, in the columns of the OpenTelemetry collector's ClickHouse exporter, as a tree: a request below
-- the span of its producer, over its admission and queue, over every attempt with its dispatch, prefill and decode. A
-- batch of several requests is a span in a trace of its own; dispatches link to it, and it to its requests.
-- Ids follow from origin, station and attempt, so that a span is the same whenever it is asked for; a request without a
-- trace of its producer's has one that follows from its origin. Rows that count are found first, by few columns; what is
-- asked for by TraceId or RequestId is made of these rows alone.
CREATE OR REPLACE VIEW {database}.otel_traces AS
SELECT
    toDateTime64(anchor, 9, 'UTC') + toIntervalMicrosecond(s.begin_us) AS Timestamp,
    trace AS TraceId,
    leftPad(lower(hex(sipHash64(subject, s.station, part))), 16, '0') AS SpanId,
    multiIf(
        s.parent = 'producer', if(parent_span = 0, '', leftPad(lower(hex(parent_span)), 16, '0')),
        leftPad(lower(hex(sipHash64(subject, s.parent, if(s.parent = 'request', '', part)))), 16, '0')
    ) AS ParentSpanId,
    '' AS TraceState,
    multiIf(
        s.station = 'request', concat('process ', toString(lane_topic)),
        s.station = 'attempt', concat(operation, ' ', toString(model)),
        s.station
    ) AS SpanName,
    s.kind AS SpanKind,
    s.service AS ServiceName,
    map(
        'service.name', s.service,
        'service.namespace', 'millrace',
        'service.instance.id', if(s.service = 'millrace-worker', toString(worker), '')
    ) AS ResourceAttributes,
    'millrace' AS ScopeName,
    '' AS ScopeVersion,
    mapFilter(
        (k, v) -> v != '',
        mapConcat(
            map(
                'millrace.request.id', request_id,
                'millrace.attempt', part,
                'millrace.tenant', toString(tenant),
                'millrace.latency_class', toString(latency_class),
                'millrace.outcome', if(s.tells_end, toString(outcome), ''),
                'error.type', if(s.tells_end, toString(error_code), ''),
                'millrace.reason', if(s.station IN ('request', 'dispatch'), toString(reason), '')
            ),
            multiIf(
                s.station IN ('request', 'admit'), map(
                    'messaging.system', 'kafka',
                    'messaging.operation.name', if(s.station = 'admit', 'poll', 'process'),
                    'messaging.operation.type', if(s.station = 'admit', 'receive', 'process'),
                    'messaging.destination.name', toString(lane_topic),
                    'messaging.destination.partition.id', toString(lane_partition),
                    'messaging.kafka.offset', toString(lane_offset),
                    'messaging.consumer.group.name', concat('millrace.', toString(model)),
                    'messaging.message.id', request_id
                ),
                s.station = 'dispatch', map(
                    'messaging.system', 'kafka',
                    'messaging.operation.name', 'send',
                    'messaging.operation.type', 'send',
                    'messaging.message.id', request_id,
                    'millrace.deployment', toString(deployment),
                    'millrace.worker', toString(worker),
                    'millrace.batch.id', batch_id,
                    'millrace.batch.size', toString(batch_size)
                ),
                s.station = 'attempt', map(
                    'gen_ai.response.model', toString(deployment),
                    'gen_ai.response.id', request_id,
                    'gen_ai.response.finish_reasons', toString(finish_reason),
                    'gen_ai.usage.input_tokens', toString(tokens_in),
                    'gen_ai.usage.cache_read.input_tokens', toString(tokens_cached),
                    'gen_ai.usage.output_tokens', toString(tokens_out),
                    'millrace.mode', toString(mode),
                    'millrace.gpu_seconds', toString(gpu_ns / 1e9)
                ),
                CAST(map(), 'Map(String, String)')
            ),
            if(
                s.tells_end,
                map(
                    'gen_ai.operation.name', operation,
                    'gen_ai.provider.name', 'millrace',
                    'gen_ai.request.model', toString(model)
                ),
                CAST(map(), 'Map(String, String)')
            )
        )
    ) AS SpanAttributes,
    toUInt64(greatest(toInt64(s.end_us) - toInt64(s.begin_us), 0)) * 1000 AS Duration,
    if(s.tells_end AND outcome NOT IN ('completed', 'cancelled', 'returned', 'parked'), 'Error', 'Unset') AS StatusCode,
    if(StatusCode = 'Error', toString(if(error_code = '', outcome, error_code)), '') AS StatusMessage,
    if(
        s.station = 'attempt' AND first_us > 0,
        [toDateTime64(anchor, 9, 'UTC') + toIntervalMicrosecond(first_us)],
        CAST([], 'Array(DateTime64(9, \'UTC\'))')
    ) AS `Events.Timestamp`,
    if(s.station = 'attempt' AND first_us > 0, ['gen_ai.first_token'], []) AS `Events.Name`,
    arrayMap(name -> CAST(map(), 'Map(String, String)'), `Events.Name`) AS `Events.Attributes`,
    if(s.station = 'dispatch' AND batch_size > 1, [lower(hex(sipHash128('batch', batch_id)))], []) AS `Links.TraceId`,
    if(
        s.station = 'dispatch' AND batch_size > 1,
        [leftPad(lower(hex(sipHash64(batch_id, 'batch', ''))), 16, '0')],
        []
    ) AS `Links.SpanId`,
    arrayMap(link -> '', `Links.TraceId`) AS `Links.TraceState`,
    arrayMap(link -> CAST(map(), 'Map(String, String)'), `Links.TraceId`) AS `Links.Attributes`,
    request_id AS RequestId
FROM (
    SELECT
        *,
        if(endpoint = '/v1/completions', 'text_completion', 'chat') AS operation,
        CAST(
            stations,
            'Array(Tuple(station String, parent String, kind String, service String, begin_us UInt64, end_us UInt64,
            tells_end UInt8, is_there UInt8))'
        ) AS named
    FROM (
        SELECT
            produced_ts AS anchor,
            concat(toString(lane_topic), '/', toString(lane_partition), '/', toString(lane_offset)) AS subject,
            lower(hex(if(trace_id = toFixedString('', 16), sipHash128(subject), trace_id))) AS trace,
            '' AS part,
            parent_span, request_id, lane_topic, lane_partition, lane_offset, tenant, latency_class, model, deployment,
            worker, batch_id, batch_size, endpoint, outcome, error_code, reason, finish_reason, mode, tokens_in,
            tokens_cached, tokens_out, gpu_ns, first_us,
            [
                ('request', 'producer', 'Consumer', 'millrace-processor', toUInt64(0), finished_us, toUInt8(1), toUInt8(1)),
                ('admit', 'request', 'Internal', 'millrace-processor', toUInt64(0), admitted_us, toUInt8(0), toUInt8(admitted_us > 0)),
                ('queue', 'request', 'Internal', 'millrace-processor', admitted_us, batched_us, toUInt8(0), toUInt8(batched_us > 0 AND hop = 0))
            ] AS stations
        FROM {database}.requests
        WHERE (ko, kp, ki) IN (SELECT ko, kp, ki FROM {database}.requests_final)
        UNION ALL
        SELECT
            produced_ts AS anchor,
            concat(toString(lane_topic), '/', toString(lane_partition), '/', toString(lane_offset)) AS subject,
            lower(hex(if(trace_id = toFixedString('', 16), sipHash128(subject), trace_id))) AS trace,
            attempt AS part,
            parent_span, request_id, lane_topic, lane_partition, lane_offset, tenant, latency_class, model, deployment,
            worker, batch_id, batch_size, endpoint, outcome, error_code, reason, finish_reason, mode, tokens_in,
            tokens_cached, tokens_out, gpu_ns, first_us,
            [
                ('dispatch', 'request', 'Producer', 'millrace-processor', if(batched_us > 0, batched_us, admitted_us), started_us, toUInt8(0), toUInt8(1)),
                ('attempt', 'request', 'Internal', 'millrace-worker', started_us, finished_us, toUInt8(1), toUInt8(1)),
                ('prefill', 'attempt', 'Internal', 'millrace-worker', started_us, first_us, toUInt8(0), toUInt8(first_us > 0)),
                ('decode', 'attempt', 'Internal', 'millrace-worker', first_us, last_us, toUInt8(0), toUInt8(first_us > 0))
            ] AS stations
        FROM {database}.requests
        WHERE started_us > 0 AND (ko, kp, ki) IN (SELECT ko, kp, ki FROM {database}.attempts)
    )
)
ARRAY JOIN arrayFilter(span -> span.is_there, named) AS s
UNION ALL
SELECT
    toDateTime64(formed_ts, 9, 'UTC') - toIntervalMicrosecond(wait_max_us) AS Timestamp,
    lower(hex(sipHash128('batch', batch_id))) AS TraceId,
    leftPad(lower(hex(sipHash64(batch_id, 'batch', ''))), 16, '0') AS SpanId,
    '' AS ParentSpanId,
    '' AS TraceState,
    concat('batch ', toString(model)) AS SpanName,
    'Internal' AS SpanKind,
    'millrace-processor' AS ServiceName,
    map(
        'service.name', 'millrace-processor',
        'service.namespace', 'millrace',
        'service.instance.id', toString(processor)
    ) AS ResourceAttributes,
    'millrace' AS ScopeName,
    '' AS ScopeVersion,
    mapFilter(
        (k, v) -> v != '',
        map(
            'messaging.system', 'kafka',
            'messaging.batch.message_count', toString(size),
            'messaging.operation.name', 'send',
            'messaging.operation.type', 'send',
            'gen_ai.request.model', toString(model),
            'millrace.deployment', toString(deployment),
            'millrace.worker', toString(worker),
            'millrace.latency_class', toString(latency_class),
            'millrace.batch.id', batch_id,
            'millrace.batch.size_limit', toString(size_limit),
            'millrace.queue_depth', toString(queue_depth),
            'millrace.reason', toString(reason)
        )
    ) AS SpanAttributes,
    wait_max_us * 1000 AS Duration,
    'Unset' AS StatusCode,
    '' AS StatusMessage,
    CAST([], 'Array(DateTime64(9, \'UTC\'))') AS `Events.Timestamp`,
    CAST([], 'Array(String)') AS `Events.Name`,
    CAST([], 'Array(Map(String, String))') AS `Events.Attributes`,
    arrayMap(link -> link.1, members.links) AS `Links.TraceId`,
    arrayMap(link -> link.2, members.links) AS `Links.SpanId`,
    arrayMap(link -> '', members.links) AS `Links.TraceState`,
    arrayMap(link -> CAST(map(), 'Map(String, String)'), members.links) AS `Links.Attributes`,
    '' AS RequestId
FROM {database}.batches
LEFT JOIN (
    SELECT
        batch_id,
        groupUniqArray((
            lower(hex(if(trace_id = toFixedString('', 16), sipHash128(subject), trace_id))),
            leftPad(lower(hex(sipHash64(subject, 'request', ''))), 16, '0')
        )) AS links
    FROM (
        SELECT
            batch_id, trace_id,
            concat(toString(lane_topic), '/', toString(lane_partition), '/', toString(lane_offset)) AS subject
        FROM {database}.requests
        WHERE batch_size > 1
    )
    GROUP BY batch_id
) AS members ON members.batch_id = batches.batch_id
WHERE size > 1;

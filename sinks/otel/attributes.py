"""Names of span attributes, by the semantic conventions for messaging and generative AI; ours begin with `millrace.`.

Source: OpenTelemetry semantic conventions 1.38 (messaging, Kafka, GenAI client spans, errors), as far as rows can tell.
Texts of prompts and answers are in no span.
"""

from collections.abc import Mapping
from typing import Final

from topics import names
from topics.bodies import CHAT
from topics.names import origin_of
from topics.trace_rows import BatchRow, RequestRow

Attributes = dict[str, str | int | float | tuple[str, ...]]
PROVIDER: Final = "millrace"
_OPERATIONS: Final[Mapping[str, str]] = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion"}


def operation_of(row: RequestRow) -> str:
    """`gen_ai.operation.name`: of rows that do not say what was asked for, what nearly all ask for."""
    return _OPERATIONS.get(row.endpoint, _OPERATIONS[CHAT])


def of_request(row: RequestRow) -> Attributes:
    """Of the whole way of a request."""
    found: Attributes = {
        **_consumed(row),
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "gen_ai.operation.name": operation_of(row),
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": row.model,
        "millrace.tenant": row.tenant,
        "millrace.latency_class": row.latency_class,
        "millrace.outcome": row.outcome,
        "millrace.deadline_ms": row.deadline_us // 1000,
        "millrace.hop": row.hop,
    }
    return found | _error(row) | ({"millrace.reason": row.reason} if row.reason else {})


def of_admission(row: RequestRow) -> Attributes:
    """Of the time until the processor had read and accepted it."""
    return {**_consumed(row), "messaging.operation.name": "poll", "messaging.operation.type": "receive"}


def of_dispatch(row: RequestRow) -> Attributes:
    """Of the way from the processor to a worker."""
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": names.dispatch_topic(row.deployment),
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": row.request_id,
        "millrace.deployment": row.deployment,
        "millrace.worker": row.worker,
        "millrace.batch.id": row.batch_id,
        "millrace.batch.size": row.batch_size,
        "millrace.reason": row.reason,
    }


def of_attempt(row: RequestRow) -> Attributes:
    """Of one run by an engine."""
    found: Attributes = {
        "gen_ai.operation.name": operation_of(row),
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": row.model,
        "gen_ai.response.model": row.deployment,
        "gen_ai.response.id": row.request_id,
        "gen_ai.usage.input_tokens": row.tokens_in,
        "gen_ai.usage.cache_read.input_tokens": row.tokens_cached,
        "gen_ai.usage.output_tokens": row.tokens_out,
        "millrace.attempt": row.attempt,
        "millrace.mode": row.mode,
        "millrace.outcome": row.outcome,
        "millrace.gpu_seconds": row.gpu_ns / 1e9,
    }
    if row.finish_reason:
        found["gen_ai.response.finish_reasons"] = (row.finish_reason,)
    if row.first_us:
        found["gen_ai.response.time_to_first_chunk"] = (row.first_us - row.started_us) / 1e6
    return found | _error(row)


def of_batch(row: BatchRow) -> Attributes:
    """Of one batching decision."""
    return {
        "messaging.system": "kafka",
        "messaging.batch.message_count": row.size,
        "messaging.destination.name": names.dispatch_topic(row.deployment),
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "gen_ai.request.model": row.model,
        "millrace.deployment": row.deployment,
        "millrace.worker": row.worker,
        "millrace.latency_class": row.latency_class,
        "millrace.batch.id": row.batch_id,
        "millrace.batch.size_limit": row.size_limit,
        "millrace.queue_depth": row.queue_depth,
        "millrace.reason": row.reason,
    }


def origin(row: RequestRow) -> str:
    """The request's origin."""
    return origin_of(row.lane_topic, row.lane_partition, row.lane_offset)


def _consumed(row: RequestRow) -> Attributes:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": row.lane_topic,
        "messaging.destination.partition.id": str(row.lane_partition),
        "messaging.kafka.offset": row.lane_offset,
        "messaging.consumer.group.name": f"millrace.{row.model}",
        "messaging.message.id": row.request_id,
    }


def _error(row: RequestRow) -> Attributes:
    return {"error.type": row.error_code} if row.error_code else {}

"""Kafka record headers: the trace context that travels with a request, and why a record is among the dead letters.

Headers are what aiokafka and every other client use: a list of (name, bytes). The trace context is W3C's, in the
`traceparent` and `tracestate` headers. Dead letters keep the original key, value and headers and add `__dlq.errors.*`,
the names that Kafka's own dead-letter queues use (KIP-1191).
"""

import re
from collections.abc import Iterable
from typing import Final

Headers = list[tuple[str, bytes]]

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
TABLE: Final = "table"
"""Header of a trace record: the table its Arrow batch belongs to."""

_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|\Z)", re.IGNORECASE)
DLQ_PREFIX: Final = "__dlq.errors."
DLQ_TRUNCATED: Final = DLQ_PREFIX + "truncated"
"""Of a dead letter whose value was cut to fit: how many bytes it had."""
DLQ_REPLAYED: Final = "__dlq.replayed"
"""Of a record that was put back: `topic/partition/offset` of its dead letter. Beside the dead letters it marks that one
as put back, at `DLQ_TARGET`."""
DLQ_REPLAYING: Final = "__dlq.replaying"
"""Beside the dead letters: the one at this address is about to be put back, not before `DLQ_TARGET`."""
DLQ_TARGET: Final = "__dlq.target"
"""Of a mark: `topic/partition/offset` where the record was put back, or at the earliest will be."""
DLQ_RUN: Final = "__dlq.run"
"""Of a mark: names the replay that set it."""
MAX_TRACE_CONTEXT_BYTES: Final = 512
"""Longest value of a trace context header that is sent on: what a `tracestate` has to fit into everywhere."""


def header(headers: Iterable[tuple[str, bytes]], name: str) -> bytes | None:
    """Value of the last header called `name`, or None."""
    found = None
    for key, value in headers:
        if key == name:
            found = value
    return found


def trace_context(headers: Iterable[tuple[str, bytes]]) -> Headers:
    """Those headers that carry the trace context, to be sent on with what follows from the record.

    The last one of each name, and none whose value is longer than `MAX_TRACE_CONTEXT_BYTES`.
    Source: W3C Trace Context, section 3.3.1.5 (limits of `tracestate`).
    """
    found = {key: value for key, value in headers if key in (TRACEPARENT, TRACESTATE)}
    return [(key, value) for key, value in found.items() if value and len(value) <= MAX_TRACE_CONTEXT_BYTES]


def trace_id(headers: Iterable[tuple[str, bytes]]) -> bytes:
    """The 16-byte trace id of a W3C `traceparent` header; 16 zero bytes where there is none or it is malformed.

    Source: W3C Trace Context, section 3.2 (`00-<32 hex>-<16 hex>-<2 hex>`).
    """
    matched = _TRACEPARENT.match(header(headers, TRACEPARENT) or b"")
    return bytes(16) if matched is None else bytes.fromhex(matched[1].decode())


def parent_span(headers: Iterable[tuple[str, bytes]]) -> tuple[int, int]:
    """The producer's span id and the trace flags of a W3C `traceparent` header; zeros where `trace_id` finds none.

    Source: W3C Trace Context, section 3.2 (`00-<32 hex>-<16 hex>-<2 hex>`); the lowest flag says "sampled".
    """
    matched = _TRACEPARENT.match(header(headers, TRACEPARENT) or b"")
    return (0, 0) if matched is None else (int(matched[2], 16), int(matched[3], 16))


def dead_letter(
    headers: Iterable[tuple[str, bytes]],
    *,
    topic: str,
    partition: int,
    offset: int,
    stage: str,
    code: str,
    message: str,
) -> Headers:
    """Headers of a dead letter: the original ones and where it came from and why it is here."""
    why = {
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "stage": stage,
        "code": code,
        "message": message,
    }
    return [*headers, *((DLQ_PREFIX + name, value.encode()) for name, value in why.items())]


def original_headers(headers: Iterable[tuple[str, bytes]]) -> Headers:
    """Headers of a dead letter without what was added to them: those that its record had."""
    return [(name, value) for name, value in headers if not name.startswith(DLQ_PREFIX) and name != DLQ_REPLAYED]

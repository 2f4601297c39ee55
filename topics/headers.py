"""Kafka record headers: the trace context that travels with a request, and why a record is among the dead letters.

Headers are what aiokafka and every other client use: a list of (name, bytes). The trace context is W3C's, in the
`traceparent` and `tracestate` headers. Dead letters keep the original key, value and headers and add `__dlq.errors.*`,
the names that Kafka's own dead-letter queues use (KIP-1191).
"""

from collections.abc import Iterable
from typing import Final

Headers = list[tuple[str, bytes]]

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
TABLE: Final = "table"
"""Header of a trace record: the table its Arrow batch belongs to."""

DLQ_PREFIX: Final = "__dlq.errors."
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
    words = (header(headers, TRACEPARENT) or b"").split(b"-")
    if len(words) < 4 or len(words[1]) != 32:
        return bytes(16)
    try:
        return bytes.fromhex(words[1].decode("ascii"))
    except ValueError:
        return bytes(16)


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

"""Spans of a request: what they are called and their ids, which follow from the rows of the account.

Nobody draws an id, so nobody has to carry one: whoever knows a request's origin knows its spans, and spans that are
exported again are the same spans.

    (the producer's span)
      process <lane topic>      from the request's record to its terminal record
        admit                   until the processor has accepted it
        queue                   until it was put into a batch
        dispatch                until a worker has begun it; linked to its batch
        chat <model>            one attempt at a worker, with the event of its first token
          prefill               until the first token
          decode                until the last one
    batch <model>               while its requests waited; linked to each of them, in a trace of its own
"""

from hashlib import blake2b
from typing import Final, Literal

from topics.trace_rows import NO_TRACE

Station = Literal["request", "admit", "queue", "dispatch", "attempt", "prefill", "decode", "batch"]
FIRST_TOKEN: Final = "gen_ai.first_token"
"""Event of an attempt."""
PRODUCED_BY_SAMPLED: Final = 1
"""Flag of a `traceparent` whose sender keeps the trace. Source: W3C Trace Context, section 3.2.2.5.1."""


def trace_of(trace_id: bytes, subject: str) -> bytes:
    """The 16-byte id of a trace: the producer's, or one that follows from the origin of a request that brought none."""
    return trace_id if trace_id != NO_TRACE else _hash(subject, size=16)


def span_of(subject: str, station: Station, part: str = "") -> int:
    """The id of a span.

    Args:
        subject: origin of a request, or id of a batch.
        station: which of its spans.
        part: tells those of several attempts or hops apart.
    """
    return int.from_bytes(_hash(f"{subject}\0{station}\0{part}", size=8)) or 1


def _hash(text: str, *, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()

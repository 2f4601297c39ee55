"""Whether an ended request kept the targets of its class. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from topics.errors import RequestError
from topics.trace_rows import RequestRow


class Targets(Struct, kw_only=True, frozen=True):
    """Targets of a latency class in milliseconds; None for one that it does not have."""

    ttft_ms: int | None = None
    tpot_ms: int | None = None
    e2e_ms: int | None = None


TargetsByClass = Mapping[str, Targets]


def _codes(error: type[RequestError]) -> Iterator[str]:
    yield error.code
    for kind in error.__subclasses__():
        yield from _codes(kind)


SENDERS_MISTAKES: Final = frozenset(_codes(RequestError))
"""Codes of errors for which the pipeline has no part in."""


def counts(row: RequestRow) -> bool:
    """Whether the final row of a request counts for the SLO."""
    return row.outcome != "cancelled" and row.error_code not in SENDERS_MISTAKES


def is_met(row: RequestRow, targets: Targets) -> bool:
    """Whether a request completed within the targets. TPOT is the mean time between its tokens, over all attempts."""
    if row.outcome != "completed":
        return False
    gaps, first_us, last_us = row.answer_tokens - 1, row.answer_first_us, row.answer_last_us
    tpot_us = (last_us - first_us) / gaps if gaps > 0 and last_us > first_us else 0.0
    return (
        (targets.ttft_ms is None or first_us <= targets.ttft_ms * 1000)
        and (targets.tpot_ms is None or tpot_us <= targets.tpot_ms * 1000)
        and (targets.e2e_ms is None or row.finished_us <= targets.e2e_ms * 1000)
    )

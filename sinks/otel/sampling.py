"""Which traces are exported. Pure, and a function of the trace alone: all spans of a request are kept, or none."""

from dataclasses import dataclass
from typing import Final

from topics.spans import PRODUCED_BY_SAMPLED, trace_of
from topics.trace_rows import NO_TRACE, RequestRow

_ERRORS: Final = frozenset({"failed", "expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Parent-based: a producer that brings a trace context has decided. The others are drawn by trace id.

    Attributes:
        ratio: share of the traces that begin here, 0 to 1.
        keep_errors: whether requests that failed or expired are exported in any case. Attempts before their last one
            are then exported only where the trace was sampled: when they ended nobody knew.
    """

    ratio: float = 1.0
    keep_errors: bool = True

    def keeps_request(self, row: RequestRow) -> bool:
        """Whether the spans of a row are exported."""
        if self.keep_errors and row.final and row.outcome in _ERRORS:
            return True
        origin = f"{row.lane_topic}/{row.lane_partition}/{row.lane_offset}"
        return self.keeps_trace(row.trace_id, row.trace_flags, origin)

    def keeps_trace(self, trace_id: bytes, flags: int, origin: str) -> bool:
        """Whether a trace is sampled.

        Source: OpenTelemetry, TraceIdRatioBased sampler: the lowest 64 bits of the trace id against the ratio.
        """
        if trace_id != NO_TRACE:
            return bool(flags & PRODUCED_BY_SAMPLED)
        return int.from_bytes(trace_of(trace_id, origin)[8:]) < round(self.ratio * 2**64)

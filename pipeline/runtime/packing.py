"""Trace rows into messages, whatever the rows are. Pure.

One row that fits no column must not hold up the thousands behind it, nor one message that is too large for the topic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from topics.arrow import stream
from topics.trace import TraceBuffer, TraceMessage, decode_rows
from topics.trace_rows import Row

_UNFIT = (OverflowError, TypeError, ValueError)
"""What is raised for a value that its column cannot hold, e.g. a negative duration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Messages in the order of their rows within each table, and how many rows fit no message.

    `reason` says of the last such row what kind of row it was and what was wrong, without its values.
    """

    messages: list[TraceMessage]
    unfit: int = 0
    reason: str = ""


def pack(rows: Sequence[Row]) -> Packed:
    """All rows as messages; those that cannot be encoded are left out and counted."""
    try:
        return Packed(messages=_encoded(rows))
    except _UNFIT:
        return _pack_fit(rows)


def halves(message: TraceMessage) -> list[TraceMessage]:
    """The same rows in two messages of half the size; nothing for a single row, which has no halves."""
    if message.rows < 2:
        return []
    table = decode_rows(message.value)
    middle = message.rows // 2
    return [
        TraceMessage(message.table, stream(part), part.num_rows)
        for part in (table.slice(0, middle), table.slice(middle))
    ]


def _pack_fit(rows: Sequence[Row]) -> Packed:
    fit: list[Row] = []
    reason = ""
    for row in rows:
        try:
            _encoded([row])
        except _UNFIT as error:
            reason = f"{type(row).__name__}: {type(error).__name__}"
        else:
            fit.append(row)
    return Packed(messages=_encoded(fit), unfit=len(rows) - len(fit), reason=reason)


def _encoded(rows: Sequence[Row]) -> list[TraceMessage]:
    buffer = TraceBuffer()
    for row in rows:
        buffer.add(row)
    return buffer.drain()

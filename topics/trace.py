"""The messages of the trace: Arrow batches of rows on the topic `inference.trace`.

A message is one Arrow IPC stream with rows of one table, named in the header `table`; the record's own timestamp, topic
partition and offset become columns when it is stored, so they are not in here. Column order is field order.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa
from msgspec import Struct

from topics.arrow import column, stream
from topics.errors import CodecError
from topics.trace_rows import TABLES, Row

MAX_ROWS: Final = 500
"""Rows per message: 1.7 us of a core per row at the recorder, against 14 for one JSON object per event."""

_TIME: Final = pa.timestamp("us", tz="UTC")
_TRACE_ID: Final = pa.binary(16)

_TYPES: Final[Mapping[type, pa.DataType]] = MappingProxyType(
    {int: pa.uint64(), str: pa.string(), bytes: _TRACE_ID, float: pa.float64()}
)
_TIMES: Final = frozenset({"ts", "since_ts", "produced_ts", "formed_ts", "ready_ts"})


def _schema(row: type[Struct]) -> pa.Schema:
    fields = msgspec.structs.fields(row)
    return pa.schema([(f.name, _TIME if f.name in _TIMES else _TYPES[f.type]) for f in fields])


SCHEMAS: Final[Mapping[str, pa.Schema]] = MappingProxyType({name: _schema(row) for name, row in TABLES.items()})
_TABLE_OF: Final[Mapping[type, str]] = MappingProxyType({row: name for name, row in TABLES.items()})


class TraceMessage(NamedTuple):
    """One message for `inference.trace`: its table (the `table` header), its value and how many rows it has."""

    table: str
    value: bytes
    rows: int


class TraceBuffer:
    """Collects rows and turns them into messages. Bounded by its owner: look at `pending` before adding more."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {name: [] for name in TABLES}
        self.pending = 0

    def add(self, row: Row) -> None:
        """Keep a row for the next `drain`."""
        self._rows[_TABLE_OF[type(row)]].append(row)
        self.pending += 1

    def drain(self) -> list[TraceMessage]:
        """All rows as messages of at most `MAX_ROWS` rows, in the order in which they were added to their table."""
        messages = [
            TraceMessage(table, encode_rows(table, chunk), len(chunk))
            for table, rows in self._rows.items()
            for chunk in _chunks(rows)
        ]
        for rows in self._rows.values():
            rows.clear()
        self.pending = 0
        return messages


def encode_rows(table: str, rows: Sequence[Row]) -> bytes:
    """An Arrow IPC stream with one batch of at least one row of `table`."""
    return stream(batch_of(table, rows))


def batch_of(table: str, rows: Sequence[Row]) -> pa.RecordBatch:
    """At least one row of `table` as its columns."""
    schema = SCHEMAS[table]
    columns = zip(*map(msgspec.structs.astuple, rows), strict=True)
    arrays = [column(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def decode_rows(value: bytes) -> pa.Table:
    """The rows of a trace message, in the sender's columns.

    Raises:
        CodecError: the bytes are no Arrow IPC stream.
    """
    try:
        return pa.ipc.open_stream(value).read_all()
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise CodecError(f"not an Arrow IPC stream: {error}") from error


def _chunks(rows: list[Row]) -> list[list[Row]]:
    return [rows[i : i + MAX_ROWS] for i in range(0, len(rows), MAX_ROWS)]

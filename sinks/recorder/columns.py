"""From a message's Arrow batch to the columns of its table. Pure.

The sender may be older or newer than this recorder: columns that it does not send get the default of their row type,
columns that are not known here are left out.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from sinks.recorder.blocks import Block, Message
from topics.arrow import numbers, scalar
from topics.errors import CodecError
from topics.headers import TABLE, Headers, header
from topics.trace import SCHEMAS, decode_rows
from topics.trace_rows import TABLES

MAX_MESSAGE_ROWS: Final = 100_000
"""More rows than this could become more than one part of the table, and a part is what is stored as a whole."""

LOG_TIME: Final = pa.timestamp("ms", tz="UTC")


def message_of(value: bytes | None, headers: Headers, *, kp: int, ko: int, log_ts_ms: int) -> Message | None:
    """A record of the trace topic, with its rows in the columns of its table; None if it has no rows.

    Raises:
        CodecError: no such table, no Arrow stream, or a column of a wrong type; the message says which.
    """
    table = (header(headers, TABLE) or b"").decode(errors="replace")
    if table not in SCHEMAS:
        raise CodecError(f"header {TABLE!r} is {table!r}; expected one of {', '.join(SCHEMAS)}")
    rows = _conformed(table, _checked(value or b""))
    if rows.num_rows == 0:
        return None
    return Message(table=table, kp=kp, ko=ko, log_ts_ms=max(log_ts_ms, 0), rows=rows)


def rows_of(block: Block) -> pa.Table:
    """All rows of a block, with `kp, ko, ki` (topic partition, offset, index in the message) and `log_ts` in front."""
    messages = block.messages
    counts = [message.rows.num_rows for message in messages]
    rows = pa.concat_tables([message.rows for message in messages])
    address = {
        "kp": numbers(np.repeat(np.array([m.kp for m in messages], np.uint16), counts), pa.uint16()),
        "ko": numbers(np.repeat(np.array([m.ko for m in messages], np.uint64), counts), pa.uint64()),
        "ki": numbers(np.concatenate([np.arange(count, dtype=np.uint32) for count in counts]), pa.uint32()),
        "log_ts": numbers(np.repeat(np.array([m.log_ts_ms for m in messages], np.int64), counts), LOG_TIME),
    }
    return pa.table({**address, **{name: rows[name] for name in rows.column_names}})


def _checked(value: bytes) -> pa.Table:
    """The sender's columns, proven sound: the engine reads their buffers without looking."""
    try:
        received = decode_rows(value)
        if received.num_rows > MAX_MESSAGE_ROWS:
            raise CodecError(f"message has {received.num_rows} rows, at most {MAX_MESSAGE_ROWS} are accepted")
        received.validate(full=True)
    except (pa.ArrowException, ValueError, TypeError, OSError, MemoryError) as error:
        raise CodecError(f"not a sound Arrow IPC stream: {error}") from error
    return received


def _conformed(table: str, received: pa.Table) -> pa.Table:
    schema = SCHEMAS[table]
    if received.schema.equals(schema):
        return received
    return pa.table([_column(table, field, received) for field in schema], schema=schema)


def _column(table: str, field: pa.Field, received: pa.Table) -> Any:
    found = received.schema.get_all_field_indices(field.name)
    if not found:
        return pa.repeat(_DEFAULTS[table][field.name], received.num_rows)
    try:
        return received.column(found[0]).cast(field.type)
    except pa.ArrowException as error:
        raise CodecError(f"column {field.name} of {table}: {error}") from error


def _default(field: msgspec.structs.FieldInfo, kind: pa.DataType) -> pa.Scalar:
    """The row type's default; where it has none, what ClickHouse would take."""
    if field.default is not msgspec.NODEFAULT:
        return scalar(field.default, kind)
    return scalar(field.type(), kind)


_DEFAULTS: Final[Mapping[str, Mapping[str, pa.Scalar]]] = MappingProxyType(
    {
        table: {f.name: _default(f, SCHEMAS[table].field(f.name).type) for f in msgspec.structs.fields(row)}
        for table, row in TABLES.items()
    }
)

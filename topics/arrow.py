"""Arrow columns out of Python values and NumPy arrays, without pandas; rows as an Arrow stream.

pyarrow's own conversions (`pa.array`, `pa.scalar`) import pandas the first time they are called, wherever it is
installed: a process that writes its first row would stand still for one to two seconds, and keep 60 MB. So buffers are
filled here, in Arrow's layout (https://arrow.apache.org/docs/format/Columnar.html): no value is null.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa

_TYPECODES: Final = MappingProxyType({pa.uint64(): "Q", pa.float64(): "d"})
"""How `array.array` calls them; times are 64 bit integers."""


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Values as an array of a type: uint64, float64, timestamp (integers in its unit), string or fixed-size binary.

    Raises:
        OverflowError: a number is out of range.
        TypeError: a value is of another type, None included.
        ValueError: bytes are not as long as the type says.
    """
    if pa.types.is_string(kind):
        return _strings(values)
    if pa.types.is_fixed_size_binary(kind):
        return _binaries(values, kind)
    return _array(kind, len(values), array("q" if pa.types.is_timestamp(kind) else _TYPECODES[kind], values))


def numbers(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """A contiguous NumPy array as an array of a type of the same width, without a copy."""
    return _array(kind, len(values), values)


def scalar(value: Any, kind: pa.DataType) -> pa.Scalar:
    """One value of a type; raises as `column`."""
    return column([value], kind)[0]


def stream(rows: pa.RecordBatch | pa.Table) -> bytes:
    """An Arrow IPC stream of rows, in the batches that they have."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    return bytes(sink.getvalue())


def _array(kind: pa.DataType, length: int, values: Any) -> pa.Array:
    return pa.Array.from_buffers(kind, length, [None, pa.py_buffer(values)])


def _strings(values: Sequence[str]) -> pa.Array:
    text = "".join(values)
    data = text.encode()
    lengths = map(len, values) if len(data) == len(text) else (len(value.encode()) for value in values)
    offsets = array("i", [*accumulate(lengths, initial=0)])
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(data))


def _binaries(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    for value in values:
        if len(value) != kind.byte_width:
            raise ValueError(f"{value!r} has {len(value)} bytes, expected {kind.byte_width}")
    return _array(kind, len(values), b"".join(values))

"""Arrow columns without pandas."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topics.arrow import column, numbers, scalar

TIME = pa.timestamp("us", tz="UTC")
NO_SURROGATES = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.float64(), st.floats(allow_nan=False)),
        (TIME, st.integers(-(2**63), 2**63 - 1)),
        (pa.string(), NO_SURROGATES),
        (pa.binary(16), st.binary(min_size=16, max_size=16)),
    ],
    ids=str,
)
def test_columns_are_those_of_pyarrow(kind: pa.DataType, values: st.SearchStrategy[Any]) -> None:
    @settings(deadline=None)  # the expectation imports pandas
    @given(st.lists(values))
    def check(found: list[Any]) -> None:
        made = column(found, kind)
        made.validate(full=True)
        assert made.equals(pa.array(found, kind))

    check()


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        (pa.uint64(), -1, OverflowError),
        (pa.uint64(), 2**64, OverflowError),
        (pa.uint64(), 1.5, TypeError),
        (pa.uint64(), None, TypeError),
        (pa.float64(), "1", TypeError),
        (pa.string(), b"bytes", TypeError),
        (pa.string(), None, TypeError),
        (pa.binary(16), b"short", ValueError),
    ],
)
def test_what_does_not_fit_is_refused(kind: pa.DataType, value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        column([value], kind)


def test_scalars_and_arrays_of_numpy() -> None:
    assert scalar("a", pa.string()) == pa.scalar("a", pa.string())
    assert math.isnan(scalar(math.nan, pa.float64()).as_py())
    assert numbers(np.arange(3, dtype=np.uint16), pa.uint16()).to_pylist() == [0, 1, 2]
    assert numbers(np.array([5]), pa.timestamp("ms", tz="UTC")).cast(pa.int64()).to_pylist() == [5]


NO_PANDAS = """
import sys
import pipeline.otel.main, pipeline.processor.main, pipeline.recorder.main, pipeline.worker.main
from sinks.otel.reading import SpanReader
from sinks.otel.sampling import Sampling
from sinks.recorder.blocks import Block
from sinks.recorder.columns import rows_of
from sinks.recorder.logs import feedback_log, trace_log
from topics.headers import TABLE
from topics.trace import TraceBuffer
from topics.trace_rows import EventRow, RequestRow

class Record:
    offset = timestamp = 1
    def __init__(self, value, headers=()):
        self.value, self.headers = value, headers

buffer = TraceBuffer()
buffer.add(EventRow(ts=1, kind="request.dispatched", component="", process="", batch_size=2))
buffer.add(RequestRow(request_id="r", lane_topic="t", lane_partition=0, lane_offset=0, tenant="", latency_class="",
                      model="", produced_ts=1, outcome="completed"))
for table, value, _ in buffer.drain():
    headers = [(TABLE, table.encode())]
    message = trace_log().message_of(Record(value, headers), 0)
    assert rows_of(Block(table=table, day=0, messages=(message,))).num_rows == 1
    SpanReader(Sampling()).read(value, headers, at_ms=1)
feedback_log().message_of(Record(b'{"id":"r","signal":"s","score":1}'), 0)
print("pandas" in sys.modules)
"""


def test_no_process_imports_pandas_on_the_way_of_a_row() -> None:
    run = subprocess.run([sys.executable, "-c", NO_PANDAS], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.strip() == "False", run.stderr

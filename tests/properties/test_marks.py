"""Laws of recording, over any trace topic, any cuts into inserts and any crashes between and during them.

The store here is a list of rows per table and day; an insert is all or nothing, as a part of ClickHouse is. What may
happen at any insert: it is done, its answer is lost, it is not done, the process dies before or after it.
"""

import contextlib
from dataclasses import dataclass, field

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sinks.recorder.blocks import Block, Blocks, Message
from sinks.recorder.columns import message_of
from sinks.recorder.marks import DAY_MS, Mark, Marks, Stretch, start_of
from topics.errors import CodecError
from topics.headers import TABLE
from topics.trace import encode_rows
from topics.trace_rows import EventRow

ROWS = pa.table({"x": [1, 2]})
Fate = str


class Died(Exception):
    """The process was killed."""


@dataclass
class Store:
    """Tables and positions that outlive the process."""

    rows: dict[tuple[str, int], list[Message]] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)

    def marks(self) -> Marks:
        marks = Marks()
        for (table, day), messages in self.rows.items():
            for kp in {m.kp for m in messages}:
                newest = max((m for m in messages if m.kp == kp), key=lambda m: m.ko)
                marks.advance(Stretch(table, day, kp), Mark(newest.ko, newest.log_ts_ms))
        return marks

    def insert(self, block: Block) -> None:
        self.rows.setdefault((block.table, block.day), []).extend(block.messages)


@st.composite
def topics(draw: st.DrawFn) -> list[list[Message]]:
    """Messages by partition; timestamps never go back, and cross midnight."""
    partitions = []
    for kp in range(draw(st.integers(1, 3))):
        at_ms, messages = 20_000 * DAY_MS - 3_000, []
        for ko in range(draw(st.integers(0, 12))):
            at_ms += draw(st.integers(0, 1_000))
            table = draw(st.sampled_from(["events", "requests"]))
            messages.append(Message(table=table, kp=kp, ko=ko, log_ts_ms=at_ms, rows=ROWS))
        partitions.append(messages)
    return partitions


def live(store: Store, log: list[list[Message]], fates: list[Fate], flush_every: int) -> None:
    """One life of a recorder, as the loop does it, to the end of the log or to its death."""
    marks, blocks, next_ko = store.marks(), Blocks(), {}
    queue = []
    for kp, messages in enumerate(log):
        start = start_of(kp, marks=marks, positions=store.positions, begins=0, ends=len(messages))
        next_ko[kp] = start.offset
        queue += messages[start.offset :]
    queue.sort(key=lambda m: (m.ko, m.kp))
    for number, message in enumerate(queue):
        if marks.is_new(message.stretch, message.ko):
            blocks.add(message, 0.0)
        else:
            marks.check_same_log(message.stretch, message.ko, message.log_ts_ms)
        next_ko[message.kp] = message.ko + 1
        if number % flush_every == flush_every - 1:
            flush(store, blocks, marks, fates, next_ko)
    flush(store, blocks, marks, fates, next_ko)


def flush(store: Store, blocks: Blocks, marks: Marks, fates: list[Fate], next_ko: dict[int, int]) -> None:
    for block in blocks.take():
        rest = block
        while rest.messages:
            fate = fates.pop() if fates else "done"
            if fate in ("done", "answer lost", "dies after"):
                store.insert(rest)
            if fate in ("dies before", "dies after"):
                raise Died
            if fate == "done":
                rest.advance(marks)
                break
            marks.replace(block.table, _found(store, block.table))
            rest = rest.only_new(marks)
    if fates and fates[-1] == "dies before position":
        fates.pop()
        raise Died
    store.positions |= next_ko


def _found(store: Store, table: str) -> list[tuple[Stretch, Mark]]:
    return [item for item in store.marks()._marks.items() if item[0].table == table]


FATES = st.sampled_from(["done", "answer lost", "not done", "dies before", "dies after", "dies before position"])


@given(log=topics(), fates=st.lists(FATES, max_size=30), cuts=st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_every_message_is_stored_exactly_once_whatever_dies_and_however_inserts_are_cut(
    log: list[list[Message]], fates: list[Fate], cuts: list[int]
) -> None:
    store = Store()
    life = 0
    while True:
        try:
            live(store, log, fates, cuts[life % len(cuts)])
            break
        except Died:
            life += 1

    stored = sorted((m.kp, m.ko) for messages in store.rows.values() for m in messages)
    assert stored == sorted((m.kp, m.ko) for messages in log for m in messages)


@given(log=topics(), fates=st.lists(FATES, max_size=30), cut=st.integers(1, 6))
def test_the_position_is_never_ahead_of_the_tables(log: list[list[Message]], fates: list[Fate], cut: int) -> None:
    store = Store()
    with contextlib.suppress(Died):
        live(store, log, fates, cut)
    stored = {(m.kp, m.ko) for messages in store.rows.values() for m in messages}

    below = {(m.kp, m.ko) for messages in log for m in messages if m.ko < store.positions.get(m.kp, 0)}
    assert below <= stored


@given(
    at=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    end=st.floats(0, 1),
)
def test_damaged_bytes_are_a_message_or_a_codec_error(at: list[tuple[float, int]], end: float) -> None:
    row = EventRow(ts=1, kind="k", component="c", process="p", request_id="r", reason="because")
    value = bytearray(encode_rows("events", [row] * 3))
    for place, byte in at:
        value[int(place * (len(value) - 1))] = byte
    damaged = bytes(value[: len(value) - int(end * len(value) / 4)])

    try:
        message = message_of(damaged, [(TABLE, b"events")], kp=0, ko=0, log_ts_ms=0)
    except CodecError as error:
        assert error.code == "undecodable"
    else:
        assert message is None or message.rows.num_rows > 0

"""Which messages become one insert, and when."""

import pyarrow as pa

from sinks.recorder.blocks import FLUSH_BYTES, FLUSH_ROWS, FLUSH_S, Block, Blocks, Message
from sinks.recorder.marks import DAY_MS, Mark, Marks

DAY = 20_000


def a_message(ko: int, *, table: str = "events", kp: int = 0, day: int = DAY, rows: int = 1) -> Message:
    return Message(table=table, kp=kp, ko=ko, log_ts_ms=day * DAY_MS + ko, rows=pa.table({"x": [0] * rows}))


def a_block(*messages: Message) -> Block:
    return Block(table="events", day=DAY, messages=messages)


def test_nothing_is_due_where_nothing_was_added() -> None:
    assert Blocks().wait_s(5.0) is None


def test_blocks_are_due_a_while_after_the_first_message() -> None:
    blocks = Blocks()
    blocks.add(a_message(1), 10.0)
    blocks.add(a_message(2), 10.5)

    assert [blocks.wait_s(10.75), blocks.wait_s(10.0 + FLUSH_S)] == [FLUSH_S - 0.75, 0.0]


def test_blocks_are_due_at_once_when_there_are_rows_enough() -> None:
    blocks = Blocks()
    blocks.add(a_message(1, rows=FLUSH_ROWS), 10.0)

    assert blocks.wait_s(10.0) == 0.0


def test_blocks_are_due_at_once_when_there_are_bytes_enough() -> None:
    blocks = Blocks()
    rows = pa.table({"x": ["a" * (FLUSH_BYTES + 1)]})
    blocks.add(Message(table="events", kp=0, ko=1, log_ts_ms=0, rows=rows), 10.0)

    assert blocks.wait_s(10.0) == 0.0


def test_a_position_to_note_is_due_as_well() -> None:
    blocks = Blocks()
    blocks.touch(10.0)

    assert (blocks.wait_s(10.0 + FLUSH_S), blocks.take()) == (0.0, [])


def test_a_block_has_one_table_and_one_day() -> None:
    blocks = Blocks()
    messages = [a_message(1), a_message(2, table="requests"), a_message(3), a_message(4, day=DAY + 1)]
    for message in messages:
        blocks.add(message, 0.0)

    taken = blocks.take()

    assert [(b.table, b.day, [m.ko for m in b.messages]) for b in taken] == [
        ("events", DAY, [1, 3]),
        ("events", DAY + 1, [4]),
        ("requests", DAY, [2]),
    ]
    assert (blocks.take(), blocks.wait_s(99.0)) == ([], None)


def test_only_new_leaves_out_what_the_marks_have() -> None:
    block = a_block(a_message(1), a_message(2), a_message(3), a_message(1, kp=1))
    marks = Marks()
    marks.advance(a_message(2).stretch, Mark(2, 0))

    assert [(m.kp, m.ko) for m in block.only_new(marks).messages] == [(0, 3), (1, 1)]


def test_a_stored_block_is_not_new_any_more() -> None:
    block, marks = a_block(a_message(1), a_message(2, kp=1)), Marks()

    block.advance(marks)

    assert block.only_new(marks).messages == ()


def test_halves_keep_the_order_and_lose_nothing() -> None:
    block = a_block(*(a_message(ko) for ko in range(5)))
    first, second = block.halves()

    assert ([m.ko for m in first.messages], [m.ko for m in second.messages]) == ([0, 1], [2, 3, 4])


def test_a_token_names_the_messages() -> None:
    block = a_block(a_message(3), a_message(4), a_message(9), a_message(3, kp=1))

    assert block.token == f"events:{DAY}:0:3-4+9-9,1:3-3"

"""What a decision takes does not grow with the queue: counted in instructions of the interpreter, not in time."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import pytest

from tests.unit.batching.builders import SENDER, Desk
from tests.unit.batching.rtc_builders import T0_S, Pool, a_ticket
from topics.fleet import Credits, Slot

SHORT, LONG = 1_000, 16_000
GROWTH: Final = 1.1
"""An order of 16,000 has 14 levels where one of 1,000 has 10; most of the work of a decision is not in orders."""
ROUNDS: Final = 24


def instructions(call: Callable[[], Any]) -> int:
    """How many instructions of the interpreter a call takes, those of all that it calls with them."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def of_batches(queued: int) -> list[int]:
    """What decisions take that release a batch of 64 from a queue of this length."""
    pool = Pool("w1", "w2")
    number = 0
    counts = []
    for turn in range(ROUNDS):
        now_s = T0_S + turn
        while len(pool.queues) < queued:
            number += 1
            name = ("realtime", "standard", "bulk")[number % 3]
            pool.queue(a_ticket(number, now_s=now_s, due_in_s=1e6, latency_class=name), now_s=now_s)
        for worker in ("w1", "w2"):
            if pool.sent.get(worker):
                pool.finish(worker, now_s=now_s)
        counts.append(instructions(lambda at_s=now_s: pool.decide(at_s)))  # type: ignore[misc]
        assert any(pool.sent.values())
    return counts


def of_requests(queued: int) -> list[int]:
    """What decisions take that release 16 requests from a queue of this length."""
    desk = Desk(learned=240)
    desk.beat(credits=Credits(free_sequences=0, free_kv_tokens=0), running=256)
    sent = 0
    counts = []
    for _ in range(ROUNDS):
        desk.queue(queued - len(desk.queues), latency_class="batchy", prompt=10, answer=16, target_s=1e6)
        desk.now_s += 0.1
        desk.beat(
            credits=Credits(free_sequences=16, free_kv_tokens=400_000),
            running=240,
            slots=[Slot(partition=0, term=0, seen={SENDER: sent})],
        )
        counts.append(instructions(desk.decide))
        released = queued - len(desk.queues)
        assert 0 < released <= 16
        sent += released
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("of_decisions", [of_batches, of_requests])
def test_neither_an_average_nor_the_longest_decision_grows_with_the_queue(
    of_decisions: Callable[[int], list[int]],
) -> None:
    short, long = of_decisions(SHORT), of_decisions(LONG)

    assert sum(long) <= GROWTH * sum(short)
    assert max(long) <= GROWTH * max(short)

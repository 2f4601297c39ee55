"""Who gives way, to whom, and how it is handed back."""

from typing import Any

import pytest

from pipeline.engines.protocol import Load, Output
from pipeline.worker.effects import Abort, Send, Submit
from pipeline.worker.heartbeats import Condition, Heart
from pipeline.worker.parking import MAX_HOPS, MOST_AT_ONCE, Parkable, Parking
from pipeline.worker.rows import Identity
from pipeline.worker.slot import Taken
from tests.unit.worker.builders import a_body, a_dispatch, a_usage
from tests.unit.worker.test_core import NOW_US, Bench, of
from topics import names
from topics.codec import decode_return
from topics.dispatches import Cancel, Dispatch, Return
from topics.errors import Cancelled
from topics.fleet import Credits, Limits

LIMITS = Limits(max_sequences=3, max_kv_tokens=1000, max_batch_tokens=100, max_context_tokens=1000)


class Floor(Bench):
    """A core whose engine holds three sequences, and a given number of free KV tokens."""

    def __init__(self, *, free_kv_tokens: int = 1000) -> None:
        super().__init__()
        self.free_kv_tokens = free_kv_tokens
        self._taken = 0

    def give(self, dispatch: Dispatch) -> list[str]:
        """Take a dispatch: the attempts that give way to it."""
        self._taken += 1
        taken = self.slot.on_record(dispatch, offset=self._taken, at_ms=NOW_US // 1000)
        assert isinstance(taken, Taken)
        load = Load(running=0, waiting=0, credits=Credits(free_sequences=0, free_kv_tokens=self.free_kv_tokens))
        effects = self.keep(self.core.on_taken(self.slot, [taken], NOW_US, parking=Parking(load, LIMITS)))
        return [abort.key for abort in of(effects, Abort)]

    def tokens(self, key: str, count: int) -> None:
        self.outputs(Output(key=key, text="x" * count, token_ids=list(range(count))))

    def returns(self) -> list[Return]:
        sends = [send for send in of(self.effects, Send) if send.topic == names.returns_topic("m")]
        return [decode_return(send.value) for send in sends]


def bulk(name: str, **changes: Any) -> Dispatch:
    return a_dispatch(id=name, origin=f"inference.requests.m.bulk/0/{name[1:]}", yields=True, **changes)


def urgent(name: str = "u9", **changes: Any) -> Dispatch:
    return a_dispatch(id=name, origin=f"inference.requests.m.realtime/0/{name[1:]}", **changes)


def test_nothing_gives_way_while_there_is_room() -> None:
    floor = Floor()
    assert [floor.give(bulk("b1")), floor.give(bulk("b2")), floor.give(urgent())] == [[], [], []]


def test_the_one_with_the_fewest_tokens_gives_way_and_of_those_the_last() -> None:
    floor = Floor()
    for name in ("b1", "b2", "b3"):
        floor.give(bulk(name))
    floor.tokens("a1", 2)
    assert floor.give(urgent("u1")) == ["a3"]
    assert floor.give(urgent("u2")) == ["a2"]
    assert [submit.request.key for submit in of(floor.effects, Submit)] == ["a1", "a2", "a3", "a4", "a5"]


def test_nothing_gives_way_to_what_yields_itself() -> None:
    floor = Floor()
    for name in ("b1", "b2", "b3"):
        floor.give(bulk(name))
    assert floor.give(bulk("b4")) == []


def test_what_does_not_yield_never_gives_way() -> None:
    floor = Floor()
    for name in ("u1", "u2", "u3"):
        floor.give(urgent(name))
    assert floor.give(urgent("u4")) == []


def test_the_dispatch_may_leave_less_room_than_the_engine_has() -> None:
    floor = Floor()
    for name in ("b1", "b2"):
        floor.give(bulk(name))
    assert floor.give(urgent(sequence_limit=1)) == ["a2", "a1"]


def test_one_request_sends_no_crowd_away() -> None:
    limits = Limits(max_sequences=100, max_kv_tokens=10_000, max_batch_tokens=100, max_context_tokens=1000)
    floor = Floor()
    for number in range(20):
        floor.give(bulk(f"b{number}"))
    load = Load(running=0, waiting=0, credits=Credits(free_sequences=0, free_kv_tokens=10_000))
    taken = floor.slot.on_record(urgent(sequence_limit=1), offset=50, at_ms=NOW_US // 1000)
    assert isinstance(taken, Taken)
    effects = floor.core.on_taken(floor.slot, [taken], NOW_US, parking=Parking(load, limits))
    assert len(of(effects, Abort)) == MOST_AT_ONCE


def test_keys_and_values_are_made_room_for_where_that_is_possible() -> None:
    floor = Floor(free_kv_tokens=0)
    floor.give(bulk("b1"))
    floor.tokens("a1", 40)
    assert floor.give(urgent("u1", body=a_body(max_tokens=100))) == []
    floor.tokens("a1", 80)
    assert floor.give(urgent("u2", body=a_body(max_tokens=100))) == ["a1"]


@pytest.mark.parametrize(
    "dispatch",
    [
        pytest.param(bulk("b1", hop=MAX_HOPS), id="has changed places often enough"),
        pytest.param(bulk("b1", body=a_body(seed=3, temperature=1)), id="would have to start over"),
    ],
)
def test_some_are_never_parked(dispatch: Dispatch) -> None:
    floor = Floor()
    for name in ("u1", "u2"):
        floor.give(urgent(name))
    floor.give(dispatch)
    assert floor.give(urgent()) == []
    assert floor.core.parkable == Parkable()


def test_what_is_parked_is_handed_back_with_what_it_has_used() -> None:
    floor = Floor()
    for name in ("u1", "u2"):
        floor.give(urgent(name))
    floor.give(bulk("b1", body=a_body(stream=False)))
    floor.tokens("a3", 5)
    floor.give(urgent("u3"))
    floor.outputs(Output(key="a3", error=Cancelled("aborted"), usage=a_usage(3, 5)))
    (record,) = floor.returns()
    assert (record.reason, record.dispatch.id, record.usage, record.generated) == ("parked", "b1", a_usage(3, 5), 5)
    assert [(row.outcome, row.tokens_out) for row in floor.rows()] == [("parked", 5)]
    progress = [send for send in of(floor.effects, Send) if b'"progress"' in send.value]
    assert len(progress) == 1


def test_what_ends_by_itself_meanwhile_has_ended() -> None:
    floor = Floor()
    for name in ("b1", "b2", "b3"):
        floor.give(bulk(name))
    floor.give(urgent())
    floor.outputs(Output(key="a3", text="x", token_ids=[1], finish_reason="stop", usage=a_usage()))
    assert floor.returns() == []


def test_what_is_cancelled_while_it_is_parked_ends_cancelled() -> None:
    floor = Floor()
    for name in ("b1", "b2", "b3"):
        floor.give(bulk(name))
    floor.give(urgent())
    taken = floor.slot.on_record(Cancel(id="b3", tenant="acme"), offset=60, at_ms=NOW_US // 1000)
    assert isinstance(taken, Taken)
    floor.keep(floor.core.on_taken(floor.slot, [taken], NOW_US))
    floor.outputs(Output(key="a3", error=Cancelled("aborted"), usage=a_usage(3, 5)))
    assert floor.returns() == []
    assert any(b'"cancelled"' in send.value for send in of(floor.effects, Send))


def test_heartbeats_tell_what_could_be_parked() -> None:
    floor = Floor()
    floor.give(bulk("b1", body=a_body(content="x" * 40)))
    floor.give(urgent())
    floor.tokens("a1", 7)
    assert floor.core.parkable == Parkable(1, 17)


@pytest.mark.parametrize(("waiting", "told"), [(0, 3), (2, 1), (5, 0)])
def test_what_waits_for_the_engine_takes_what_could_be_parked_first(waiting: int, told: int) -> None:
    heart = Heart(Identity(worker="w", run="r", deployment="m@v1"), engine="simulated")
    load = Load(running=3, waiting=0, credits=Credits(free_sequences=0, free_kv_tokens=9))
    condition = Condition(state="ready", load=load, limits=LIMITS, waiting=waiting, parkable=Parkable(3, 30))
    credits = heart.beat(condition, now_s=0.0, at_ms=1).credits
    assert (credits.parkable_sequences, credits.parkable_kv_tokens) == (told, 30 if told else 0)


def test_a_worker_that_is_not_ready_offers_nothing_to_be_parked() -> None:
    heart = Heart(Identity(worker="w", run="r", deployment="m@v1"), engine="simulated")
    condition = Condition(state="draining", parkable=Parkable(3, 30))
    assert heart.beat(condition, now_s=0.0, at_ms=1).credits.parkable_sequences == 0

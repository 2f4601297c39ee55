"""The same request twice, and identical ones, on the real broker: one generation, a right answer for each sender."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from infra.devstack.kafka import KafkaBroker
from tests.eventually import eventually
from tests.integration.sharing.mill import Mill, a_mill, a_worker_process, running
from tests.unit.worker.builders import a_body
from topics.responses import CancelledRequest, Completed, Delta, Rejected

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Name = Callable[[str], str]

GREEDY: dict[str, Any] = {"temperature": 0}


async def test_50_identical_requests_in_flight_are_one_generation_and_50_answers(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m")) as mill, running(mill):
        streams = [a_body(max_tokens=30, stream=i % 2 == 0, **GREEDY) for i in range(50)]
        origins = list(await asyncio.gather(*(mill.send(f"r{i}", body) for i, body in enumerate(streams))))
        await eventually(lambda: mill.ended(*origins), within_s=60)
        assert len(mill.generated) == 1
        told = [mill.of(origin) for origin in origins]
        assert {type(one.end) for one in told} == {Completed}
        assert len({one.whole_text for one in told}) == 1
        assert all(len(one.token_ids) == 30 for one in told[::2])
        assert {one.end.usage.completion_tokens for one in told} == {30}
        assert sorted(str(one.end.source) for one in told) == ["None"] + ["coalesced"] * 49
        await eventually(lambda: sum(len(mill.requests(o)) for o in origins) == 50, within_s=20)
        rows = [mill.requests(origin)[0] for origin in origins]
        assert {row["outcome"] for row in rows} == {"completed"}
        assert {row["tokens_out"] for row in rows} == {30}
        assert sum(row["gpu_ns"] > 0 for row in rows) == 1
        assert sum(row["reason"] == "coalesced" for row in rows) == 49
        assert len(mill.events("request.coalesced")) == 49


async def test_one_that_joins_in_mid_stream_gets_the_answer_from_the_beginning(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m")) as mill, running(mill):
        first = await mill.send("first", a_body(max_tokens=60, **GREEDY))
        await eventually(lambda: len(mill.of(first).token_ids) > 10, within_s=40)
        late = await mill.send("late", a_body(max_tokens=60, **GREEDY))
        await eventually(lambda: len(mill.of(late).token_ids) > 10, within_s=10)
        assert not mill.ended(first)
        await eventually(lambda: mill.ended(first, late), within_s=30)
        assert mill.of(late).text == mill.of(first).text
        assert len(mill.of(late).token_ids) == 60


async def test_the_same_id_sent_again_attaches_and_later_gets_the_stored_answer(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m")) as mill, running(mill):
        body = a_body(max_tokens=30, temperature=1)
        first = await mill.send("one", body)
        await eventually(lambda: len(mill.of(first).token_ids) > 3, within_s=40)
        again = await mill.send("one", body)
        await eventually(lambda: mill.ended(first, again), within_s=30)
        stored = await mill.send("one", body)
        await eventually(lambda: mill.ended(stored), within_s=30)
        assert len(mill.generated) == 1
        assert mill.of(first).text == mill.of(again).text == mill.of(stored).text
        assert (mill.of(again).end.source, mill.of(stored).end.source) == ("attached", "attached")
        other = await mill.send("one", a_body(max_tokens=31, temperature=1))
        await eventually(lambda: mill.ended(other), within_s=30)
        end = mill.of(other).end
        assert isinstance(end, Rejected)
        assert (end.error is not None and end.error.code, end.error is not None and end.error.retryable) == (
            "id_conflict",
            False,
        )


async def test_cancelling_one_does_not_stop_the_others(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m")) as mill, running(mill):
        body = a_body(max_tokens=100, **GREEDY)
        origins = [await mill.send(f"r{i}", body) for i in range(3)]
        await eventually(lambda: len(mill.of(origins[2]).token_ids) > 5, within_s=40)
        await mill.cancel("r1")
        await eventually(lambda: mill.ended(origins[1]), within_s=10)
        assert isinstance(mill.of(origins[1]).end, CancelledRequest)
        await eventually(lambda: mill.ended(origins[0], origins[2]), within_s=30)
        assert len(mill.generated) == 1
        assert mill.of(origins[2]).text == mill.of(origins[0]).text
        assert mill.of(origins[2]).voided == 0


async def test_cancelling_the_primary_gives_the_others_one_generation_of_their_own(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m")) as mill, running(mill):
        body = a_body(max_tokens=60, **GREEDY)
        origins = [await mill.send(f"r{i}", body) for i in range(4)]
        await eventually(lambda: all(len(mill.of(o).token_ids) > 5 for o in origins), within_s=40)
        await mill.cancel("r0")
        await eventually(lambda: mill.ended(*origins), within_s=40)
        ends = [mill.of(origin).end for origin in origins]
        assert isinstance(ends[0], CancelledRequest)
        assert [type(end) for end in ends[1:]] == [Completed] * 3
        assert len({mill.of(origin).text for origin in origins[1:]}) == 1
        assert [len(mill.of(origin).token_ids) for origin in origins[1:]] == [60] * 3
        assert len(mill.generated) == 2


async def test_an_answer_asked_for_again_comes_from_the_cache_and_says_so(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), cache_mib=1) as mill, running(mill):
        first = await mill.send("first", a_body(max_tokens=20, **GREEDY))
        await eventually(lambda: mill.ended(first), within_s=40)
        await _cached(mill)
        dispatched = len(mill.dispatches)
        streamed = await mill.send("streamed", a_body(max_tokens=20, **GREEDY))
        whole = await mill.send("whole", a_body(max_tokens=20, stream=False, **GREEDY))
        await eventually(lambda: mill.ended(streamed, whole), within_s=10)
        assert len(mill.dispatches) == dispatched
        assert len(mill.generated) == 1
        told = [mill.of(streamed), mill.of(whole)]
        assert [one.end.source for one in told] == ["cache", "cache"]
        assert {one.whole_text for one in told} == {mill.of(first).text}
        assert all(one.end.usage == mill.of(first).end.usage for one in told)
        assert [type(record) for record in told[0].records[1:]] == [Delta, Completed]
        await eventually(lambda: len(mill.requests(whole)) == 1, within_s=20)
        row = mill.requests(whole)[0]
        assert (row["outcome"], row["reason"], row["tokens_out"], row["gpu_ns"]) == ("completed", "cache_hit", 20, 0)


async def _cached(mill: Mill) -> None:
    """Ask until the processor has read the answer: before that, whoever asks is attached to the generation."""

    async def is_cached() -> bool:
        origin = await mill.send(None, a_body(max_tokens=20, **GREEDY))
        await eventually(lambda: mill.ended(origin), within_s=10)
        return bool(mill.of(origin).end.source == "cache")

    await eventually(is_cached, within_s=20)


async def test_who_is_attached_when_its_worker_dies_gets_one_whole_answer(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), slots=1) as mill, running(mill, workers=0):
        victim = await a_worker_process(mill)
        try:
            origins = [await mill.send(f"r{i}", a_body(max_tokens=80, **GREEDY)) for i in range(3)]
            await eventually(lambda: all(len(mill.of(o).token_ids) > 5 for o in origins), within_s=60)
        finally:
            victim.kill()
            await victim.wait()
        async with running(mill, processors=0):
            await eventually(lambda: mill.ended(*origins), within_s=60)
        assert [type(mill.of(origin).end) for origin in origins] == [Completed] * 3
        assert len({mill.of(origin).text for origin in origins}) == 1
        assert [len(mill.of(origin).token_ids) for origin in origins] == [80] * 3
        assert len(mill.generated) == 1
        assert [[record.mode for record in mill.started(origin)][-1] for origin in origins] == ["resume"] * 3


async def test_a_worker_that_is_drained_hands_back_who_is_attached(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), slots=2) as mill, running(mill, workers=0):
        async with running(mill, processors=0):
            origins = [await mill.send(f"r{i}", a_body(max_tokens=400, **GREEDY)) for i in range(3)]
            await eventually(lambda: all(len(mill.of(o).token_ids) > 5 for o in origins), within_s=60)
        async with running(mill, processors=0):
            await eventually(lambda: mill.ended(*origins), within_s=60)
        assert [type(mill.of(origin).end) for origin in origins] == [Completed] * 3
        assert len({mill.of(origin).text for origin in origins}) == 1

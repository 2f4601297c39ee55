"""A cancellation ends its request wherever that is, through deaths of workers; deadlines do the same. Real Kafka."""

import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from infra.devstack.kafka import KafkaBroker
from tests.eventually import eventually
from tests.integration.sharing.mill import Mill, Told, a_mill, a_worker_process, running
from tests.unit.worker.builders import a_body
from topics.responses import CancelledRequest, Completed, Expired

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]
Name = Callable[[str], str]

STOPS_WITHIN_MS = 1000
"""Far more than it takes (tens of milliseconds), so that only what is broken fails on a busy machine."""


@asynccontextmanager
async def a_killable_worker(mill: Mill) -> AsyncIterator[Callable[[signal.Signals], None]]:
    """A worker as a process that is ready: call what is yielded to send it a signal."""
    process = await a_worker_process(mill)
    try:
        await eventually(
            lambda: any(beat.state == "ready" and beat.slots for beat in mill.heartbeats.values()), within_s=60
        )
        yield process.send_signal
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def a_stream(mill: Mill, name: str, *, tokens: int = 2000, after: int = 8) -> str:
    """A streaming request that has `after` tokens: its origin."""
    origin = await mill.send(name, a_body(max_tokens=tokens, temperature=1))
    await eventually(lambda: len(mill.of(origin).token_ids) >= after, within_s=60)
    return origin


def assert_ended_once(told: Told, kind: type[CancelledRequest] | type[Expired]) -> None:
    """Ended in that way, with every token counted, and nothing of it void."""
    assert type(told.end) is kind
    assert (told.end.next_seq, told.voided) == (len(told.token_ids), 0)


async def test_before_the_request_has_come(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m")) as mill, running(mill):
        await mill.cancel("early")
        marker = await a_stream(mill, "marker")
        await mill.cancel("marker")
        await eventually(lambda: mill.ended(marker), within_s=10)
        early = await mill.send("early", a_body())
        await eventually(lambda: mill.ended(early), within_s=10)
        assert type(mill.of(early).end) is CancelledRequest
        assert [dispatch.id for dispatch in mill.dispatches] == ["marker"]
        again = await mill.send("early", a_body())
        await eventually(lambda: mill.ended(again), within_s=10)
        assert type(mill.of(again).end) is Completed


async def test_while_it_is_queued(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m")) as mill, running(mill, workers=0):
        origin = await mill.send("queued", a_body())
        await eventually(lambda: mill.events("request.admitted") != [], within_s=40)
        asked_ms = await mill.cancel("queued")
        await eventually(lambda: mill.ended(origin), within_s=10)
        assert type(mill.of(origin).end) is CancelledRequest
        assert mill.of(origin).at_ms[-1] - asked_ms < STOPS_WITHIN_MS
        assert mill.dispatches == []


async def test_while_it_runs(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m")) as mill, running(mill):
        origin = await a_stream(mill, "running")
        asked_ms = await mill.cancel("running")
        await eventually(lambda: mill.ended(origin), within_s=10)
        told = mill.of(origin)
        assert_ended_once(told, CancelledRequest)
        assert told.at_ms[-1] - asked_ms < STOPS_WITHIN_MS
        assert told.end.usage.completion_tokens >= len(told.token_ids) > 0
        await eventually(lambda: len(mill.requests(origin)) == 1, within_s=20)
        (row,) = mill.requests(origin)
        assert (row["outcome"], row["tokens_out"]) == ("cancelled", told.end.usage.completion_tokens)
        await eventually(lambda: [beat.running for beat in mill.heartbeats.values()] == [0], within_s=5)


async def test_by_somebody_else_it_is_left_alone(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m")) as mill, running(mill):
        origin = await a_stream(mill, "mine", tokens=60)
        await mill.cancel("mine", tenant="somebody-else")
        await eventually(lambda: mill.ended(origin), within_s=20)
        assert type(mill.of(origin).end) is Completed


async def test_a_worker_that_was_dispatched_to_and_has_not_begun(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_mill(kafka.bootstrap, unique_name("m"), slots=1) as mill,
        running(mill, workers=0),
        a_killable_worker(mill) as send_signal,
    ):
        await a_stream(mill, "first")
        send_signal(signal.SIGSTOP)
        origin = await mill.send("second", a_body(max_tokens=2000, temperature=1))
        await eventually(lambda: len(mill.dispatches) == 2, within_s=10)
        await mill.cancel("second")
        await eventually(lambda: len(mill.cancels) == 1, within_s=10)
        send_signal(signal.SIGCONT)
        await eventually(lambda: mill.ended(origin), within_s=20)
        assert_ended_once(mill.of(origin), CancelledRequest)
        assert len(mill.of(origin).token_ids) < 100


@pytest.mark.parametrize("has_begun", [True, False], ids=["it ran", "it had not begun"])
async def test_a_worker_that_dies_between_the_record_and_its_effect(
    kafka: KafkaBroker, unique_name: Name, has_begun: bool
) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), slots=1) as mill, running(mill, workers=0):
        async with a_killable_worker(mill) as send_signal:
            origin = await a_stream(mill, "one")
            send_signal(signal.SIGSTOP)
            if not has_begun:
                origin = await mill.send("two", a_body(max_tokens=2000, temperature=1))
                await eventually(lambda: len(mill.dispatches) == 2, within_s=10)
            await mill.cancel("one" if has_begun else "two")
            await eventually(lambda: len(mill.cancels) == 1, within_s=10)
            send_signal(signal.SIGKILL)
        seen = list(mill.of(origin).token_ids)
        async with running(mill, processors=0):
            await eventually(lambda: mill.ended(origin), within_s=60)
        told = mill.of(origin)
        assert_ended_once(told, CancelledRequest)
        assert told.token_ids == seen
        assert len(mill.started(origin)) == (2 if has_begun else 1)


async def test_a_deadline_in_mid_generation(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m")) as mill, running(mill):
        await a_stream(mill, "warm", tokens=10)
        origin = await mill.send("late", a_body(max_tokens=2000, temperature=1), deadline_ms=1500)
        await eventually(lambda: mill.ended(origin), within_s=20)
        told = mill.of(origin)
        assert_ended_once(told, Expired)
        assert 0 < len(told.token_ids) < 2000
        assert told.end.usage.completion_tokens >= len(told.token_ids)


async def test_a_deadline_that_passes_while_its_worker_is_dead(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), slots=1) as mill, running(mill, workers=0):
        async with a_killable_worker(mill) as send_signal:
            await a_stream(mill, "warm", tokens=10)
            due_ms = int(time.time() * 1000) + 4000
            origin = await mill.send("late", a_body(max_tokens=2000, temperature=1), deadline_ms=4000)
            await eventually(lambda: len(mill.of(origin).token_ids) > 5, within_s=10)
            send_signal(signal.SIGKILL)
        await eventually(lambda: time.time() * 1000 > due_ms, within_s=10)
        async with running(mill, processors=0):
            await eventually(lambda: mill.ended(origin), within_s=60)
        assert_ended_once(mill.of(origin), Expired)

"""Streams whose readers leave: their sequences stop, and a thousand of them leave everything as it was. Real Kafka."""

import asyncio
import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.client import Client, Timeouts
from pipeline.settings import SimulatedDeployment
from pipeline.worker.core import WorkerCore
from processors.scheduler import Scheduler
from tests.bookkeeping import sizes
from tests.eventually import eventually
from tests.integration.sharing.mill import Mill, a_mill, running
from tests.unit.worker.builders import a_body
from topics.fleet import Credits
from topics.responses import CancelledRequest

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]
Name = Callable[[str], str]

ENGINE = SimulatedDeployment(fixed_us=10_000, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0)
PATIENT = Timeouts(connect_s=60.0, send_s=60.0)
STOPS_WITHIN_MS = 1000
STREAMS = 1000
AT_ONCE = 100
GROWTH_MIB = 20
"""Far less than a thousand answers of thousands of tokens, and more than what an allocator keeps now and then."""


async def warmed_up(mill: Mill) -> None:
    """Everything runs: a request has been answered."""
    origin = await mill.send("warm", a_body(max_tokens=2))
    await eventually(lambda: mill.ended(origin), within_s=90)
    await eventually(lambda: [beat.running for beat in mill.heartbeats.values()] == [0], within_s=10)


async def closed_after_first_token(client: Client, mill: Mill, name: str | None = None) -> str:
    """Open a stream, read a token and leave: the origin of its request."""
    named: dict[str, Any] = {} if name is None else {"id": name}
    stream = client.stream(model=mill.model, prompt="x", max_tokens=4000, ignore_eos=True, deadline_ms=120_000, **named)
    async for _ in stream:
        break
    await stream.aclose()
    assert stream.origin is not None
    return stream.origin


async def closed(client: Client, mill: Mill, streams: int) -> None:
    """Open and close so many; each has ended as cancelled, and the test remembers nothing of it."""
    for _ in range(streams // AT_ONCE):
        origins = await asyncio.gather(*(closed_after_first_token(client, mill) for _ in range(AT_ONCE)))
        await eventually(partial(mill.ended, *origins), within_s=60)
        assert {type(mill.of(origin).end) for origin in origins} == {CancelledRequest}
        for kept in (mill.told, mill.rows, mill.dispatches, mill.cancels):
            kept.clear()
    gc.collect()


def credits_of(mill: Mill) -> Credits:
    """Of the one worker, in its newest heartbeat."""
    (beat,) = mill.heartbeats.values()
    return beat.credits


def remembered(mill: Mill) -> dict[str, int]:
    """What the cores of the mill hold, by path; identities that have ended are bounded by their count."""
    found: dict[str, int] = {}
    gc.unfreeze()  # processes freeze what they have when they are ready, and it is not listed then
    for thing in gc.get_objects():
        if isinstance(thing, Scheduler) and thing._policy.model == mill.model:
            found |= sizes(thing, "scheduler")
        elif isinstance(thing, WorkerCore) and thing._teller._id.deployment == mill.deployment:
            found |= sizes(thing, "worker")
    assert {path.partition(".")[0] for path in found} == {"scheduler", "worker"}
    return {path: count for path, count in found.items() if not path.endswith(("_ended", "_runs._by_key"))}


def nothing_is_told(mill: Mill) -> bool:
    """Whether the newest heartbeat names no request that has ended: until the next one schedulers hold the names."""
    return not any(beat.finished for beat in mill.heartbeats.values())


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    """What holds more than before, by more than what is cleaned up late."""
    return {path: (before.get(path, 0), count) for path, count in after.items() if count > before.get(path, 0) + 80}


def rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


async def test_closing_a_stream_stops_its_sequence_within_a_second(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), ENGINE) as mill, running(mill):
        await warmed_up(mill)
        async with Client(kafka=mill.settings.kafka, timeouts=PATIENT) as client:
            origin = await closed_after_first_token(client, mill, "closed")
        await eventually(lambda: mill.ended(origin) and "closed" in mill.asked_ms, within_s=10)
        told = mill.of(origin)
        assert type(told.end) is CancelledRequest
        assert told.at_ms[-1] - mill.asked_ms["closed"] < STOPS_WITHIN_MS
        await eventually(lambda: [beat.running for beat in mill.heartbeats.values()] == [0], within_s=5)


async def test_a_thousand_closed_streams_leave_everything_as_it_was(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), ENGINE) as mill, running(mill):
        await warmed_up(mill)
        async with Client(kafka=mill.settings.kafka, timeouts=PATIENT) as client:
            credits = credits_of(mill)
            await closed(client, mill, 2 * AT_ONCE)
            await eventually(lambda: nothing_is_told(mill), within_s=10)
            before, before_mib = remembered(mill), rss_mib()
            await closed(client, mill, STREAMS)
            await eventually(lambda: credits_of(mill) == credits, within_s=10)
            await eventually(lambda: client.waiting == 0, within_s=10)
            await eventually(lambda: nothing_is_told(mill), within_s=10)
        await eventually(lambda: grown(before, remembered(mill)) == {}, within_s=10, every_s=0.5)
        assert rss_mib() - before_mib < GROWTH_MIB

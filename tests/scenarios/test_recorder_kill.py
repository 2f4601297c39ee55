"""`kill -9` of the recorder at ten random moments under load: no row is lost and none is there twice.

A kill may fall between the inserts of one flush, in the middle of one, between rows and position, or into a start. What
the tables hold decides what is new; the position only says where to look from.
"""

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from tests.integration.sinks.conftest import MakeTopics, make_topics  # noqa: F401 - a fixture
from tests.integration.sinks.recording import TABLES, RecorderProcess, Sender, audit

pytestmark = [pytest.mark.scenario, pytest.mark.slow, pytest.mark.timeout(300)]

KILLS = 10
SEED = 20260823


async def _load(sender: Sender, stop: asyncio.Event, choose: random.Random) -> None:
    """Messages of changing sizes to both partitions, about a hundred a second."""
    while not stop.is_set():
        await sender.rows(choose.choice(TABLES), choose.randint(1, 200), partition=choose.randrange(2))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.01)


async def test_kill_9_neither_loses_nor_doubles_a_row(make_topics: MakeTopics, tmp_path: Path) -> None:  # noqa: F811
    topics = await make_topics(partitions=2)
    recorder = RecorderProcess(topics, tmp_path)
    choose = random.Random(SEED)
    stop = asyncio.Event()
    async with Sender(topics) as sender:
        load = asyncio.create_task(_load(sender, stop, random.Random(SEED + 1)))
        try:
            for _ in range(KILLS):
                await recorder.start()
                with pytest.raises(TimeoutError):  # the moment of the kill, not a wait for a fact
                    await asyncio.wait_for(stop.wait(), choose.uniform(0.05, 2.5))
                await recorder.kill()
            stop.set()
            await load
            await recorder.start()
            await recorder.recorded(await topics.ends(), within_s=120)
            found = await audit(recorder.url)
        finally:
            stop.set()
            await recorder.stop()

    assert found.rows == sender.sent
    assert not any(found.doubled.values())
    assert found.differing == ()

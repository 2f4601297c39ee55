"""`kill -9` of a recorder at random moments under load, again and again.

A kill may fall between the inserts of one flush, in the middle of one, between rows and position, or into a start. What
the tables hold decides what is new; the position only says where to look from.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path

from tests.integration.sinks.recording import TABLES, Audit, RecorderProcess, Sender, TraceTopics, audit

EARLIEST_S = 0.05
LATEST_S = 2.5
"""How long after a recorder is ready the kill comes."""
IN_START_RATIO = 0.25
START_S = 1.5
"""So many kills come at a moment of this time after the process began, ready or not."""


async def kill_again_and_again(
    topics: TraceTopics, folder: Path, *, kills: int, seed: int, on_kill: Callable[[int, int], None]
) -> tuple[dict[str, int], Audit]:
    """Kill a recorder `kills` times while messages come, and let it catch up: what was sent, and what was found.

    Args:
        topics: its trace topic, of two partitions.
        kills: how often.
        folder: of its engine.
        seed: of the load and of the moments.
        on_kill: called after each kill with its number and the rows sent so far.
    """
    recorder = RecorderProcess(topics, folder)
    choose = random.Random(seed)
    stop = asyncio.Event()
    async with Sender(topics) as sender:
        load = asyncio.create_task(_load(sender, stop, random.Random(seed + 1)))
        try:
            for number in range(1, kills + 1):
                if choose.random() < IN_START_RATIO:
                    recorder.child.spawn()
                    await _load_until(load, choose.uniform(EARLIEST_S, START_S))
                else:
                    await recorder.start()
                    await _load_until(load, choose.uniform(EARLIEST_S, LATEST_S))
                await recorder.kill()
                on_kill(number, sum(sender.sent.values()))
            stop.set()
            await load
            await recorder.start()
            await recorder.recorded(await topics.ends(), within_s=120)
            return sender.sent, await audit(recorder.url)
        finally:
            stop.set()
            await recorder.stop()


async def _load_until(load: asyncio.Task[None], within_s: float) -> None:
    """Let the load go on until the moment of a kill: no wait for a fact."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(load), within_s)


async def _load(sender: Sender, stop: asyncio.Event, choose: random.Random) -> None:
    """Messages of changing sizes to both partitions, about a hundred a second."""
    while not stop.is_set():
        await sender.rows(choose.choice(TABLES), choose.randint(1, 200), partition=choose.randrange(2))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.01)

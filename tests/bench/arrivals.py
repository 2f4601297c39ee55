"""Open-loop load: requests at Poisson moments that do not wait for one another, timed from the moment they were due."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.bench.report import percentile


@dataclass(slots=True)
class Timings:
    """What a load measured: seconds from the scheduled arrival to the first token, and how requests ended."""

    ttft_s: list[float] = field(default_factory=list)
    completed: int = 0
    failed: int = 0
    tokens: int = 0

    def percentile_ms(self, ratio: float) -> float:
        """The TTFT that `ratio` of the requests did not exceed, in milliseconds."""
        return 1000 * percentile(self.ttft_s, ratio)


Ask = Callable[[Callable[[], None]], Awaitable[int]]
"""Send one request and read its answer: calls its argument at the first token, returns the token count."""


def poisson(rps: float, seconds: float, *, seed: int) -> list[float]:
    """Arrival times in seconds from 0 of a Poisson process with `rps` arrivals per second, up to `seconds`."""
    rng = random.Random(seed)
    times, at_s = [], rng.expovariate(rps)
    while at_s < seconds:
        times.append(at_s)
        at_s += rng.expovariate(rps)
    return times


async def run_load(ask: Ask, arrivals: list[float]) -> Timings:
    """Issue `ask` at each arrival and return when all have ended."""
    loop, timings = asyncio.get_running_loop(), Timings()
    begin_s = loop.time()
    tasks = []
    for at_s in arrivals:
        delay_s = begin_s + at_s - loop.time()
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        tasks.append(asyncio.create_task(_one(ask, begin_s + at_s, timings)))
    await asyncio.gather(*tasks)
    return timings


async def _one(ask: Ask, due_s: float, timings: Timings) -> None:
    loop = asyncio.get_running_loop()
    try:
        tokens = await ask(lambda: timings.ttft_s.append(loop.time() - due_s))
    except Exception:  # counted: the gate on failures tells
        timings.failed += 1
        return
    timings.completed += 1
    timings.tokens += tokens
